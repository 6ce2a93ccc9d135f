"""Programs that run on the other side: started by path, never imported by the hub."""
