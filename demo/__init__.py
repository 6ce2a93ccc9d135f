"""``make demo``: the namespaces' story, with real clients on a temporary hub."""
