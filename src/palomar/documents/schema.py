"""The protobuf schemas of both document kinds, built in code.

Each kind has a *private* descriptor pool: both declare a package ``docarray`` with different messages of the same
names, and the real docarray, which registers its own in the default pool, may live in the same process.

A schema is a text: a message name without indentation, then one line per field, ``number name type [oneof]``. A type
is a scalar, a message, either with ``*`` for repeated, or ``map<Message>`` with string keys. Numbers and types are
those that docarray 0.4 to 0.38 write.
"""

from __future__ import annotations

from typing import Any

from google.protobuf import struct_pb2
from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from palomar.documents.kinds import DocumentKind

_SHARED = """
DenseNdArrayProto
  1 buffer bytes
  2 shape uint32*
  3 dtype string
"""

_V1 = """
DocumentProto
  1 id string
  2 blob bytes content
  3 tensor NdArrayProto content
  4 text string content
  5 granularity uint32
  6 adjacency uint32
  7 parent_id string
  8 weight float
  9 uri string
  10 modality string
  11 mime_type string
  12 offset float
  13 location float*
  14 chunks DocumentProto*
  15 matches DocumentProto*
  16 embedding NdArrayProto
  17 tags Struct
  18 scores map<NamedScoreProto>
  19 evaluations map<NamedScoreProto>
  20 _metadata Struct
NdArrayProto
  1 dense DenseNdArrayProto content
  2 sparse SparseNdArrayProto content
  3 cls_name string
  4 parameters Struct
SparseNdArrayProto
  1 indices DenseNdArrayProto
  2 values DenseNdArrayProto
  3 shape uint32*
NamedScoreProto
  1 value float
  2 op_name string
  3 description string
  4 ref_id string
DocumentArrayProto
  1 docs DocumentProto*
"""

_V2 = """
DocProto
  1 data map<NodeProto>
NodeProto
  1 text string content
  2 integer int32 content
  3 float double content
  4 boolean bool content
  5 blob bytes content
  6 ndarray NdArrayProto content
  7 doc DocProto content
  8 doc_array DocListProto content
  9 list ListOfAnyProto content
  10 set ListOfAnyProto content
  11 tuple ListOfAnyProto content
  12 dict DictOfAnyProto content
  13 type string docarray_type
NdArrayProto
  1 dense DenseNdArrayProto
  2 parameters Struct
DictOfAnyProto
  1 data map<NodeProto>
ListOfAnyProto
  1 data NodeProto*
DocListProto
  1 docs DocProto*
"""

_SCALARS = {
    "string": FieldDescriptorProto.TYPE_STRING,
    "bytes": FieldDescriptorProto.TYPE_BYTES,
    "uint32": FieldDescriptorProto.TYPE_UINT32,
    "int32": FieldDescriptorProto.TYPE_INT32,
    "float": FieldDescriptorProto.TYPE_FLOAT,
    "double": FieldDescriptorProto.TYPE_DOUBLE,
    "bool": FieldDescriptorProto.TYPE_BOOL,
}


def message_class(kind: DocumentKind, name: str) -> type[Any]:
    """The class of one message, ``message_class(DocumentKind.V1, "NdArrayProto")``."""
    return GetMessageClass(_POOLS[kind].FindMessageTypeByName(f"docarray.{name}"))


def document_class(kind: DocumentKind) -> type[Any]:
    """``DocumentProto`` or ``DocProto``."""
    return _CLASSES[kind]


def parse_document(kind: DocumentKind, raw: bytes) -> Any:
    """The parsed message; raises ValueError when ``raw`` is not one whole document."""
    try:
        return _PARSERS[kind](raw)
    except DecodeError as error:
        raise ValueError(f"it is not a protobuf message of kind {kind}") from error


def check_document(kind: DocumentKind, raw: bytes) -> None:
    """Raises ValueError when ``raw`` is not one whole document.

    Unknown fields pass, as they do in every client; nesting deeper than protobuf's own limit of 100 does not.
    """
    parse_document(kind, raw)


def _build_pool(schema: str) -> DescriptorPool:
    file = FileDescriptorProto(name="docarray.proto", package="docarray", syntax="proto3")
    file.dependency.append(struct_pb2.DESCRIPTOR.name)
    message = DescriptorProto()
    for line in filter(None, (_SHARED + schema).splitlines()):
        if line.startswith(" "):
            _add_field(message, *line.split())
        else:
            message = file.message_type.add(name=line)
    pool = DescriptorPool()
    pool.AddSerializedFile(struct_pb2.DESCRIPTOR.serialized_pb)
    pool.AddSerializedFile(file.SerializeToString())
    return pool


def _add_field(message: DescriptorProto, number: str, name: str, kind: str, oneof: str = "") -> None:
    if kind.startswith("map<"):
        kind = _add_map_entry(message, name, kind[4:-1]) + "*"
    field = message.field.add(name=name, number=int(number), label=FieldDescriptorProto.LABEL_OPTIONAL)
    if kind.endswith("*"):
        field.label = FieldDescriptorProto.LABEL_REPEATED
    _set_type(field, kind.rstrip("*"))
    if oneof:
        field.oneof_index = _oneof_index(message, oneof)


def _set_type(field: FieldDescriptorProto, kind: str) -> None:
    if kind in _SCALARS:
        field.type = _SCALARS[kind]
        return
    field.type = FieldDescriptorProto.TYPE_MESSAGE
    field.type_name = ".google.protobuf.Struct" if kind == "Struct" else f".docarray.{kind}"


def _oneof_index(message: DescriptorProto, oneof: str) -> int:
    names = [declared.name for declared in message.oneof_decl]
    if oneof in names:
        return names.index(oneof)
    message.oneof_decl.add(name=oneof)
    return len(names)


def _add_map_entry(message: DescriptorProto, name: str, value: str) -> str:
    """Protobuf's own form of a map: a repeated nested message with a key and a value."""
    entry = message.nested_type.add(name=f"{name.capitalize()}Entry")
    entry.options.map_entry = True
    _add_field(entry, "1", "key", "string")
    _add_field(entry, "2", "value", value)
    return f"{message.name}.{entry.name}"


def _class_of(kind: DocumentKind) -> type[Message]:
    return message_class(kind, "DocumentProto" if kind is DocumentKind.V1 else "DocProto")


_POOLS = {DocumentKind.V1: _build_pool(_V1), DocumentKind.V2: _build_pool(_V2)}
_CLASSES: dict[DocumentKind, type[Any]] = {kind: _class_of(kind) for kind in DocumentKind}
_PARSERS = {kind: cls.FromString for kind, cls in _CLASSES.items()}
