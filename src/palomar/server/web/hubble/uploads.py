"""The multipart body of ``artifact.upload``, taken in as it arrives."""

from __future__ import annotations

from palomar.contract.errors import BadParameter, BadRequestBody
from palomar.server.artifacts.models import DOCUMENT_ARRAY
from palomar.server.artifacts.push import Push
from palomar.server.artifacts.values import Content, PushRequest, Receipt
from palomar.server.web.hubble import shapes
from palomar.server.web.hubble.rpc import RpcCall
from palomar.server.web.multipart import FieldPart, FileBytes, FileOpened, read_multipart

# docarray names the file part so, and sends it before it says that the type is a DocumentArray.
_ARRAY_FILENAME = "DocumentArray"
_FIELDS = ("id", "name", "type", "metaData", "public")


async def receive_upload(call: RpcCall, push: Push) -> Receipt:
    """The file may stand before or after the fields that say what it is (docarray: first, the SDK: second)."""
    fields: dict[str, str] = {}
    content: Content | None = None
    settings = call.hub.settings
    async for part in read_multipart(call.request, max_field_bytes=settings.max_json_bytes):
        match part:
            case FieldPart(name, value):
                _note_field(fields, name, value)
            case FileOpened(name, filename):
                _open(push, name, filename, fields)
            case FileBytes(data):
                await push.write(data)
            case _:
                content = await push.finish_file()
    if content is None:
        raise BadRequestBody("it has no file part; send one named 'file'")
    request = _to_request(fields, content, max_metadata_bytes=settings.max_json_bytes)
    if request.is_document_array and content.kind is None:
        content = await push.reread_as_array(content)
    return await push.commit(request, content)


def _note_field(fields: dict[str, str], name: str, value: str) -> None:
    if name == "file":
        raise BadRequestBody("its part 'file' has no filename, so it is no file")
    if name in fields:
        raise BadParameter(name, "it was sent twice")
    if name in _FIELDS:
        fields[name] = value


def _open(push: Push, name: str, filename: str, fields: dict[str, str]) -> None:
    if name != "file":
        raise BadRequestBody("its file part must be named 'file'")
    if fields.get("type") == DOCUMENT_ARRAY or (filename == _ARRAY_FILENAME and "type" not in fields):
        push.open_array()
    else:
        push.open_file()


def _to_request(fields: dict[str, str], content: Content, *, max_metadata_bytes: int) -> PushRequest:
    kind = shapes.to_type(fields.get("type"))
    if kind is None and content.kind is not None:
        kind = DOCUMENT_ARRAY
    return PushRequest(
        name=shapes.to_text("name", fields.get("name")),
        artifact_id=shapes.to_text("id", fields.get("id")),
        type=kind,
        is_public=shapes.to_bool("public", fields.get("public") or None),
        metadata=shapes.to_metadata(fields.get("metaData"), max_bytes=max_metadata_bytes),
    )
