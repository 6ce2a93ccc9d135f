"""The protocol of the old clients; deletable as a whole. See docs/protocols/hubble.md."""

from palomar.server.web.hubble.routes import routes

__all__ = ["routes"]
