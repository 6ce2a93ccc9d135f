"""Blobs: read and deleted (end-2, end-10)."""

from __future__ import annotations

from starlette.responses import Response

from palomar.contract.actions import Action
from palomar.contract.errors import BadDigest
from palomar.contract.images import ImageDigest
from palomar.server.registry.blobs import find_blob_for
from palomar.server.registry.deleting import delete_blob as delete
from palomar.server.registry.find import find_repository
from palomar.server.web.oci.answers import answer
from palomar.server.web.oci.call import Call
from palomar.server.web.oci.stored import blob_response


async def get_blob(call: Call) -> Response:
    digest = await _digest(call, Action.IMAGE_READ)
    blob = await find_blob_for(call.hub.database, call.subject, call.name, digest)
    return blob_response(call.hub, call.request, blob)


async def _digest(call: Call, action: Action) -> ImageDigest:
    """Who may not go here is not even told that this is no digest."""
    try:
        return ImageDigest.parse(call.request.path_params["digest"])
    except BadDigest:
        async with call.hub.database.read() as session:
            await find_repository(session, call.subject, call.name, action)
        raise


async def delete_blob(call: Call) -> Response:
    digest = await _digest(call, Action.IMAGE_DELETE)
    async with call.hub.database.write() as session:
        await delete(session, call.subject, call.name, digest)
    return answer(202)
