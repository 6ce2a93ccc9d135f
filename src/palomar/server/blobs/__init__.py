"""Opaque, immutable bytes under keys of the hub's own making: the port, a durable local store, object stores."""
