from __future__ import annotations

import gzip
import tracemalloc
import zlib
from hashlib import sha256

import pytest

from palomar.contract.errors import CountMismatch, MalformedStream, TooLarge
from palomar.documents.chunking import MAX_DOCUMENT_BYTES, cut
from palomar.documents.chunks import chunk_digest, raw_of, split
from palomar.documents.facts import Encoding
from palomar.documents.ingest import (
    IngestLimits,
    LargeBytes,
    LargeClosed,
    LargeOpened,
    SealedChunk,
    StreamIngest,
)
from palomar.documents.kinds import DocumentKind
from palomar.documents.render import stream_header
from palomar.documents.schema import document_class
from tests.unit.documents.streams import (
    chunks_of,
    document,
    frame,
    frames,
    incompressible_member,
    ingest,
    random_bytes,
    stream,
)

BOTH_KINDS = pytest.mark.parametrize("kind", list(DocumentKind))
DOCUMENTS = [document(number) for number in range(5)]


@BOTH_KINDS
def test_documents_come_back_as_they_were_sent(kind: DocumentKind) -> None:
    documents = [document(number, kind=kind, padding=3000) for number in range(300)]
    reader = StreamIngest(IngestLimits())
    chunks = chunks_of([*reader.feed(stream(documents, kind=kind)), *reader.finish()])
    assert [raw for chunk in chunks for raw in split(chunk.facts.encoding, chunk.stored)] == documents
    assert (reader.kind, reader.promised, reader.documents) == (kind, 300, 300)
    assert reader.raw_bytes == sum(chunk.facts.raw_bytes for chunk in chunks) == sum(map(len, documents)) + 4 * 300


def test_stored_chunks_are_the_stream_as_sent() -> None:
    data = stream([document(number, padding=3000) for number in range(600)])
    chunks = chunks_of(ingest(data))
    assert len(chunks) > 1
    assert b"".join(chunk.stored for chunk in chunks) == data[9:]


def test_facts_describe_the_chunk() -> None:
    (chunk,) = chunks_of(ingest(stream(DOCUMENTS)))
    raw = b"".join(len(one).to_bytes(4, "big") + one for one in DOCUMENTS)
    assert chunk.facts.digest == sha256(raw).hexdigest()
    assert (chunk.facts.raw_bytes, chunk.facts.documents) == (len(raw), 5)
    assert chunk.facts.stored_bytes == chunk.facts.members_bytes == len(chunk.stored)
    assert chunk.facts.encoding is Encoding.GZIP_MEMBERS
    assert chunk.facts.index == b"".join(len(one).to_bytes(4, "big") + sha256(one).digest()[:16] for one in DOCUMENTS)


def test_equal_documents_make_equal_digests_however_compressed() -> None:
    documents = [document(number, padding=2000) for number in range(700)]
    sent_otherwise = stream_header(DocumentKind.V1, 700) + frames(documents, level=9)
    digests = [chunk.facts.digest for chunk in chunks_of(ingest(stream(documents)))]
    assert [chunk.facts.digest for chunk in chunks_of(ingest(sent_otherwise))] == digests


@BOTH_KINDS
def test_empty_array_has_no_chunks(kind: DocumentKind) -> None:
    assert ingest(stream([], kind=kind)) == []


def test_empty_document_is_a_document() -> None:
    (chunk,) = chunks_of(ingest(stream([b"", b""])))
    assert list(split(chunk.facts.encoding, chunk.stored)) == [b"", b""]


def test_one_byte_at_a_time() -> None:
    data = stream(DOCUMENTS)
    assert ingest(data, piece=1) == ingest(data)


def test_memoryview_is_taken() -> None:
    reader = StreamIngest(IngestLimits())
    assert list(reader.feed(memoryview(bytearray(stream(DOCUMENTS))))) == []
    assert len(list(reader.finish())) == 1


def test_kind_before_the_header_is_an_error() -> None:
    with pytest.raises(LookupError, match="header"):
        _ = StreamIngest(IngestLimits()).kind


