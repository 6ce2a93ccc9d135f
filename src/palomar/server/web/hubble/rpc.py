"""The envelope of the Hubble RPC: how old clients ask, and the only answers that they can read."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from pydantic_core import to_json
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.types import Message

from palomar.contract import errors as e
from palomar.server.access.policy import Subject
from palomar.server.web.address import client_address
from palomar.server.web.errors import lookup
from palomar.server.web.identity import identify
from palomar.server.wiring import Hub

# Only these numbers are in the clients' table; any other one makes them fail with a bare KeyError
# (jina-hubble-sdk 0.39, hubble/excepts.py), so 40902, 42205 and numbers of our own never go out here.
STATUS: dict[type[e.PalomarError], int] = {
    e.PalomarError: 50001,
    e.InvalidInput: 40001,
    e.BadRequestBody: 40003,
    e.MalformedStream: 42203,
    e.CountMismatch: 42203,
    e.DigestMismatch: 42203,
    # 40103 and not 40102: only this one makes `login_required` ask for a login instead of showing a traceback.
    e.Unauthenticated: 40103,
    e.NotAllowed: 40301,
    e.NotFound: 40403,
    e.UnknownMethod: 40402,
    e.Conflict: 40901,
    e.NameTaken: 42202,
    e.NameRetired: 42202,
    e.LegacyFrozen: 40301,
    e.Unsupported: 50005,
    e.ImageMissing: 50002,
    # With another `cmd` than docker (here: none) the client shows the words that come with it.
    e.ImageBuildFailed: 50003,
    e.ImageNotBuilt: 50005,
    e.BadPackage: 42203,
    e.LimitExceeded: 41301,
    e.QuotaExceeded: 41302,
    e.RateLimited: 40301,
    e.Unavailable: 50002,
}


def ok(data: Any, meta: dict[str, Any] | None = None) -> Response:
    """The success envelope, always HTTP 200: some clients accept nothing else."""
    body: dict[str, Any] = {"code": 200, "status": 20000, "data": data}
    if meta is not None:
        body["meta"] = meta
    # pydantic's writer takes a third of the time of the standard library's, and a list has many rows.
    return Response(to_json(body), media_type="application/json")


def render_error(error: e.PalomarError, status: int, request_id: str) -> Response:
    body = {
        "code": status,
        "status": lookup(STATUS, error),
        "message": error.detail,
        # docarray shows this one as the reason of a failed push; the executor commands prefer it too.
        "readableMessage": error.detail,
        "data": {"code": error.code, "requestId": request_id},
    }
    return JSONResponse(body, status)


@dataclass(slots=True)
class RpcCall:
    """One call: who, what, and with which fields."""

    hub: Hub
    request: Request
    _subject: Subject | None = field(default=None, init=False)

    @property
    def client_address(self) -> str:
        return client_address(self.request, self.hub.settings)

    async def subject(self) -> Subject:
        """Raises CredentialInvalid for a token that is unknown, expired or revoked."""
        if self._subject is None:
            self._subject = await identify(self.hub, self.request)
        return self._subject

    async def account(self) -> Subject:
        """As `subject`, and raises CredentialMissing for an anonymous caller."""
        subject = await self.subject()
        if subject.is_anonymous:
            raise e.CredentialMissing
        return subject

    async def fields(self) -> dict[str, Any]:
        """Query, form, multipart or JSON alike; a repeated key gives a list. File parts are not read here."""
        found = _collect(parse_qsl(self.request.url.query, keep_blank_values=True))
        found.update(await self._body_fields())
        return found

    async def _body_fields(self) -> dict[str, Any]:
        body = await self._bounded_body()
        if not body:
            return {}
        content_type = self.request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if content_type == "multipart/form-data":
            return await self._multipart_fields(body)
        if content_type == "application/x-www-form-urlencoded":
            return _form_fields(body)
        return _json_fields(body)

    async def _bounded_body(self) -> bytes:
        limit = self.hub.settings.max_json_bytes
        pieces: list[bytes] = []
        total = 0
        try:
            async for piece in self.request.stream():
                total += len(piece)
                if total > limit:
                    raise e.TooLarge("The request body", limit)
                pieces.append(piece)
        except ClientDisconnect:
            raise e.BadRequestBody("it was cut off") from None
        return b"".join(pieces)

    async def _multipart_fields(self, body: bytes) -> dict[str, Any]:
        async def replay() -> Message:
            return {"type": "http.request", "body": body, "more_body": False}

        try:
            async with Request(self.request.scope, replay).form() as form:
                return _collect([(k, v) for k, v in form.multi_items() if not isinstance(v, UploadFile)])
        except (MultiPartException, KeyError) as error:
            raise e.BadRequestBody(f"it is no multipart form ({getattr(error, 'message', 'no boundary')})") from None


Method = Callable[[RpcCall], Awaitable[Response]]
Methods = Mapping[str, Method]


def _json_fields(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        raise e.BadRequestBody("it is not JSON; send a JSON object, or a form with its Content-Type") from None
    if not isinstance(value, dict):
        raise e.BadRequestBody("it is JSON, but not an object")
    return value


def _form_fields(body: bytes) -> dict[str, Any]:
    try:
        return _collect(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=100_000))
    except (UnicodeDecodeError, ValueError):
        raise e.BadRequestBody("it is no urlencoded form in UTF-8") from None


def _collect(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key not in found:
            found[key] = value
        elif isinstance(found[key], list):
            found[key].append(value)
        else:
            found[key] = [found[key], value]
    return found
