"""Pushing blobs (distribution-spec 1.1, "Pushing Blobs"; end-4 to end-6, end-11, end-13, end-14).

Locations are paths without a host: they hold behind any proxy, and clients resolve them (RFC 9110, section 10.2.2).
"""

from __future__ import annotations

import re
from collections.abc import Awaitable
from typing import NamedTuple, TypeVar

from starlette.requests import Request
from starlette.responses import Response

from palomar.contract.errors import BadDigest, BadName, BadRequestBody, BlobUploadInvalid, UploadOutOfOrder
from palomar.contract.images import ImageDigest, RepositoryName
from palomar.server.registry.blobs import mount_blob
from palomar.server.registry.uploads import Uploads
from palomar.server.registry.values import StoredBlob, UploadState
from palomar.server.web.oci.answers import answer
from palomar.server.web.oci.call import Call, body_pieces, content_length
from palomar.server.web.oci.scopes import PULL, REPOSITORY, repository_scope

_ALGORITHMS = ("sha256", "sha512")
# "It MUST match the following regular expression"; what RFC 9110 writes around it is allowed, as some tools do.
_CONTENT_RANGE = re.compile(r"(?:bytes[ =])?([0-9]{1,19})-([0-9]{1,19})(?:/(?:[0-9]{1,19}|\*))?", re.ASCII)

Result = TypeVar("Result")


class _Chunk(NamedTuple):
    """What the headers of a body say of it; None is what they leave open."""

    start: int | None
    length: int | None


async def start(call: Call) -> Response:
    """An upload to continue, or, if the request has all that is needed, the blob."""
    _check_algorithm(call)
    digest, mount = call.query("digest"), call.query("mount")
    if digest is not None:
        return _created(call, await _put(call, ImageDigest.parse(digest)))
    if mount is not None:
        mounted = await _mount(call, ImageDigest.parse(mount), call.query("from"))
        if mounted is not None:
            return _created(call, mounted)
    return _underway(call, await _uploads(call).start(call.subject, call.name), 202)


async def _put(call: Call, digest: ImageDigest) -> StoredBlob:
    chunk = _chunk(call.request)
    body = body_pieces(call.request)
    return await _uploads(call).put(call.subject, call.name, digest=digest, body=body, length=chunk.length)


async def _mount(call: Call, digest: ImageDigest, source: str | None) -> StoredBlob | None:
    """None where the client must upload: whatever the reason, it gets the same answer."""
    if source is not None:
        # The token that the challenge leads to is good for both ends.
        call.scope += f" {repository_scope(source, PULL)}" if _is_name(source) else ""
    for name in _sources(call, source):
        async with call.hub.database.write() as session:
            mounted = await mount_blob(session, call.subject, call.name, digest, name)
        if mounted is not None:
            return mounted
    return None


def _sources(call: Call, source: str | None) -> list[RepositoryName | None]:
    """Where to look. A registry token opens the repositories that it names and no other, not even by their blobs.

    Without ``from`` a personal access token stands for its owner's whole namespace, which None means.
    """
    grant = call.caller.grant
    if source is not None:
        is_open = _is_name(source) and call.caller.covers(REPOSITORY, source, PULL)
        return [RepositoryName(source)] if is_open else []
    if grant is None:
        return [None]
    names = [RepositoryName(one.name) for one in grant.access if one.type == REPOSITORY and PULL in one.asked]
    return [name for name in names if name.namespace == call.name.namespace]


async def show(call: Call) -> Response:
    state = await _uploads(call).status(call.subject, call.name, _upload_id(call))
    return _underway(call, state, 204)


async def append(call: Call) -> Response:
    """A chunk that says where it belongs, or a stream that goes on wherever the upload stands."""
    chunk = await _placed(call)
    appending = _uploads(call).append(
        call.subject,
        call.name,
        _upload_id(call),
        body=body_pieces(call.request),
        start=chunk.start,
        length=chunk.length,
    )
    return _underway(call, await _in_order(call, appending), 202)


async def finish(call: Call) -> Response:
    digest = ImageDigest.parse(call.query("digest") or "")
    chunk = await _placed(call)
    finishing = _uploads(call).finish(
        call.subject,
        call.name,
        _upload_id(call),
        digest=digest,
        body=body_pieces(call.request),
        start=chunk.start,
        length=chunk.length,
    )
    return _created(call, await _in_order(call, finishing))


async def cancel(call: Call) -> Response:
    await _uploads(call).cancel(call.subject, call.name, _upload_id(call))
    return answer(204)


async def _in_order(call: Call, doing: Awaitable[Result]) -> Result:
    """A 416 says how far the upload is, so the client can go on from there without asking."""
    try:
        return await doing
    except UploadOutOfOrder as error:
        call.refusal_headers |= _place(call, UploadState(_upload_id(call), error.received_bytes))
        raise


async def _placed(call: Call) -> _Chunk:
    """As `_chunk`; a range that ends before it begins belongs nowhere in this upload."""
    try:
        return _chunk(call.request)
    except _BackwardsError:
        state = await _uploads(call).status(call.subject, call.name, _upload_id(call))
        call.refusal_headers |= _place(call, state)
        raise UploadOutOfOrder(state.received_bytes) from None


class _BackwardsError(Exception):
    """A Content-Range whose end is before its start."""


def _chunk(request: Request) -> _Chunk:
    """Raises BadRequestBody, or BlobUploadInvalid where the two headers contradict each other."""
    length = content_length(request)
    header = request.headers.get("content-range")
    if header is None:
        return _Chunk(None, length)
    found = _CONTENT_RANGE.fullmatch(header.strip())
    if found is None:
        raise BadRequestBody("its Content-Range is not of the form 'start-end', both inclusive")
    first, last = int(found[1]), int(found[2])
    if last < first:
        raise _BackwardsError
    if length is not None and length != last - first + 1:
        raise BlobUploadInvalid(f"its Content-Range has {last - first + 1:,} bytes and its Content-Length {length:,}")
    return _Chunk(first, last - first + 1)


def _check_algorithm(call: Call) -> None:
    """``digest-algorithm`` says what the upload will end with; either kind is known when it comes to that."""
    algorithm = call.query("digest-algorithm")
    if algorithm is not None and algorithm not in _ALGORITHMS:
        raise BadDigest(f"{algorithm}:")


def _uploads(call: Call) -> Uploads:
    return call.hub.registry.uploads


def _upload_id(call: Call) -> str:
    upload_id: str = call.request.path_params["upload_id"]
    return upload_id


def _is_name(text: str) -> bool:
    try:
        RepositoryName.parse(text)
    except BadName:
        return False
    return True


# --- answers -------------------------------------------------------------------------------------------------------


def _created(call: Call, blob: StoredBlob) -> Response:
    location = f"/v2/{call.name}/blobs/{blob.digest}"
    return answer(201, {"Location": location, "Docker-Content-Digest": str(blob.digest)})


def _underway(call: Call, state: UploadState, status: int) -> Response:
    return answer(status, _place(call, state))


def _place(call: Call, state: UploadState) -> dict[str, str]:
    """``Range`` is that of the bytes that have come, both ends inclusive.

    It cannot say 'none': like other registries the hub writes '0-0' then, and clients begin at 0.
    """
    return {
        "Location": f"/v2/{call.name}/blobs/uploads/{state.id}",
        "Range": f"0-{max(0, state.received_bytes - 1)}",
        "Docker-Upload-UUID": state.id,
    }
