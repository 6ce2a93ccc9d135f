from __future__ import annotations

from hashlib import sha256

import pytest

from palomar.contract.errors import MalformedStream
from palomar.documents.chunking import MAX_CHUNK_BYTES, MAX_CHUNK_DOCUMENTS
from palomar.documents.kinds import DocumentKind
from palomar.documents.manifest import ChunkSlice, Manifest, ManifestChunk


def chunk(number: int, documents: int, raw_bytes: int = 10_000) -> ManifestChunk:
    return ManifestChunk(sha256(bytes([number])).hexdigest(), raw_bytes, documents)


MANIFEST = Manifest.of(DocumentKind.V1, [chunk(1, 10), chunk(2, 1), chunk(3, 5)])


def test_sums() -> None:
    assert (MANIFEST.documents, MANIFEST.raw_bytes, MANIFEST.rule) == (16, 30_000, 1)


def test_bytes_are_frozen() -> None:
    """Versions are identified by them."""
    one = Manifest.of(DocumentKind.V2, [ManifestChunk("ab" * 32, 258, 3)])
    head = b"PLMR\x01\x02\x00\x01" + (3).to_bytes(8) + (258).to_bytes(8) + (1).to_bytes(4)
    assert one.encode() == head + b"\xab" * 32 + (258).to_bytes(8) + (3).to_bytes(4)
    assert one.digest == sha256(one.encode()).hexdigest()


def test_empty_manifest() -> None:
    empty = Manifest.of(DocumentKind.V1, [])
    assert Manifest.decode(empty.encode()) == empty
    assert empty.slice(0, 10) == ()
    assert empty.digest != Manifest.of(DocumentKind.V2, []).digest


def test_locate() -> None:
    assert [MANIFEST.locate(position) for position in (0, 9, 10, 11, 15)] == [(0, 0), (0, 9), (1, 0), (2, 0), (2, 4)]


@pytest.mark.parametrize("position", [-1, 16])
def test_locate_refuses_what_is_not_there(position: int) -> None:
    with pytest.raises(IndexError, match=f"no document {position} among 16"):
        MANIFEST.locate(position)


@pytest.mark.parametrize(
    ("start", "stop", "parts"),
    [
        (0, 16, [(0, 0, 10), (1, 0, 1), (2, 0, 5)]),
        (3, 5, [(0, 3, 5)]),
        (9, 12, [(0, 9, 10), (1, 0, 1), (2, 0, 1)]),
        (10, 11, [(1, 0, 1)]),
        (-5, 1, [(0, 0, 1)]),
        (15, 99, [(2, 4, 5)]),
        (5, 5, []),
        (20, 30, []),
    ],
)
def test_slice(start: int, stop: int, parts: list[tuple[int, int, int]]) -> None:
    assert MANIFEST.slice(start, stop) == tuple(ChunkSlice(*part) for part in parts)


ENCODED = MANIFEST.encode()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "shorter than its head"),
        (ENCODED[:27], "shorter than its head"),
        (ENCODED[:-1], "length and its number of chunks"),
        (ENCODED + b"\0", "length and its number of chunks"),
        (b"XLMR" + ENCODED[4:], "not a manifest of format 1"),
        (ENCODED[:4] + b"\x02" + ENCODED[5:], "not a manifest of format 1"),
        (ENCODED[:5] + b"\x07" + ENCODED[6:], "unknown kind 7"),
        (ENCODED[:7] + b"\x02" + ENCODED[8:], "cutting rule 1"),
        (ENCODED[:15] + b"\x11" + ENCODED[16:], "not the sums"),
        (ENCODED[:23] + b"\x11" + ENCODED[24:], "not the sums"),
    ],
)
def test_foreign_bytes_are_refused(data: bytes, words: str) -> None:
    with pytest.raises(MalformedStream, match=words):
        Manifest.decode(data)


@pytest.mark.parametrize(
    "impossible",
    [
        chunk(1, 0),
        chunk(1, MAX_CHUNK_DOCUMENTS + 1, MAX_CHUNK_BYTES),
        chunk(1, 2501),
        chunk(1, 2, MAX_CHUNK_BYTES + 1),
        chunk(1, 1, 2**31 + 4),
    ],
)
def test_chunk_that_the_rule_does_not_allow_is_refused(impossible: ManifestChunk) -> None:
    with pytest.raises(MalformedStream, match="does not allow"):
        Manifest.decode(Manifest.of(DocumentKind.V1, [impossible]).encode())


@pytest.mark.parametrize("possible", [chunk(1, 1, 4), chunk(1, 1, 2**31 + 3), chunk(1, 2, MAX_CHUNK_BYTES)])
def test_chunk_at_the_limits_is_allowed(possible: ManifestChunk) -> None:
    manifest = Manifest.of(DocumentKind.V1, [possible])
    assert Manifest.decode(manifest.encode()) == manifest
