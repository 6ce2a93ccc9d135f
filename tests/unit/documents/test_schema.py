from __future__ import annotations

import pytest
from google.protobuf import descriptor_pool
from google.protobuf.internal import api_implementation

from palomar.documents.kinds import DocumentKind
from palomar.documents.schema import check_document, document_class, message_class, parse_document

# Field by field what docarray 0.21 and 0.38 put on the wire, written by hand.
V1_WIRE = {
    "id": b"\x0a\x01i",
    "blob": b"\x12\x01b",
    "tensor": b"\x1a\x0b\x0a\x09\x0a\x01x\x12\x01\x01\x1a\x01d",
    "text": b"\x22\x01t",
    "granularity": b"\x28\x01",
    "adjacency": b"\x30\x02",
    "parent_id": b"\x3a\x01p",
    "weight": b"\x45\x00\x00\x80\x3f",
    "uri": b"\x4a\x01u",
    "modality": b"\x52\x01m",
    "mime_type": b"\x5a\x01m",
    "offset": b"\x65\x00\x00\x80\x3f",
    "location": b"\x6a\x04\x00\x00\x80\x3f",
    "chunks": b"\x72\x03\x0a\x01c",
    "matches": b"\x7a\x03\x0a\x01m",
    "embedding": b"\x82\x01\x07\x1a\x05numpy",
    "tags": b"\x8a\x01\x0e\x0a\x0c\x0a\x01k\x12\x07\x1a\x05value",
    "scores": b"\x92\x01\x0a\x0a\x01s\x12\x05\x0d\x00\x00\x80\x3f",
    "evaluations": b"\x9a\x01\x08\x0a\x01e\x12\x03\x12\x01o",
    "_metadata": b"\xa2\x01\x00",
}
V2_NODES = {
    "text": b"\x0a\x01t",
    "integer": b"\x10\x01",
    "float": b"\x19\x00\x00\x00\x00\x00\x00\xf0\x3f",
    "boolean": b"\x20\x01",
    "blob": b"\x2a\x01b",
    "ndarray": b"\x32\x07\x0a\x03\x12\x01\x02\x12\x00",
    "doc": b"\x3a\x05\x0a\x03\x0a\x01k",
    "doc_array": b"\x42\x02\x0a\x00",
    "list": b"\x4a\x02\x0a\x00",
    "set": b"\x52\x02\x0a\x00",
    "tuple": b"\x5a\x02\x0a\x00",
    "dict": b"\x62\x05\x0a\x03\x0a\x01k",
}


@pytest.mark.parametrize("name", list(V1_WIRE))
def test_v1_field_is_known(name: str) -> None:
    message = parse_document(DocumentKind.V1, V1_WIRE[name])
    assert [field.name for field, _ in message.ListFields()] == [name]
    assert message.SerializeToString() == V1_WIRE[name]


@pytest.mark.parametrize("name", list(V2_NODES))
def test_v2_content_is_known(name: str) -> None:
    node = V2_NODES[name] + b"\x6a\x02id"
    entry = b"\x0a\x01f\x12" + bytes([len(node)]) + node
    message = parse_document(DocumentKind.V2, b"\x0a" + bytes([len(entry)]) + entry)
    assert message.data["f"].WhichOneof("content") == name
    assert message.data["f"].type == "id"


def test_tensor_content_is_known() -> None:
    tensor = parse_document(DocumentKind.V1, V1_WIRE["tensor"]).tensor.dense
    assert (tensor.buffer, list(tensor.shape), tensor.dtype) == (b"x", [1], "d")
    sparse = message_class(DocumentKind.V1, "NdArrayProto").FromString(b"\x12\x07\x0a\x00\x12\x00\x1a\x01\x05")
    assert sparse.WhichOneof("content") == "sparse"
    assert list(sparse.sparse.shape) == [5]


def test_parser_is_the_fast_one() -> None:
    assert api_implementation.Type() == "upb"


def test_default_pool_knows_nothing_of_it() -> None:
    assert document_class(DocumentKind.V1).DESCRIPTOR.full_name == "docarray.DocumentProto"
    with pytest.raises(KeyError):
        descriptor_pool.Default().FindMessageTypeByName("docarray.DocumentProto")


@pytest.mark.parametrize("kind", list(DocumentKind))
@pytest.mark.parametrize("raw", [b"\xff", b"\x0a\x05abc", b"\x0f", b"\x00\x00"])
def test_what_is_no_message_is_refused(kind: DocumentKind, raw: bytes) -> None:
    with pytest.raises(ValueError, match=f"not a protobuf message of kind {kind}"):
        check_document(kind, raw)


def test_kinds_and_version_bytes() -> None:
    assert {kind: kind.version_byte for kind in DocumentKind} == {DocumentKind.V1: 1, DocumentKind.V2: 2}
    assert DocumentKind.from_version_byte(2) is DocumentKind.V2
    with pytest.raises(ValueError, match="byte 0x03"):
        DocumentKind.from_version_byte(3)
