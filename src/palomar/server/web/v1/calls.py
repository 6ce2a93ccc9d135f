"""What every call has: the hub, the request, who asks; and a limit on its body."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import Depends
from fastapi.routing import APIRoute
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from palomar.contract.errors import BadParameter, BadRequestBody, CredentialMissing, TooLarge
from palomar.contract.v1 import MAX_COMMIT_BYTES, MAX_RECIPE_BYTES
from palomar.server.access.policy import Subject
from palomar.server.web.identity import identify
from palomar.server.wiring import Hub

PREFIX = "/api/v1"
# Of the other bodies the setting max_json_bytes is the limit.
_BODY_LIMITS = {"commit_push": MAX_COMMIT_BYTES, "send_recipe": MAX_RECIPE_BYTES}

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


@dataclass(frozen=True, slots=True)
class Call:
    hub: Hub
    request: Request
    subject: Subject


async def _anyone(request: Request) -> Call:
    hub: Hub = request.app.state.hub
    return Call(hub, request, await identify(hub, request))


async def _account(request: Request) -> Call:
    """Whoever changes something says who they are, whether the thing exists or not."""
    call = await _anyone(request)
    if call.subject.is_anonymous:
        raise CredentialMissing
    return call


Anyone = Annotated[Call, Depends(_anyone)]
Account = Annotated[Call, Depends(_account)]


class NativeRoute(APIRoute):
    """A route whose JSON body is read before the framework sees it: after the caller is known, up to a limit."""

    def get_route_handler(self) -> Handler:
        handle = super().get_route_handler()
        limit = _BODY_LIMITS.get(self.name)

        async def bounded(request: Request) -> Response:
            request.scope["palomar.route"] = PREFIX + self.path
            if self.body_field is None:
                return await handle(request)
            call = await _account(request)
            body = await _read_body(request, limit or call.hub.settings.max_json_bytes)
            return await handle(_ReadRequest(request, body))

        return bounded


class _ReadRequest(Request):
    """A request whose body has been read."""

    def __init__(self, request: Request, body: bytes) -> None:
        super().__init__(request.scope, request.receive)
        self._whole_body = body

    async def body(self) -> bytes:
        return self._whole_body

    async def json(self) -> Any:
        try:
            return json.loads(self._whole_body)
        except json.JSONDecodeError:
            raise
        except (UnicodeDecodeError, RecursionError):
            raise json.JSONDecodeError("not JSON", "", 0) from None


async def _read_body(request: Request, limit: int) -> bytes:
    pieces: list[bytes] = []
    held = 0
    async for piece in body_pieces(request):
        held += len(piece)
        if held > limit:
            raise TooLarge("The request body", limit)
        pieces.append(piece)
    return b"".join(pieces)


async def body_pieces(request: Request) -> AsyncIterator[bytes]:
    try:
        async for piece in request.stream():
            yield piece
    except ClientDisconnect:
        raise BadRequestBody("it was cut off; send it again") from None


# --- cursors -------------------------------------------------------------------------------------------------------


def to_cursor(*values: object) -> str:
    """Opaque to clients: what it holds may change."""
    return base64.urlsafe_b64encode(json.dumps(values).encode()).decode().rstrip("=")


def from_cursor(cursor: str, *types: type) -> list[Any]:
    """Raises BadParameter for what no page gave."""
    try:
        values = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (ValueError, RecursionError):
        values = None
    if not isinstance(values, list) or [type(value) for value in values] != list(types):
        raise bad_cursor()
    return values


def from_timestamp(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        raise bad_cursor() from None


def bad_cursor() -> BadParameter:
    return BadParameter("cursor", "it is not one that a page of this list gave")