@pytest.mark.parametrize("padding", [MAX_DOCUMENT_BYTES + 1, 7_000_000])
def test_large_document_is_a_streamed_chunk_between_its_neighbours(padding: int) -> None:
    documents = [document(1), document(2, padding=padding), document(3)]
    data = stream(documents)
    events = ingest(data)
    kinds = [type(event) for event in events if not isinstance(event, LargeBytes)]
    assert kinds == [SealedChunk, LargeOpened, LargeClosed, SealedChunk]
    chunks = chunks_of(events)
    assert b"".join(chunk.stored for chunk in chunks) == data[9:]
    _check_large(chunks[1], documents[1])


def test_large_document_in_a_small_member_is_streamed_too() -> None:
    raw = _v1_blob(b"\0" * 10_000_000)
    (large,) = chunks_of(ingest(stream([raw])))
    assert large.facts.stored_bytes < 50_000
    _check_large(large, raw)


def _check_large(chunk: SealedChunk, raw: bytes) -> None:
    facts = chunk.facts
    assert facts.digest == chunk_digest(raw_of(facts.encoding, chunk.stored))
    assert facts.digest == sha256(raw + len(raw).to_bytes(4, "big")).hexdigest()
    assert facts.index == len(raw).to_bytes(4, "big") + sha256(raw).digest()[:16]
    assert (facts.documents, facts.raw_bytes) == (1, len(raw) + 4)
    assert facts.stored_bytes == facts.members_bytes == len(chunk.stored)


def _v1_blob(blob: bytes) -> bytes:
    return document_class(DocumentKind.V1)(blob=blob).SerializeToString()


def test_document_of_the_largest_shared_size_is_not_streamed() -> None:
    overhead = len(_v1_blob(b"\1" * MAX_DOCUMENT_BYTES)) - MAX_DOCUMENT_BYTES
    raw = _v1_blob(b"\1" * (MAX_DOCUMENT_BYTES - overhead))
    assert len(raw) == MAX_DOCUMENT_BYTES
    member = incompressible_member(raw)
    assert len(member) > MAX_DOCUMENT_BYTES
    (event,) = ingest(stream_header(DocumentKind.V1, 1) + frame(member))
    assert isinstance(event, SealedChunk)


def _inflated_member(raw: bytes, empty_blocks: int) -> bytes:
    """A member with empty deflate blocks that hold nothing."""
    member = zlib.compress(raw, 1, 31)
    return member[:10] + b"\0\0\0\xff\xff" * empty_blocks + member[10:]


def test_member_of_empty_blocks_is_written_anew() -> None:
    member = _inflated_member(DOCUMENTS[0], 1000)
    assert gzip.decompress(member) == DOCUMENTS[0]
    (chunk,) = chunks_of(ingest(stream_header(DocumentKind.V1, 1) + frame(member)))
    assert chunk.facts.stored_bytes == len(chunk.stored) < 100
    assert list(split(chunk.facts.encoding, chunk.stored)) == [DOCUMENTS[0]]


def test_large_member_around_a_small_document_is_refused() -> None:
    member = _inflated_member(DOCUMENTS[0], 1_000_000)
    with pytest.raises(MalformedStream, match="more than any compressor adds"):
        ingest(stream_header(DocumentKind.V1, 1) + frame(member))


def test_document_that_would_exceed_the_maximum_begins_another_chunk() -> None:
    documents = [document(1, padding=200_000), document(2, padding=4_100_000)]
    chunks = chunks_of(ingest(stream(documents)))
    assert [chunk.facts.documents for chunk in chunks] == [1, 1]


def test_chunks_are_cut_by_the_rule() -> None:
    documents = [document(number, padding=number * 7919 % 90_000) for number in range(200)]
    chunks = chunks_of(ingest(stream(documents)))
    assert [chunk.facts.documents for chunk in chunks] == list(
        cut((len(raw), sha256(raw).digest()) for raw in documents)
    )


# --- refusals ----------------------------------------------------------------------------------------------------


def refusal(data: bytes, limits: IngestLimits | None = None) -> MalformedStream:
    """The same error, whatever the pieces the stream arrives in."""
    with pytest.raises(MalformedStream) as whole:
        ingest(data, limits)
    with pytest.raises(MalformedStream) as bytewise:
        ingest(data, limits, piece=1)
    assert (whole.value.reason, whole.value.document) == (bytewise.value.reason, bytewise.value.document)
    return whole.value


