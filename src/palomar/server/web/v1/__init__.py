"""The native API, ``/api/v1``."""

from __future__ import annotations

from starlette.routing import BaseRoute, Mount

from palomar.server.web.v1.app import create_api
from palomar.server.web.v1.calls import PREFIX


def routes() -> list[BaseRoute]:
    return [Mount(PREFIX, app=create_api(), name="v1")]
