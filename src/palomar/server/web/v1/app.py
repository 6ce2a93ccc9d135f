"""The FastAPI application behind ``/api/v1``; its schema is at ``/api/v1/openapi.json``."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from palomar.contract.errors import BadParameter, BadRequestBody, PalomarError, UnknownMethod
from palomar.contract.v1 import Problem
from palomar.server.events.record import request_id
from palomar.server.web import errors
from palomar.server.web.v1 import accounts, arrays, builds, executors, pushes, releases, versions

_PROBLEM: dict[int | str, dict[str, Any]] = {
    "default": {
        "description": "A refusal, as problem details (RFC 9457)",
        "content": {"application/problem+json": {"schema": Problem.model_json_schema()}},
    }
}


class NativeApi(FastAPI):
    """Mounted in the hub's application, whose hub it takes over."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.state.hub = scope["app"].state.hub
        await super().__call__(scope, receive, send)


def create_api() -> NativeApi:
    api = NativeApi(
        title="Palomar",
        version="1",
        description="The native API of a Palomar hub: docs/protocols/native.md.",
        docs_url=None,  # its pages load scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,
        generate_unique_id_function=lambda route: route.name,
        exception_handlers={
            PalomarError: _refuse,
            HTTPException: _refuse_routing,
            RequestValidationError: _refuse_invalid,
            Exception: _refuse,
        },
    )
    for router in (
        accounts.router,
        arrays.router,
        versions.router,
        pushes.router,
        executors.router,
        releases.router,
        builds.router,
    ):
        api.include_router(router, responses=_PROBLEM)
    return api


async def _refuse(request: Request, error: Any) -> Response:
    return errors.render(error, request.scope, request_id.get() or "")


async def _refuse_routing(request: Request, error: Any) -> Response:
    """404 and 405 of the router itself."""
    if error.status_code != 405:
        return await _refuse(request, error)
    unknown = UnknownMethod("method", f"{request.method} {request.url.path}")
    response = errors.render_problem(unknown, 405, request_id.get() or "")
    response.headers.update(error.headers or {})
    return response


async def _refuse_invalid(request: Request, error: Any) -> Response:
    return await _refuse(request, _to_refusal(error))


def _to_refusal(error: RequestValidationError) -> PalomarError:
    first = error.errors()[0]
    if first["type"] == "json_invalid":
        return BadRequestBody("it is not JSON")
    _, *path = first["loc"]
    return BadParameter(".".join(map(str, path)) or "body", str(first["msg"]).rstrip("."))
