from __future__ import annotations

import json
from typing import Any

import pytest

from palomar.documents.kinds import DocumentKind
from palomar.documents.preview import MAX_DEPTH, MAX_ITEMS, MAX_TEXT_CHARS, describe, summarise
from palomar.documents.schema import document_class


def v1(**fields: Any) -> Any:
    return document_class(DocumentKind.V1)(**fields)


def v2() -> Any:
    return document_class(DocumentKind.V2)()


def view(message: Any) -> dict[str, Any]:
    kind = DocumentKind.V1 if isinstance(message, document_class(DocumentKind.V1)) else DocumentKind.V2
    described = describe(kind, message.SerializeToString())
    json.dumps(described, allow_nan=False)
    return described


def test_v1_fields() -> None:
    message = v1(id="i", text="hé", mime_type="text/plain", uri="http://x", weight=float("nan"), location=[1.5, 2])
    message.tags.update({"number": 1, "list": [None, "x", True], "inner": {"a": "b"}})
    message.scores["cos"].value = 0.5
    assert view(message) == {
        "id": "i",
        "text": "hé",
        "mime_type": "text/plain",
        "uri": "http://x",
        "weight": "nan",
        "location": [1.5, 2.0],
        "tags": {"number": 1.0, "list": [None, "x", True], "inner": {"a": "b"}},
        "scores": {"cos": 0.5},
    }


def test_v1_empty_document() -> None:
    assert view(v1()) == {}


def test_v1_content() -> None:
    assert view(v1(blob=b"abc")) == {"blob": {"bytes": 3}}
    message = v1()
    message.tensor.dense.dtype = "<f4"
    message.tensor.dense.shape.extend([2, 3])
    message.embedding.cls_name = "scipy"
    message.embedding.sparse.values.dtype = "<f8"
    message.embedding.sparse.shape.extend([4, 4])
    assert view(message) == {
        "tensor": {"dtype": "<f4", "shape": [2, 3]},
        "embedding": {"dtype": "<f8", "shape": [4, 4], "sparse": True, "framework": "scipy"},
    }


def test_v1_nested_documents_are_counted_and_shown_to_a_depth() -> None:
    message = v1(id="0", matches=[v1(id="m")])
    inner = message
    for depth in range(1, 10):
        inner = inner.chunks.add(id=str(depth))
    described = view(message)
    assert described["matches"] == {"count": 1, "items": [{"id": "m"}]}
    for _depth in range(MAX_DEPTH):
        described = described["chunks"]["items"][0]
    assert described == {"id": str(MAX_DEPTH), "chunks": {"count": 1}}


def test_long_things_are_cut() -> None:
    message = v1(text="x" * 5000, chunks=[v1() for _ in range(100)], location=[0.0] * 100)
    message.tags.update({f"{number:03}": number for number in range(100)})
    described = view(message)
    assert described["text"] == "x" * (MAX_TEXT_CHARS - 1) + "…"
    assert (described["chunks"]["count"], len(described["chunks"]["items"])) == (100, MAX_ITEMS)
    assert len(described["location"]) == len(described["tags"]) == MAX_ITEMS


def test_deep_tags_end() -> None:
    tags: dict[str, Any] = {"end": 1}
    for _ in range(20):
        tags = {"a": tags, "b": [[[[[[1]]]]]]}
    message = v1()
    message.tags.update(tags)
    assert len(json.dumps(view(message))) < 500


def test_v2_fields() -> None:
    message = v2()
    data = message.data
    data["text"].text = "t"
    data["integer"].integer = -1
    data["float"].float = float("inf")
    data["boolean"].boolean = False
    data["nothing"].SetInParent()
    data["blob"].blob = b"abc"
    data["image"].blob = b"abc"
    data["image"].type = "image_bytes"
    data["tensor"].ndarray.dense.dtype = "<f4"
    data["tensor"].ndarray.dense.shape.extend([2, 3])
    data["tensor"].type = "torch_tensor"
    data["doc"].doc.data["x"].integer = 1
    data["docs"].doc_array.docs.add().data["x"].integer = 2
    data["dict"].dict.data["k"].text = "v"
    for name in ("list", "set", "tuple"):
        getattr(data[name], name).data.add().integer = 3
    nested = {"count": 1, "items": [3]}
    assert view(message) == {
        "text": "t",
        "integer": -1,
        "float": "inf",
        "boolean": False,
        "nothing": None,
        "blob": {"bytes": 3},
        "image": {"bytes": 3, "type": "image_bytes"},
        "tensor": {"dtype": "<f4", "shape": [2, 3], "type": "torch_tensor"},
        "doc": {"x": 1},
        "docs": {"count": 1, "items": [{"x": 2}]},
        "dict": {"k": "v"},
        "list": nested,
        "set": nested,
        "tuple": nested,
    }


def test_v2_nesting_ends() -> None:
    message = v2()
    inner = message.data
    for _ in range(8):
        inner = inner["d"].doc.data
    assert view(message) == {"d": {"d": {"d": {"d": {"fields": 1}}}}}
    message = v2()
    node = message.data["d"]
    for _ in range(8):
        node = node.dict.data["d"]
    assert view(message) == {"d": {"d": {"d": {"d": {"count": 1}}}}}


def test_what_is_no_document_is_refused() -> None:
    with pytest.raises(ValueError, match="not a protobuf message"):
        describe(DocumentKind.V1, b"\xff")


@pytest.mark.parametrize("kind", list(DocumentKind))
def test_summary_of_nothing_has_what_lists_need(kind: DocumentKind) -> None:
    items = summarise(kind, documents=0, sample=[])
    assert all(isinstance(item["name"], str) for item in items)
    assert [item["value"] for item in items if item["name"] == "Length"] == [0]
    json.dumps(items)


def test_v1_summary() -> None:
    sample = [v1(id="a", text="t").SerializeToString(), v1(id="b", chunks=[v1()]).SerializeToString()]
    values = {item["name"]: item["value"] for item in summarise(DocumentKind.V1, documents=7, sample=sample)}
    assert values == {
        "Type": "DocumentArray",
        "Length": 7,
        "Homogenous Documents": False,
        "Common Attributes": ["id"],
        "Has nested Documents in": ["chunks"],
    }


def test_v2_summary() -> None:
    message = v2()
    message.data["b"].text = message.data["a"].text = "x"
    sample = [message.SerializeToString()] * 2
    values = {item["name"]: item["value"] for item in summarise(DocumentKind.V2, documents=2, sample=sample)}
    assert values == {"Type": "DocList", "Length": 2, "Homogenous Documents": True, "Fields": ["a", "b"]}
