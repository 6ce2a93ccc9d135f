"""``/healthz`` (the process lives), ``/readyz`` (it can serve), ``/metrics`` (Prometheus; loopback or token)."""

from __future__ import annotations

import asyncio
import ipaddress
import secrets

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from palomar.contract.errors import UnknownMethod
from palomar.server.wiring import Hub

_READY_TIMEOUT_S = 5.0


async def healthz(_request: Request) -> Response:
    return JSONResponse({"status": "alive"})


async def readyz(request: Request) -> Response:
    hub: Hub = request.app.state.hub
    checks = {"database": hub.database.ping(), "blobs": hub.blobs.ping()}
    async with asyncio.timeout(_READY_TIMEOUT_S):
        results = await asyncio.gather(*checks.values(), return_exceptions=True)
    states = {
        name: "ok" if result is None else type(result).__name__ for name, result in zip(checks, results, strict=True)
    }
    is_ready = all(state == "ok" for state in states.values())
    return JSONResponse({"status": "ready" if is_ready else "not ready", **states}, 200 if is_ready else 503)


async def metrics(request: Request) -> Response:
    """To anybody else than loopback or the token's holder this page does not exist."""
    if not _may_read_metrics(request):
        raise UnknownMethod("page", "/metrics")
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)


def _may_read_metrics(request: Request) -> bool:
    token = request.app.state.hub.settings.metrics_token
    if token is not None:
        given = request.headers.get("authorization", "").removeprefix("Bearer ")
        return secrets.compare_digest(given.encode(), token.get_secret_value().encode())
    # Behind a proxy on the same machine every request would look local.
    if "x-forwarded-for" in request.headers or request.client is None:
        return False
    try:
        return ipaddress.ip_address(request.client.host).is_loopback
    except ValueError:
        return False


def routes() -> list[Route]:
    return [Route("/healthz", healthz), Route("/readyz", readyz), Route("/metrics", metrics)]
