from __future__ import annotations

import gzip
from hashlib import sha256
from itertools import count

import pytest

from palomar.contract.errors import MalformedStream, TooLarge
from palomar.documents.chunking import MAX_CHUNK_BYTES, MAX_ZSTD_DOCUMENT_BYTES
from palomar.documents.chunks import encode_zstd, join, split, to_members
from palomar.documents.facts import ChunkFacts, Encoding, SealedChunk
from palomar.documents.kinds import DocumentKind
from palomar.documents.limits import IngestLimits
from palomar.documents.packing import pack
from palomar.documents.uploaded import facts_from_members, facts_from_zstd
from tests.unit.documents.streams import chunks_of, document, frame, frames, ingest, stream

LIMITS = IngestLimits()
V1 = DocumentKind.V1
SMALL = [document(number, padding=2000) for number in range(1500)]
MIXED = [
    *SMALL[:300],
    document(1, padding=MAX_ZSTD_DOCUMENT_BYTES + 1),
    *SMALL[300:400],
    document(2, padding=MAX_CHUNK_BYTES + 1),
    *SMALL[400:450],
]


def facts_of(chunk: SealedChunk, kind: DocumentKind = V1) -> ChunkFacts:
    check = facts_from_zstd if chunk.facts.encoding is Encoding.ZSTD else facts_from_members
    return check(chunk.stored, kind, LIMITS)


@pytest.mark.parametrize("documents", [[], SMALL[:1], SMALL, MIXED])
def test_packed_chunks_are_accepted_and_equal_those_of_an_old_client(documents: list[bytes]) -> None:
    chunks = list(pack(documents, V1))
    assert [facts_of(chunk) for chunk in chunks] == [chunk.facts for chunk in chunks]
    assert [raw for chunk in chunks for raw in split(chunk.facts.encoding, chunk.stored)] == documents
    pushed = chunks_of(ingest(stream(documents)))
    names = [(chunk.facts.digest, chunk.facts.raw_bytes, chunk.facts.documents, chunk.facts.index) for chunk in pushed]
    assert [(one.facts.digest, one.facts.raw_bytes, one.facts.documents, one.facts.index) for one in chunks] == names


def test_chunks_of_an_old_client_are_accepted() -> None:
    chunks = chunks_of(ingest(stream(MIXED)))
    assert [facts_of(chunk) for chunk in chunks] == [chunk.facts for chunk in chunks]


def test_encoding_follows_the_largest_document() -> None:
    encodings = {chunk.facts.encoding for chunk in pack(SMALL, V1)}
    assert encodings == {Encoding.ZSTD}
    for chunk in pack(MIXED, V1):
        largest = max(map(len, split(chunk.facts.encoding, chunk.stored)))
        assert (chunk.facts.encoding is Encoding.ZSTD) == (largest <= MAX_ZSTD_DOCUMENT_BYTES)


def test_members_size_is_exact() -> None:
    for chunk in pack(MIXED, V1):
        assert len(to_members(chunk.facts.encoding, chunk.stored)) == chunk.facts.members_bytes


def test_large_document_of_zeros_is_packed_so_that_no_hub_takes_it_for_a_bomb() -> None:
    zeros = b"\x12\x80\x80\x80\x28" + bytes(80 * 1024 * 1024)
    (chunk,) = pack([zeros], V1)
    assert facts_of(chunk) == chunk.facts


# --- refusals ----------------------------------------------------------------------------------------------------


def refused(stored: bytes, encoding: Encoding = Encoding.ZSTD) -> MalformedStream:
    check = facts_from_zstd if encoding is Encoding.ZSTD else facts_from_members
    with pytest.raises(MalformedStream) as caught:
        check(stored, V1, LIMITS)
    return caught.value


def cutting_document() -> bytes:
    """A document of 2 KiB after which rule 1 cuts, whatever is before it."""
    threshold = 2048 * (2**64 // (768 * 1024))
    for number in count():
        raw = document(number, padding=2100)
        if int.from_bytes(sha256(raw).digest()[:8]) < threshold:
            return raw
    raise AssertionError


def test_boundary_inside_a_chunk_is_refused() -> None:
    filling = document(0, padding=300_000)
    good = [filling, cutting_document()]
    facts_from_zstd(encode_zstd(join(good)), V1, LIMITS)
    error = refused(encode_zstd(join([*good, SMALL[0]])))
    assert (error.reason, error.document) == ("rule 1 puts a chunk boundary before it", 2)
    assert refused(frames([*good, SMALL[0]]), Encoding.GZIP_MEMBERS).document == 2


def test_chunk_above_the_maximum_is_refused() -> None:
    stored = frames([document(1, padding=200_000), document(2, padding=4_100_000)])
    assert "rule 1 puts a chunk boundary" in refused(stored, Encoding.GZIP_MEMBERS).reason


def test_zstd_chunk_with_a_middling_document_is_refused() -> None:
    error = refused(encode_zstd(join([SMALL[0], MIXED[300]])))
    assert "must be in a gzip-members chunk" in error.reason
    assert error.document == 1


def test_large_document_with_company_is_refused() -> None:
    large = document(2, padding=MAX_CHUNK_BYTES + 1)
    for documents in ([large, SMALL[0]], [SMALL[0], large]):
        assert "chunk of its own" in refused(frames(documents), Encoding.GZIP_MEMBERS).reason


@pytest.mark.parametrize("encoding", list(Encoding))
def test_what_is_no_document_is_refused(encoding: Encoding) -> None:
    documents = [SMALL[0], b"\xff\xff"]
    stored = encode_zstd(join(documents)) if encoding is Encoding.ZSTD else frames(documents)
    error = refused(stored, encoding)
    assert (error.reason, error.document) == ("it is not a protobuf message of kind v1", 1)


def test_damaged_members_are_refused() -> None:
    assert "chunk is empty" in refused(b"", Encoding.GZIP_MEMBERS).reason
    assert "length field says 3 bytes" in refused(frame(b"abc"), Encoding.GZIP_MEMBERS).reason
    assert "not gzip-compressed" in refused(frame(bytes(30)), Encoding.GZIP_MEMBERS).reason
    padded = gzip.compress(SMALL[0])
    padded = padded[:10] + b"\0\0\0\xff\xff" * 2000 + padded[10:]
    assert "more than any compressor adds" in refused(frame(padded), Encoding.GZIP_MEMBERS).reason


def test_lengths_that_do_not_add_up_are_refused() -> None:
    assert "ends within a length" in refused(encode_zstd(join(SMALL[:2]) + b"\0")).reason
    assert "longer than the chunk" in refused(encode_zstd(join(SMALL[:2])[:-1])).reason


def test_limits_are_kept() -> None:
    with pytest.raises(TooLarge):
        facts_from_zstd(encode_zstd(join(SMALL[:1])), V1, IngestLimits(max_document_raw_bytes=100))
    with pytest.raises(TooLarge):
        facts_from_members(frames(SMALL[:1]), V1, IngestLimits(max_document_raw_bytes=100))
