from __future__ import annotations

import gzip

import pytest
import zstandard

from palomar.contract.errors import MalformedStream
from palomar.documents.chunking import MAX_CHUNK_BYTES
from palomar.documents.chunks import (
    chunk_digest,
    document_at,
    encode_zstd,
    join,
    pad_frame_head,
    pad_last_frame,
    raw_of,
    split,
    to_members,
)
from palomar.documents.facts import Encoding
from palomar.documents.kinds import DocumentKind
from palomar.documents.large import inflate_stored
from palomar.documents.render import stream_bytes, stream_header
from tests.unit.documents.streams import chunks_of, document, frames, ingest, stream

DOCUMENTS = [document(number, padding=100 * number) for number in range(10)]
RAW = join(DOCUMENTS)
STORED = {Encoding.ZSTD: encode_zstd(RAW), Encoding.GZIP_MEMBERS: frames(DOCUMENTS)}
BOTH_ENCODINGS = pytest.mark.parametrize("encoding", list(Encoding))


@BOTH_ENCODINGS
def test_documents_of_a_chunk(encoding: Encoding) -> None:
    assert list(split(encoding, STORED[encoding])) == DOCUMENTS
    assert raw_of(encoding, STORED[encoding]) == RAW
    assert [document_at(encoding, STORED[encoding], position) for position in range(10)] == DOCUMENTS


@BOTH_ENCODINGS
@pytest.mark.parametrize("position", [-1, 10])
def test_document_that_is_not_there(encoding: Encoding, position: int) -> None:
    with pytest.raises(IndexError, match=f"no document {position}"):
        document_at(encoding, STORED[encoding], position)


@BOTH_ENCODINGS
def test_old_client_reads_either_encoding(encoding: Encoding) -> None:
    members = to_members(encoding, STORED[encoding])
    (chunk,) = chunks_of(ingest(stream_header(DocumentKind.V1, 10) + members))
    assert chunk.facts.digest == chunk_digest(RAW)
    assert list(split(Encoding.GZIP_MEMBERS, members)) == DOCUMENTS


@pytest.mark.parametrize("padding", [1, 2, 255, 70_000])
def test_padded_chunk_is_longer_and_holds_the_same(padding: int) -> None:
    members = STORED[Encoding.GZIP_MEMBERS]
    padded = pad_last_frame(members, padding)
    assert len(padded) == len(members) + padding
    assert _gunzipped(padded) == DOCUMENTS


def _gunzipped(members: bytes) -> list[bytes]:
    """As an old client reads: Python's own gzip, frame by frame."""
    documents = []
    while members:
        length = int.from_bytes(members[:4], "big")
        documents.append(gzip.decompress(members[4 : 4 + length]))
        members = members[4 + length :]
    return documents


def test_frame_is_padded_by_its_first_fourteen_bytes() -> None:
    one = frames(DOCUMENTS[:1])
    padded = pad_frame_head(one[:14], 5) + one[14:]
    assert len(padded) == len(one) + 5
    assert _gunzipped(padded) == DOCUMENTS[:1]


def test_empty_chunk_cannot_be_padded() -> None:
    with pytest.raises(MalformedStream, match="empty"):
        pad_last_frame(b"", 1)


def test_size_of_a_stream_is_known_beforehand() -> None:
    sizes = [len(STORED[Encoding.GZIP_MEMBERS]), len(to_members(Encoding.ZSTD, STORED[Encoding.ZSTD]))]
    assert stream_bytes(sizes[:1]) == len(stream(DOCUMENTS))
    assert stream_bytes(sizes) == 9 + sum(sizes)
    assert stream_bytes([]) == 9


def test_large_document_is_read_in_pieces() -> None:
    raw = document(1, padding=5_000_000)
    stored = frames([raw])
    for piece in (997, 100_000):
        pieces = [stored[start : start + piece] for start in range(0, len(stored), piece)]
        inflated = list(inflate_stored(pieces))
        assert b"".join(inflated) == raw
        assert max(map(len, inflated)) <= 256 * 1024


def test_large_document_that_is_cut_off_is_told() -> None:
    with pytest.raises(ValueError, match="cut off"):
        list(inflate_stored([frames([document(1, padding=5_000_000)])[:-1]]))


def test_frame_says_its_size_and_has_a_checksum() -> None:
    parameters = zstandard.get_frame_parameters(STORED[Encoding.ZSTD])
    assert (parameters.content_size, parameters.has_checksum) == (len(RAW), True)


@pytest.mark.parametrize("stored", [b"\0", b"\0\0\0\x09abc", frames(DOCUMENTS)[:-1], frames(DOCUMENTS) + b"\0"])
def test_damaged_members_are_refused(stored: bytes) -> None:
    with pytest.raises(MalformedStream, match="chunk"):
        list(split(Encoding.GZIP_MEMBERS, stored))


def test_damaged_member_is_refused() -> None:
    with pytest.raises(MalformedStream, match="damaged: of one document, it is not gzip-compressed"):
        list(split(Encoding.GZIP_MEMBERS, b"\0\0\0\x14" + b"x" * 20))


FRAME = STORED[Encoding.ZSTD]


@pytest.mark.parametrize(
    ("stored", "words"),
    [
        (b"", "not one zstd frame"),
        (b"\x50\x2a\x4d\x18\x04\0\0\0abcd", "not one zstd frame"),
        (FRAME[:5], "damaged"),
        (FRAME[:-1], "damaged, cut off"),
        (FRAME[:-1] + bytes([FRAME[-1] ^ 1]), "damaged, cut off"),
        (FRAME + b"x", "followed by other bytes"),
        (FRAME + FRAME, "followed by other bytes"),
        (zstandard.ZstdCompressor(write_content_size=False).compress(RAW), "content size"),
        (encode_zstd(bytes(MAX_CHUNK_BYTES + 5)), "content size"),
        (encode_zstd(b""), "content size"),
    ],
)
def test_damaged_frame_is_refused(stored: bytes, words: str) -> None:
    with pytest.raises(MalformedStream, match=words):
        list(split(Encoding.ZSTD, stored))
