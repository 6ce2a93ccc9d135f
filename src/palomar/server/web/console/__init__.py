"""The console: server-rendered pages that work without script."""

from palomar.server.web.console.routes import routes

__all__ = ["routes"]
