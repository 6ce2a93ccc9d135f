"""A view of one document as JSON: what a list, a page or a terminal shows without the client's own classes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from math import isfinite
from typing import Any, Final

from palomar.documents.kinds import DocumentKind
from palomar.documents.schema import parse_document

MAX_TEXT_CHARS: Final = 1000
MAX_ITEMS: Final = 20
MAX_DEPTH: Final = 3

JsonObject = dict[str, Any]


def describe(kind: DocumentKind, raw: bytes) -> JsonObject:
    """What is in the document, bounded: long texts, lists and deep nesting are cut.

    A v1 document shows the fields that are set; nested ones appear as ``{"count", "items"}``. A v2 document shows its
    fields by name. Tensors are ``{"dtype", "shape"}`` and blobs ``{"bytes"}``, with the declared type where there is
    one. Raises ValueError when ``raw`` does not parse.
    """
    message = parse_document(kind, raw)
    return _v1_document(message, 0) if kind is DocumentKind.V1 else _v2_document(message, 0)


# --- v1 ----------------------------------------------------------------------------------------------------------

_V1_PLAIN: Final = ("id", "parent_id", "uri", "mime_type", "modality", "granularity", "adjacency", "weight", "offset")


def _v1_document(message: Any, depth: int) -> JsonObject:
    view = {name: _scalar(getattr(message, name)) for name in _V1_PLAIN if getattr(message, name)}
    view |= _v1_content(message)
    if message.location:
        view["location"] = [_scalar(value) for value in message.location[:MAX_ITEMS]]
    if message.HasField("embedding"):
        view["embedding"] = _v1_tensor(message.embedding)
    if message.HasField("tags"):
        view["tags"] = _struct(message.tags, depth)
    for name in ("scores", "evaluations"):
        if scores := getattr(message, name):
            view[name] = _mapping(scores, lambda score: _scalar(score.value))
    for name in ("chunks", "matches"):
        if nested := getattr(message, name):
            view[name] = _nested(nested, depth, _v1_document)
    return view


def _v1_content(message: Any) -> JsonObject:
    match message.WhichOneof("content"):
        case "text":
            return {"text": _text(message.text)}
        case "blob":
            return {"blob": {"bytes": len(message.blob)}}
        case "tensor":
            return {"tensor": _v1_tensor(message.tensor)}
        case _:
            return {}


def _v1_tensor(message: Any) -> JsonObject:
    if message.WhichOneof("content") == "sparse":
        view: JsonObject = {
            "dtype": _text(message.sparse.values.dtype),
            "shape": _shape(message.sparse),
            "sparse": True,
        }
    else:
        view = _dense(message.dense)
    if message.cls_name:
        view["framework"] = _text(message.cls_name)
    return view


# --- v2 ----------------------------------------------------------------------------------------------------------


def _v2_document(message: Any, depth: int) -> JsonObject:
    return _mapping(message.data, lambda node: _node(node, depth))


def _node(node: Any, depth: int) -> Any:
    """A value of a field; ``None`` is a node without content."""
    content = node.WhichOneof("content")
    if content is None:
        return None
    return _NODE_VIEWS[content](getattr(node, content), node.type, depth)


def _with_type(view: JsonObject, declared: str) -> JsonObject:
    return {**view, "type": _text(declared)} if declared else view


def _list(message: Any, _declared: str, depth: int) -> Any:
    return _nested(message.data, depth, _node)


def _dict(message: Any, _declared: str, depth: int) -> Any:
    if depth >= MAX_DEPTH:
        return {"count": len(message.data)}
    return _mapping(message.data, lambda node: _node(node, depth + 1))


def _doc(message: Any, _declared: str, depth: int) -> Any:
    return {"fields": len(message.data)} if depth >= MAX_DEPTH else _v2_document(message, depth + 1)


_NODE_VIEWS: Final[dict[str, Callable[[Any, str, int], Any]]] = {
    "text": lambda value, _declared, _depth: _text(value),
    "integer": lambda value, _declared, _depth: value,
    "float": lambda value, _declared, _depth: _scalar(value),
    "boolean": lambda value, _declared, _depth: value,
    "blob": lambda value, declared, _depth: _with_type({"bytes": len(value)}, declared),
    "ndarray": lambda value, declared, _depth: _with_type(_dense(value.dense), declared),
    "doc": _doc,
    "doc_array": lambda value, _declared, depth: _nested(value.docs, depth, _v2_document),
    "list": _list,
    "set": _list,
    "tuple": _list,
    "dict": _dict,
}


# --- both --------------------------------------------------------------------------------------------------------


def _nested(items: Any, depth: int, view: Callable[[Any, int], Any]) -> JsonObject:
    """How many there are and, unless nested too deep, the first of them."""
    if depth >= MAX_DEPTH:
        return {"count": len(items)}
    return {"count": len(items), "items": [view(item, depth + 1) for item in items[:MAX_ITEMS]]}


def _mapping(items: Mapping[str, Any], view: Callable[[Any], Any]) -> JsonObject:
    return {_text(name): view(items[name]) for name in sorted(items)[:MAX_ITEMS]}


def _dense(message: Any) -> JsonObject:
    return {"dtype": _text(message.dtype), "shape": _shape(message)}


def _shape(message: Any) -> list[int]:
    return list(message.shape[:MAX_ITEMS])


def _struct(message: Any, depth: int) -> Any:
    """A google.protobuf.Struct."""
    if depth > MAX_DEPTH:
        return {"count": len(message.fields)}
    return _mapping(message.fields, lambda value: _struct_value(value, depth + 1))


def _struct_value(value: Any, depth: int) -> Any:
    match value.WhichOneof("kind"):
        case "struct_value":
            return _struct(value.struct_value, depth)
        case "list_value":
            items = value.list_value.values[:MAX_ITEMS] if depth <= MAX_DEPTH else []
            return [_struct_value(item, depth + 1) for item in items]
        case "string_value" | "number_value" | "bool_value" as which:
            return _scalar(getattr(value, which))
        case _:
            return None


def _scalar(value: Any) -> Any:
    """JSON has no NaN and no infinity: they become their names."""
    if isinstance(value, str):
        return _text(value)
    return str(value) if isinstance(value, float) and not isfinite(value) else value


def _text(value: str) -> str:
    return value if len(value) <= MAX_TEXT_CHARS else value[: MAX_TEXT_CHARS - 1] + "…"


# --- summary -----------------------------------------------------------------------------------------------------


def summarise(kind: DocumentKind, *, documents: int, sample: Iterable[bytes]) -> list[JsonObject]:
    """The ``metaData.summary`` that docarray itself would have sent, for an upload without one.

    Every item has a ``name``, and one is ``Length``: without either, lists of docarray 0.17 and later break for the
    whole account. ``sample`` are a few raw documents; what is said about fields is true of those.
    """
    fields = [_set_fields(kind, raw) for raw in sample]
    items = [
        _item("Type", "DocumentArray" if kind is DocumentKind.V1 else "DocList", "The type of the array"),
        _item("Length", documents, "The number of documents"),
        _item(
            "Homogenous Documents", all(names == fields[0] for names in fields), "All documents have the same fields"
        ),
    ]
    if kind is DocumentKind.V2:
        return [*items, _item("Fields", _common(fields), "The fields of the documents")]
    nested = sorted({"chunks", "matches"} & set().union(*fields))
    return [
        *items,
        _item("Common Attributes", _common(fields), "The attributes that all documents have"),
        _item("Has nested Documents in", nested, "The attributes that hold further documents"),
    ]


def _item(name: str, value: Any, description: str) -> JsonObject:
    return {"name": name, "value": value, "description": description}


def _set_fields(kind: DocumentKind, raw: bytes) -> set[str]:
    message = parse_document(kind, raw)
    if kind is DocumentKind.V2:
        return set(message.data)
    return {descriptor.name for descriptor, _value in message.ListFields()}


def _common(fields: list[set[str]]) -> list[str]:
    return sorted(set.intersection(*fields)) if fields else []
