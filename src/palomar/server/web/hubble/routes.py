"""``/v2/rpc/{method}``: finds the method, runs it, puts its refusals into the old envelope."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from palomar.contract.errors import UnknownMethod
from palomar.server.web import errors
from palomar.server.web.hubble import artifacts, executors, users
from palomar.server.web.hubble.rpc import Methods, RpcCall, render_error

METHODS: Methods = {**users.METHODS, **artifacts.METHODS, **executors.METHODS}


async def call_method(request: Request) -> Response:
    name = request.path_params["method"]
    method = METHODS.get(name)
    if method is None:
        raise UnknownMethod("method", name)
    request.scope["palomar.route"] = f"/v2/rpc/{name}"
    return await method(RpcCall(request.app.state.hub, request))


def routes() -> list[Route]:
    errors.use_renderer("/v2/rpc", render_error)
    return [
        # GET and POST alike: which verb a method takes changed between client versions.
        Route("/v2/rpc/{method}", call_method, methods=["GET", "POST"], name="hubble"),
        Route("/v2/.well-known/jwks.json", users.jwks, name="jwks"),
    ]
