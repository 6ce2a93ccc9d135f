"""Manifests: read, pushed and deleted (end-3, end-7, end-9)."""

from __future__ import annotations

from starlette.responses import Response

from palomar.contract.actions import Action
from palomar.contract.errors import BadDigest, BadName, BadParameter, ManifestUnknown
from palomar.contract.images import ImageDigest, ImageTag, parse_reference
from palomar.server.access.pushing import require_push
from palomar.server.namespaces.service import find_namespace
from palomar.server.registry.deleting import delete_manifest as delete_by_digest
from palomar.server.registry.deleting import delete_tag
from palomar.server.registry.find import find_repository
from palomar.server.registry.manifests import KIND, find_manifest_for
from palomar.server.registry.manifests import put_manifest as put
from palomar.server.registry.values import PutResult, StoredManifest
from palomar.server.web.oci.answers import API_VERSION, answer
from palomar.server.web.oci.call import Call, read_body
from palomar.server.web.oci.stored import IMMUTABLE, digest_headers, is_known

# A tag moves, so what it leads to is asked for again, and answered with 304 when it has not moved.
_MOVING = {"Cache-Control": "private, no-cache", "Vary": "Authorization"}
# A manifest is somebody's JSON, and its Content-Type is whatever they said.
_HARMLESS = {"Content-Security-Policy": "sandbox; default-src 'none'"}
# "SHOULD support pushing at least 10 tags per request."
_MAX_TAGS = 32


async def get_manifest(call: Call) -> Response:
    """As it was pushed, whatever ``Accept`` says: a client that cannot read it sees by its type what it is."""
    reference = await _existing(call, Action.IMAGE_READ)
    manifest = await find_manifest_for(call.hub.database, call.subject, call.name, reference)
    caching = IMMUTABLE if isinstance(reference, ImageDigest) else _MOVING
    headers = {**API_VERSION, **caching, **_HARMLESS, **digest_headers(manifest.digest)}
    if is_known(call.request, manifest.digest):
        return Response(status_code=304, headers=headers)
    return _manifest_response(call, manifest, headers)


def _manifest_response(call: Call, manifest: StoredManifest, headers: dict[str, str]) -> Response:
    """No charset and no other parameter is added to the type ("SHOULD NOT include parameters")."""
    headers |= {"Content-Type": manifest.media_type, "Content-Length": str(manifest.size_bytes)}
    return Response(b"" if call.request.method == "HEAD" else manifest.content, headers=headers)


async def put_manifest(call: Call) -> Response:
    """Whether the caller may push is decided before the body is read."""
    reference = parse_reference(call.request.path_params["reference"])
    tags = _tags(call)
    async with call.hub.database.read() as session:
        require_push(call.subject, Action.IMAGE_PUSH, call.name, await find_namespace(session, call.name.namespace))
    limit = call.hub.registry.rules.max_manifest_bytes
    content = await read_body(call.request, what="The manifest", limit=limit)
    result = await put(
        call.hub.database,
        call.subject,
        call.name,
        content=content,
        media_type=_content_type(call),
        reference=reference,
        tags=tags,
    )
    return answer(201, _pushed(call, result, tags))


def _pushed(call: Call, result: PutResult, tags: list[ImageTag]) -> dict[str, str]:
    headers = {
        "Location": f"/v2/{call.name}/manifests/{result.digest}",
        "Docker-Content-Digest": str(result.digest),
    }
    if result.subject_digest is not None:
        headers["OCI-Subject"] = str(result.subject_digest)
    if tags:
        headers["OCI-Tag"] = ", ".join(tags)
    return headers


def _tags(call: Call) -> list[ImageTag]:
    """``?tag=``, which comes with distribution-spec 1.2 and is the only way to tag what is named by sha512."""
    given = call.request.query_params.getlist("tag")
    if len(given) > _MAX_TAGS:
        raise BadParameter("tag", f"at most {_MAX_TAGS} at once")
    return [ImageTag.parse(tag) for tag in given]


def _content_type(call: Call) -> str | None:
    """Without parameters, which a "registry SHOULD ignore"; None where the request says none."""
    return call.request.headers.get("content-type", "").partition(";")[0].strip() or None


async def delete_manifest(call: Call) -> Response:
    """By digest the manifest and its tags, by tag that one name."""
    reference = await _existing(call, Action.IMAGE_DELETE)
    async with call.hub.database.write() as session:
        if isinstance(reference, ImageDigest):
            await delete_by_digest(session, call.subject, call.name, reference)
        else:
            await delete_tag(session, call.subject, call.name, reference)
    return answer(202)


async def _existing(call: Call, action: Action) -> ImageDigest | ImageTag:
    """A reference that no manifest can have is one that none has; but first, whether the caller may know."""
    text = call.request.path_params["reference"]
    try:
        return parse_reference(text)
    except (BadDigest, BadName):
        async with call.hub.database.read() as session:
            await find_repository(session, call.subject, call.name, action)
        raise ManifestUnknown(KIND, f"{call.name}:{text}") from None
