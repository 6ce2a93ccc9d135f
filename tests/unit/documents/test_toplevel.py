from __future__ import annotations

import pytest

from palomar.documents.kinds import DocumentKind
from palomar.documents.toplevel import TopLevelWalk
from tests.unit.documents.test_schema import V1_WIRE


def walk(raw: bytes, *, kind: DocumentKind = DocumentKind.V1, piece: int = 1) -> None:
    walker = TopLevelWalk(kind)
    for start in range(0, len(raw), piece):
        walker.feed(raw[start : start + piece])
    walker.finish()


@pytest.mark.parametrize("piece", [1, 2, 3, 7, 1000])
def test_every_field_passes_in_any_pieces(piece: int) -> None:
    walk(b"".join(V1_WIRE.values()), piece=piece)


def test_unknown_field_passes() -> None:
    walk(b"\xaa\x06\x01x\xa8\x06\x80\x01\xad\x06abcd\xa9\x06abcdefgh")


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"\x0a\x05abc", "ends inside"),
        (b"\x0a", "ends inside"),
        (b"\x28\x80", "ends inside"),
        (b"\x45\0\0", "ends inside"),
        (b"\x00\x00", "no field number 0"),
        (b"\x08\x01", "field 1 has wire type 0"),
        (b"\x2a\x01x", "field 5 has wire type 2"),
        (b"\xab\x06", "field 101 has wire type 3"),
        (b"\x0a\xff\xff\xff\xff\x0f", "says it has 4294967295 bytes"),
        (b"\x28" + b"\xff" * 11, "has no end"),
    ],
)
@pytest.mark.parametrize("piece", [1, 100])
def test_what_is_no_message_is_refused(raw: bytes, words: str, piece: int) -> None:
    with pytest.raises(ValueError, match=words):
        walk(raw, piece=piece)


def test_v2_has_one_field() -> None:
    walk(b"\x0a\x01x", kind=DocumentKind.V2)
    with pytest.raises(ValueError, match="field 1 has wire type 0"):
        walk(b"\x08\x01", kind=DocumentKind.V2)