def with_third(member: bytes) -> bytes:
    """A stream of which document 2 is ``member``."""
    return stream_header(DocumentKind.V1, 4) + frames(DOCUMENTS[:2]) + frame(member) + frames(DOCUMENTS[3:4])


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "it is empty; a DocumentArray begins with"),
        (b"\x01\0\0", "first nine bytes"),
        (b"\x03" + bytes(8), "it begins with byte 3; a DocumentArray begins with byte 1"),
        (b"\0" + bytes(100), "it begins with byte 0"),
        (b"PK\x03\x04 a zip file", "it begins with byte 80"),
        (stream_header(DocumentKind.V1, 2**63), "promises 9,223,372,036,854,775,808 documents"),
    ],
)
def test_header_is_checked(data: bytes, words: str) -> None:
    error = refusal(data)
    assert words in error.reason
    assert error.document is None


GOOD = gzip.compress(DOCUMENTS[2], mtime=0)


@pytest.mark.parametrize(
    ("member", "words"),
    [
        (b"", "its length field says 0 bytes"),
        (b"x" * 19, "its length field says 19 bytes"),
        (b"x" * 40, "not gzip-compressed"),
        (zlib.compress(DOCUMENTS[2] * 9), "not gzip-compressed"),
        (GOOD[:-8] + bytes(4) + GOOD[-4:], "checksum is wrong"),
        (GOOD[:-4] + b"\1\0\0\0", "size field is wrong"),
        (GOOD[:10] + b"\xff" * 20 + GOOD[-8:], "damaged"),
        (GOOD[:-3], "cut off"),
        (GOOD + GOOD, "more than one gzip member"),
        (GOOD + b"abc", "bytes follow its gzip member"),
        (GOOD[:3] + b"\x08" + GOOD[4:10] + b"name\0" + GOOD[10:], "optional fields"),
        (gzip.compress(b"\xff\xff\xff not protobuf", mtime=0), "not a protobuf message of kind v1"),
        (gzip.compress(b"\x0a\x05abc", mtime=0), "not a protobuf message of kind v1"),
        (gzip.compress(b"\x0a\x01\xff", mtime=0), "not a protobuf message of kind v1"),
    ],
)
def test_damaged_document_is_named(member: bytes, words: str) -> None:
    error = refusal(with_third(member))
    assert words in error.reason
    assert error.document == 2


def test_length_field_of_four_gibibytes_is_refused_at_once() -> None:
    reader = StreamIngest(IngestLimits())
    with pytest.raises(MalformedStream, match=r"at document 0: its length field says 4,294,967,295 bytes"):
        list(reader.feed(stream_header(DocumentKind.V1, 1) + b"\xff\xff\xff\xff"))


def test_garbage_behind_a_large_length_field_is_refused_at_once() -> None:
    reader = StreamIngest(IngestLimits())
    with pytest.raises(MalformedStream, match=r"at document 0: it is not gzip-compressed"):
        list(reader.feed(stream_header(DocumentKind.V1, 1) + b"\x40\0\0\0 some other bytes"))


def test_every_truncation_is_refused() -> None:
    data = stream(DOCUMENTS[:3])
    ends = [9 + len(frames(DOCUMENTS[:count])) for count in range(4)]
    for end in range(9, len(data)):
        with pytest.raises((MalformedStream, CountMismatch)) as caught:
            ingest(data[:end])
        if end in ends:
            assert caught.value.fields == {"promised": 3, "arrived": ends.index(end)}
        else:
            assert isinstance(caught.value, MalformedStream)
            assert caught.value.document == sum(end > other for other in ends[1:])


@pytest.mark.parametrize("promised", [0, 1, 4, 6, 10**6])
def test_wrong_count_is_told_in_both_directions(promised: int) -> None:
    with pytest.raises(CountMismatch) as caught:
        ingest(stream(DOCUMENTS, count=promised), piece=7)
    assert caught.value.fields == {"promised": promised, "arrived": 5}


@pytest.mark.parametrize(
    "trailing", [b"\0", b"\0\0\0\x20", b"garbage, and not little of it", b"\0\0\0\x40" + b"x" * 64]
)
@pytest.mark.parametrize("documents", [[], DOCUMENTS])
def test_trailing_bytes_are_refused(documents: list[bytes], trailing: bytes) -> None:
    error = refusal(stream(documents) + trailing)
    assert "trailing bytes" in error.reason


