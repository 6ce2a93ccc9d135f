"""The OCI distribution API under ``/v2/``, and the token endpoint; deletable as a whole. See docs/protocols/oci.md."""

from palomar.server.web.oci.routes import routes

__all__ = ["routes"]
