"""The download of a chunk, without the framework: a native pull asks for thousands, four at a time.

FastAPI's routing, dependencies and validation take longer than all that this route does, so it stands before them and
answers what is written plainly. Everything else - a number like '01', the namespace '_', another method - it leaves to
`palomar.server.web.v1.versions`, where the route also has its place in the schema.
"""

from __future__ import annotations

import re
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route
from starlette.types import Scope

from palomar.contract import v1
from palomar.contract.names import ResourcePath
from palomar.server.accounts.credentials import is_personal_token
from palomar.server.artifacts.chunk_access import ChunkAsked, find_chunk, find_chunk_by_token
from palomar.server.artifacts.reader import StoredChunk
from palomar.server.web.identity import identify, read_credential, to_subject
from palomar.server.web.v1.calls import PREFIX
from palomar.server.web.v1.finding import parse_path
from palomar.server.web.v1.stored import stored_response
from palomar.server.wiring import Hub

CHUNK = "/arrays/{namespace}/{name}/versions/{number}/chunks/{digest}"
_NUMBER = re.compile(r"[1-9][0-9]{0,8}", re.ASCII)
_DIGEST = re.compile(r"[0-9a-f]{64}", re.ASCII)


class ChunkRoute(Route):
    """Matches GET alone, and only with a path that needs no explanation of what is wrong with it."""

    def __init__(self) -> None:
        super().__init__(PREFIX + CHUNK, _get_chunk, methods=["GET"], name="chunk", include_in_schema=False)

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        match, child = super().matches(scope)
        if match is not Match.FULL or scope["method"] != "GET" or not _is_plain(child["path_params"]):
            return Match.NONE, {}
        return match, child


def _is_plain(given: dict[str, Any]) -> bool:
    is_numbered = _NUMBER.fullmatch(given["number"]) and _DIGEST.fullmatch(given["digest"])
    return bool(is_numbered) and parse_path(given["namespace"], given["name"]) is not None


async def _get_chunk(request: Request) -> Response:
    request.scope["palomar.route"] = PREFIX + CHUNK
    hub: Hub = request.app.state.hub
    given = request.path_params
    asked_name = f"{given['namespace']}/{given['name']}"
    asked = ChunkAsked(ResourcePath.parse(asked_name), asked_name, int(given["number"]), given["digest"])
    return chunk_response(hub, request, await _find(hub, request, asked))


async def _find(hub: Hub, request: Request, asked: ChunkAsked) -> StoredChunk:
    credential = read_credential(request.headers.get("authorization"))
    if credential is not None and is_personal_token(credential):
        return await find_chunk_by_token(hub.identity.credentials, credential, asked, to_subject)
    return await find_chunk(hub.database, await identify(hub, request), asked)


def chunk_response(hub: Hub, request: Request, chunk: StoredChunk) -> Response:
    headers = {v1.ENCODING_HEADER: chunk.encoding, v1.STORED_DIGEST_HEADER: chunk.at.stored_digest}
    return stored_response(hub, request, chunk.at, chunk.at.stored_digest, headers)
