"""The ASGI application: routers, middleware, lifespan."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from palomar.contract.errors import PalomarError
from palomar.server.events.record import request_id
from palomar.server.settings import Settings
from palomar.server.web import console, download, errors, health, hubble, oci, v1
from palomar.server.web.context import RequestContext
from palomar.server.wiring import Hub, open_hub


def create_app(settings: Settings, *, hub: Hub | None = None) -> RequestContext:
    """One application for every adapter. With ``hub`` given (tests), its lifetime is the caller's."""

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        if hub is not None:
            app.state.hub = hub
            yield
            return
        async with open_hub(settings) as opened:
            app.state.hub = opened
            yield

    handlers = {PalomarError: _refuse, HTTPException: _refuse, Exception: _refuse}
    app = Starlette(routes=routes(), lifespan=lifespan, exception_handlers=handlers)
    if hub is not None:
        app.state.hub = hub
    return RequestContext(app)


def routes() -> list[BaseRoute]:
    """Every route of the hub; the access matrix reads this list."""
    return [*hubble.routes(), *oci.routes(), *download.routes(), *v1.routes(), *health.routes(), *console.routes()]


async def _refuse(request: Request, error: Any) -> Response:
    response = errors.render(error, request.scope, request_id.get() or "")
    response.headers.update(getattr(error, "headers", None) or {})  # Allow, of a 405
    return response
