"""``artifact.*`` and ``da.*``: DocumentArrays and files of the old clients."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from palomar.contract.errors import BadParameter, BadRequestBody, TooLarge
from palomar.server.artifacts.download import find_download
from palomar.server.artifacts.find import find_readable
from palomar.server.artifacts.manage import Changes, delete_artifact, update_artifact
from palomar.server.artifacts.queries import list_own
from palomar.server.artifacts.resource import ShownArtifact
from palomar.server.web.address import base_url
from palomar.server.web.download import download_url
from palomar.server.web.hubble import shapes
from palomar.server.web.hubble.rpc import Methods, RpcCall, ok
from palomar.server.web.hubble.uploads import receive_upload

_MAX_DELETED_AT_ONCE = 10_000


async def upload(call: RpcCall) -> Response:
    """Refuses what it can before the body is read: an unknown caller, a body that says it is too long."""
    subject = await call.account()
    limit = call.hub.settings.max_push_bytes
    announced = call.request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > limit:
        raise TooLarge("The push", limit)
    async with call.hub.pusher.begin(subject) as push:
        receipt = await receive_upload(call, push)
    async with call.hub.database.read() as session:
        found = await find_readable(session, subject, artifact_id=receipt.artifact_id, bare_means_own=False)
    return ok(shapes.upload_object(found, receipt))


async def get_download_url(call: RpcCall) -> Response:
    """GET with `name` (docarray), POST with `id` (SDK). The URL pins one version and opens it without a header."""
    subject = await call.subject()
    name, artifact_id = _which(await call.fields())
    rules = call.hub.artifact_rules
    found = await find_download(
        call.hub.database, subject, name=name, artifact_id=artifact_id, bare_means_own=rules.bare_means_own
    )
    url = download_url(call.hub, base_url(call.request, call.hub.settings), found.version_id)
    return ok({"download": url, "version": found.number, "digest": found.digest})


async def get_detail(call: RpcCall) -> Response:
    subject = await call.subject()
    name, artifact_id = _which(await call.fields())
    async with call.hub.database.read() as session:
        found = await find_readable(
            session, subject, name=name, artifact_id=artifact_id, bare_means_own=call.hub.artifact_rules.bare_means_own
        )
    return ok(shapes.artifact_object(ShownArtifact.of(found)))


async def update(call: RpcCall) -> Response:
    """`metaData` comes as JSON text within the JSON body, and goes back as an object."""
    subject = await call.account()
    fields = await call.fields()
    artifact_id = shapes.to_text("id", fields.get("id"))
    if artifact_id is None:
        raise BadParameter("id", "it is missing; artifact.list shows it as _id")
    changes = Changes(
        name=shapes.to_text("name", fields.get("name")),
        is_public=shapes.to_bool("public", fields.get("public")),
        metadata=shapes.to_metadata(fields.get("metaData"), max_bytes=call.hub.settings.max_json_bytes),
    )
    async with call.hub.database.write() as session:
        found = await update_artifact(session, subject, artifact_id, changes, call.hub.artifact_rules)
    return ok(shapes.artifact_object(ShownArtifact.of(found)))


async def delete(call: RpcCall) -> Response:
    subject = await call.account()
    name, artifact_id = _which(await call.fields())
    async with call.hub.database.write() as session:
        found = await delete_artifact(session, subject, call.hub.artifact_rules, name=name, artifact_id=artifact_id)
    return ok({"_id": found.artifact.id, "name": found.shown_name})


async def delete_many(call: RpcCall) -> Response:
    """All of them or none."""
    subject = await call.account()
    fields = await call.fields()
    ids, names = shapes.to_texts("ids", fields.get("ids")), shapes.to_texts("names", fields.get("names"))
    if not ids and not names:
        raise BadParameter("ids", "it is missing; send ids or names")
    if len(ids) + len(names) > _MAX_DELETED_AT_ONCE:
        raise BadParameter("ids", f"at most {_MAX_DELETED_AT_ONCE:,} at once")
    rules = call.hub.artifact_rules
    async with call.hub.database.write() as session:
        for artifact_id in dict.fromkeys(ids):
            await delete_artifact(session, subject, rules, artifact_id=artifact_id)
        for name in dict.fromkeys(names):
            await delete_artifact(session, subject, rules, name=name)
    return ok({"deleted": len(ids) + len(names)})


async def list_artifacts(call: RpcCall) -> Response:
    subject = await call.account()
    fields = await call.fields()
    page = shapes.to_page(fields, max_size=call.hub.settings.max_artifacts_listed)
    filters = shapes.to_filters(fields.get("filter"))
    async with call.hub.database.read() as session:
        shown, total = await list_own(session, subject, filters=filters, page=page)
    return ok([shapes.artifact_object(one) for one in shown], meta={"total": total})


async def da_pull(call: RpcCall) -> Response:
    """Docarray 0.4 to 0.11.2 knows an array by a `token`, which is what later versions call its name."""
    fields = await call.fields()
    name = shapes.to_text("token", fields.get("token"))
    subject = await call.subject()
    found = await find_download(call.hub.database, subject, name=name, bare_means_own=False)
    return ok({"download": download_url(call.hub, base_url(call.request, call.hub.settings), found.version_id)})


async def da_push(call: RpcCall) -> Response:
    """These clients send no credentials and no namespace, so there is nobody to push for."""
    await call.account()
    raise BadRequestBody("this docarray is too old to push; use docarray 0.19.1 or later and log in")


def _which(fields: dict[str, Any]) -> tuple[str | None, str | None]:
    """Name or id; the id wins."""
    name, artifact_id = shapes.to_text("name", fields.get("name")), shapes.to_text("id", fields.get("id"))
    if name is None and artifact_id is None:
        raise BadParameter("name", "it is missing; send a name or an id")
    return (None if artifact_id else name), artifact_id


METHODS: Methods = {
    "artifact.upload": upload,
    "artifact.getDownloadUrl": get_download_url,
    "artifact.getDetail": get_detail,
    "artifact.update": update,
    "artifact.delete": delete,
    "artifact.deleteMany": delete_many,
    "artifact.list": list_artifacts,
    "da.pull": da_pull,
    "da.push": da_push,
}
