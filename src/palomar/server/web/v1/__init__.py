"""The native API, ``/api/v1``."""

from __future__ import annotations

from starlette.routing import BaseRoute, Mount

from palomar.server.web.v1.app import create_api
from palomar.server.web.v1.calls import PREFIX
from palomar.server.web.v1.chunk_route import ChunkRoute


def routes() -> list[BaseRoute]:
    return [ChunkRoute(), Mount(PREFIX, app=create_api(), name="v1")]
