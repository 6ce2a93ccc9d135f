"""What keeps the repository clean; nothing here is installed."""