def test_surplus_document_that_is_cut_off_is_trailing_bytes() -> None:
    assert "trailing bytes" in refusal(stream(DOCUMENTS, count=4)[:-1]).reason


def test_damaged_large_documents_are_named() -> None:
    member = incompressible_member(document(1, padding=6_000_000))
    head = stream_header(DocumentKind.V1, 2) + frames(DOCUMENTS[:1])
    for bad, words in (
        (member[:-8] + bytes(8), "checksum is wrong"),
        (member[:-4] + bytes(4), "size field is wrong"),
        (member + b"abc", "bytes follow"),
        (member + GOOD, "more than one gzip member"),
        (member[:-1], "cut off"),
        (incompressible_member(b"\x0a\x80\x80\x80\x08" + bytes(5_000_000)), "ends inside one of its fields"),
        (incompressible_member(bytes(6_000_000)), "no field number 0"),
    ):
        with pytest.raises(MalformedStream, match=words) as caught:
            ingest(head + frame(bad))
        assert caught.value.document == 1


def test_stream_that_ends_within_a_large_document_is_truncated() -> None:
    data = stream([document(1, padding=6_000_000)])
    with pytest.raises(MalformedStream, match="ends in the middle") as caught:
        ingest(data[:-100])
    assert caught.value.document == 0


def test_gzip_bomb_is_refused_before_it_is_inflated() -> None:
    bomb = stream_header(DocumentKind.V1, 1) + frame(zlib.compress(_v1_blob(bytes(100_000_000)), 9, 31))
    reader = StreamIngest(IngestLimits())
    tracemalloc.start()
    with pytest.raises(MalformedStream, match="at document 0: it is a gzip bomb"):
        for _event in reader.feed(bomb):
            pass
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak_bytes < 16_000_000


def test_limits_are_kept() -> None:
    small = IngestLimits(max_document_raw_bytes=1000, max_member_bytes=5000, max_documents=2)
    with pytest.raises(TooLarge) as caught:
        ingest(stream([DOCUMENTS[0], document(1, padding=2000)]), small)
    assert caught.value.fields == {"what": "Document 1", "limit_bytes": 1000}
    assert "at most 5,000" in refusal(stream([document(1, padding=6000)]), small).reason
    assert "at most 2 may be" in refusal(stream(DOCUMENTS), small).reason


def test_large_document_above_the_limit_is_too_large() -> None:
    with pytest.raises(TooLarge):
        ingest(stream([document(1, padding=6_000_000)]), IngestLimits(max_document_raw_bytes=5_000_000))


def test_memory_stays_bounded_while_a_large_document_passes() -> None:
    noise = random_bytes(1, 1_000_000)
    deflater = zlib.compressobj(1, zlib.DEFLATED, 31)
    head = b"\x12" + _varint(200_000_000)
    member = [deflater.compress(head)]
    member += [deflater.compress(bytes(1_000_000) if number % 40 else noise) for number in range(200)]
    member.append(deflater.flush())
    size = sum(map(len, member))
    reader = StreamIngest(IngestLimits())
    tracemalloc.start()
    events = [type(event) for event in reader.feed(stream_header(DocumentKind.V1, 1) + size.to_bytes(4, "big"))]
    for piece in member:
        events += [type(event) for event in reader.feed(piece)]
    events += [type(event) for event in reader.finish()]
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert reader.raw_bytes == 200_000_000 + len(head) + 4
    assert (events[0], events[-1]) == (LargeOpened, LargeClosed)
    assert peak_bytes < 8_000_000


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value >= 0x80:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes((*encoded, value))


def test_memory_stays_bounded_for_many_small_documents() -> None:
    data = memoryview(stream([document(number, padding=1500) for number in range(15_000)]))
    reader = StreamIngest(IngestLimits())
    tracemalloc.start()
    for start in range(0, len(data), 1 << 18):
        for _event in reader.feed(data[start : start + (1 << 18)]):
            pass
    for _event in reader.finish():
        pass
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert reader.documents == 15_000
    assert len(data) > 20_000_000
    assert peak_bytes < 14_000_000
