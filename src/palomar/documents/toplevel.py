"""A check of a protobuf message that is too large to be parsed in memory: its top level only, as it passes by."""

from __future__ import annotations

from typing import Final

from palomar.documents.kinds import DocumentKind

_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5
_FIXED_BYTES: Final = {_FIXED64: 8, _FIXED32: 4}
_MAX_VARINT_BYTES: Final = 10
_MAX_FIELD_BYTES: Final = 2**31 - 1

# The wire types that each known top-level field may have; 13 (location) may be packed or not.
_WIRE_TYPES: Final[dict[DocumentKind, dict[int, frozenset[int]]]] = {
    DocumentKind.V1: {
        **dict.fromkeys((1, 2, 3, 4, 7, 9, 10, 11, 14, 15, 16, 17, 18, 19, 20), frozenset({_LENGTH})),
        **dict.fromkeys((5, 6), frozenset({_VARINT})),
        **dict.fromkeys((8, 12), frozenset({_FIXED32})),
        13: frozenset({_LENGTH, _FIXED32}),
    },
    DocumentKind.V2: {1: frozenset({_LENGTH})},
}


class TopLevelWalk:
    """Checks tags, wire types and lengths of the fields of one message without holding the message.

    Feed the message in pieces of any size, then call ``finish``. Both raise ValueError. What lies inside a field is
    not looked at; unknown fields pass, groups (which no client writes) do not.
    """

    def __init__(self, kind: DocumentKind) -> None:
        self._wire_types = _WIRE_TYPES[kind]
        self._skip = 0
        self._tail = b""

    def feed(self, data: bytes) -> None:
        if self._tail:
            data = self._tail + data
        position = self._skip
        end = len(data)
        while position < end:
            following = self._field(data, position)
            if following is None:
                break
            position = following
        self._skip = max(0, position - end)
        self._tail = data[position:]

    def finish(self) -> None:
        if self._skip or self._tail:
            raise ValueError("it ends inside one of its fields")

    def _field(self, data: bytes, position: int) -> int | None:
        """Where the field after this one begins, possibly beyond ``data``; None when its head is not here yet."""
        head = _varint(data, position)
        if head is None:
            return None
        tag, position = head
        wire_type = self._checked_wire_type(tag)
        if wire_type in _FIXED_BYTES:
            return position + _FIXED_BYTES[wire_type]
        value = _varint(data, position)
        if value is None:
            return None
        return value[1] if wire_type == _VARINT else value[1] + _checked_length(value[0])

    def _checked_wire_type(self, tag: int) -> int:
        number, wire_type = tag >> 3, tag & 7
        if not 1 <= number < 2**29:
            raise ValueError(f"protobuf has no field number {number}")
        if wire_type not in self._wire_types.get(number, (_VARINT, _FIXED64, _LENGTH, _FIXED32)):
            raise ValueError(f"its field {number} has wire type {wire_type}")
        return wire_type


def _checked_length(length: int) -> int:
    if length > _MAX_FIELD_BYTES:
        raise ValueError(f"one of its fields says it has {length} bytes")
    return length


def _varint(data: bytes, position: int) -> tuple[int, int] | None:
    """The value and the position after it; None when it goes on beyond ``data``."""
    value = 0
    for count, byte in enumerate(data[position : position + _MAX_VARINT_BYTES]):
        value |= (byte & 0x7F) << (7 * count)
        if byte < 0x80:
            return value, position + count + 1
    if len(data) - position >= _MAX_VARINT_BYTES:
        raise ValueError("one of its numbers has no end")
    return None
