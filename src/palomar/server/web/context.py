"""What surrounds every request: its id, its log line, its metrics."""

from __future__ import annotations

import re
import time
from typing import Any
from uuid import uuid4

import structlog
from prometheus_client import Counter, Histogram
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from palomar.server.events.record import request_id as current_request_id

log = structlog.get_logger("palomar.web")

_REQUESTS = Counter("palomar_requests_total", "Requests by route and status.", ["route", "status"])
_SECONDS = Histogram(
    "palomar_request_seconds",
    "Seconds to the response's first byte.",
    ["route"],
    buckets=(0.005, 0.02, 0.1, 0.5, 2, 10),
)
_GIVEN_ID = re.compile(r"[A-Za-z0-9._-]{8,64}", re.ASCII)
_SLASHES = re.compile(r"/{2,}")


class RequestContext:
    """The outermost middleware.

    It also folds repeated slashes: a client whose JINA_HUBBLE_REGISTRY ends in a slash asks for '//v2/rpc/...'.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        scope["path"] = _SLASHES.sub("/", scope["path"])
        await _Exchange(scope, receive, send).run(self.app)


class _Exchange:
    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.scope, self.receive, self._send = scope, receive, send
        self.request_id = _request_id(scope)
        self.started_at = time.perf_counter()
        self.first_byte_s: float | None = None
        self.status = 0
        self.sent_bytes = 0
        self.is_complete = False

    async def run(self, app: ASGIApp) -> None:
        id_token = current_request_id.set(self.request_id)
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=self.request_id)
        try:
            await app(self.scope, self.receive, self.send)
        except Exception:
            # Starlette has sent the clean answer that errors.render makes; the log gets all of it.
            log.exception("unexpected", path=self.scope["path"])
            if not self.is_complete:
                # The body is not whole, and only a broken connection can still tell the client so.
                raise
        finally:
            self.report()
            current_request_id.reset(id_token)

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.first_byte_s = time.perf_counter() - self.started_at
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            headers["X-Request-Id"] = self.request_id
            headers.setdefault("X-Content-Type-Options", "nosniff")
        elif message["type"] == "http.response.body":
            self.sent_bytes += len(message.get("body", b""))
            self.is_complete = not message.get("more_body", False)
        await self._send(message)

    def report(self) -> None:
        route = _route_label(self.scope)
        _REQUESTS.labels(route, str(self.status)).inc()
        _SECONDS.labels(route).observe(self.first_byte_s or time.perf_counter() - self.started_at)
        # The query is left out: it may carry a signature.
        log.info(
            "request",
            method=self.scope["method"],
            path=self.scope["path"],
            status=self.status,
            ms=round((time.perf_counter() - self.started_at) * 1000, 1),
            sent_bytes=self.sent_bytes,
        )


def _request_id(scope: Scope) -> str:
    given = Headers(scope=scope).get("x-request-id", "")
    return given if _GIVEN_ID.fullmatch(given) else uuid4().hex


def _route_label(scope: Scope) -> str:
    """The route's pattern, never its values: labels must stay few."""
    label: Any = scope.get("palomar.route")
    if label:
        return str(label)
    route = scope.get("route")
    return str(getattr(route, "path", "unmatched"))
