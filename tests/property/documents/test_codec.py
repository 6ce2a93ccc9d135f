from __future__ import annotations

import gzip
import random
from contextlib import suppress
from hashlib import sha256
from statistics import median

from hypothesis import given
from hypothesis import strategies as st

from palomar.contract.errors import PalomarError
from palomar.documents.chunking import cut
from palomar.documents.chunks import encode_zstd, join, pad_last_frame, raw_of, split, to_members
from palomar.documents.facts import Encoding
from palomar.documents.gzipmember import inflate, pad_member, stored_member, stored_member_bytes
from palomar.documents.index import DocumentIndex
from palomar.documents.ingest import IngestLimits, StreamIngest
from palomar.documents.kinds import DocumentKind
from palomar.documents.manifest import Manifest, ManifestChunk
from palomar.documents.packing import pack
from palomar.documents.preview import describe
from palomar.documents.toplevel import TopLevelWalk
from tests.unit.documents.streams import chunks_of, document, ingest, stream

KINDS = st.sampled_from(DocumentKind)
RAW = st.binary(max_size=300)

# Several chunks, and one document that is streamed.
LONG_STREAM = stream(
    [
        *(document(number, padding=2500) for number in range(500)),
        document(1, padding=4_200_000),
        *(document(number, padding=150_000) for number in range(20)),
    ]
)
LONG_CHUNKS = chunks_of(ingest(LONG_STREAM))


@given(st.lists(st.integers(1, len(LONG_STREAM) - 1), max_size=20))
def test_pieces_do_not_matter(cuts: list[int]) -> None:
    ends = sorted({*cuts, len(LONG_STREAM)})
    reader = StreamIngest(IngestLimits())
    events = []
    for start, end in zip([0, *ends], ends, strict=False):
        events += reader.feed(LONG_STREAM[start:end])
    events += reader.finish()
    assert chunks_of(events) == LONG_CHUNKS


@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 5000)), max_size=30), KINDS)
def test_documents_survive_push_and_pull(shapes: list[tuple[int, int]], kind: DocumentKind) -> None:
    documents = [document(number, padding=padding, kind=kind) for number, padding in shapes]
    pushed, packed = chunks_of(ingest(stream(documents, kind=kind))), list(pack(documents, kind))
    assert [raw for chunk in pushed for raw in split(chunk.facts.encoding, chunk.stored)] == documents
    assert [raw for chunk in packed for raw in split(chunk.facts.encoding, chunk.stored)] == documents
    assert [chunk.facts.digest for chunk in pushed] == [chunk.facts.digest for chunk in packed]


@given(st.lists(RAW, min_size=1, max_size=20), st.integers(1, 400))
def test_rewrapped_and_padded_chunks_hold_the_same(documents: list[bytes], padding: int) -> None:
    stored = encode_zstd(join(documents))
    members = to_members(Encoding.ZSTD, stored)
    assert len(members) == sum(4 + stored_member_bytes(len(raw)) for raw in documents)
    assert raw_of(Encoding.GZIP_MEMBERS, members) == raw_of(Encoding.ZSTD, stored) == join(documents)
    padded = pad_last_frame(members, padding)
    assert len(padded) == len(members) + padding
    assert padded[: len(members) - 4 - stored_member_bytes(len(documents[-1]))] == frames_before_last(documents)


def frames_before_last(documents: list[bytes]) -> bytes:
    return join(map(stored_member, documents[:-1]))


@given(st.binary(max_size=200_000), st.integers(1, 1000))
def test_stored_and_padded_members_are_read_by_gzip(raw: bytes, padding: int) -> None:
    member = stored_member(raw)
    assert len(member) == stored_member_bytes(len(raw))
    assert gzip.decompress(member) == inflate(member, limit=len(raw)) == raw
    padded = pad_member(member, padding)
    assert len(padded) == len(member) + padding
    assert gzip.decompress(padded) == raw


CHUNKS = st.builds(
    lambda seed, documents, spare: ManifestChunk(sha256(seed).hexdigest(), 4 * documents + spare, documents),
    st.binary(max_size=4),
    st.integers(1, 1000),
    st.integers(0, 2**20),
)


@given(KINDS, st.lists(CHUNKS, max_size=50))
def test_manifest_round_trip(kind: DocumentKind, chunks: list[ManifestChunk]) -> None:
    manifest = Manifest.of(kind, chunks)
    assert Manifest.decode(manifest.encode()) == manifest
    assert Manifest.decode(manifest.encode()).digest == manifest.digest


@given(st.lists(CHUNKS, min_size=1, max_size=50), st.data())
def test_every_document_is_in_its_chunk(chunks: list[ManifestChunk], data: st.DataObject) -> None:
    manifest = Manifest.of(DocumentKind.V1, chunks)
    position = data.draw(st.integers(0, manifest.documents - 1))
    stop = data.draw(st.integers(position + 1, manifest.documents))
    chunk, offset = manifest.locate(position)
    assert manifest.start_of(chunk) + offset == position
    assert 0 <= offset < chunks[chunk].documents
    parts = manifest.slice(position, stop)
    assert [at for part in parts for at in positions(manifest, part)] == list(range(position, stop))


def positions(manifest: Manifest, part: tuple[int, int, int]) -> range:
    chunk, start, stop = part
    begin = manifest.start_of(chunk)
    return range(begin + start, begin + stop)


@given(st.lists(RAW, max_size=30))
def test_index_tells_length_and_digest(blobs: list[bytes]) -> None:
    documents = [document(number, padding=len(blob)) for number, blob in enumerate(blobs)]
    index = DocumentIndex(b"".join(chunk.facts.index for chunk in pack(documents, DocumentKind.V1)))
    assert [tuple(entry) for entry in index] == [(len(raw), sha256(raw).digest()[:16]) for raw in documents]


@given(st.binary(max_size=2000))
def test_garbage_is_refused_with_a_domain_error(data: bytes) -> None:
    reader = StreamIngest(IngestLimits())
    with suppress(PalomarError):
        assert [*reader.feed(data), *reader.finish()] == []
        assert stream([], kind=reader.kind) == data


@given(KINDS, st.binary(max_size=200))
def test_foreign_manifest_is_refused_or_read_back(kind: DocumentKind, tail: bytes) -> None:
    data = Manifest.of(kind, []).encode()[: max(0, 28 - len(tail))] + tail
    with suppress(PalomarError):
        assert Manifest.decode(data).encode() == data


@given(KINDS, st.integers(0, 10**6), st.integers(0, 500), st.integers(1, 50))
def test_whole_message_passes_the_walk(kind: DocumentKind, number: int, padding: int, piece: int) -> None:
    raw = document(number, padding=padding, kind=kind)
    walk = TopLevelWalk(kind)
    for start in range(0, len(raw), piece):
        walk.feed(raw[start : start + piece])
    walk.finish()
    assert describe(kind, raw)


# --- locality ----------------------------------------------------------------------------------------------------

ARRAY = [(2044 + number % 500, sha256(number.to_bytes(8)).digest()) for number in range(20_000)]


def chunk_names(documents: list[tuple[int, bytes]]) -> list[bytes]:
    names, start = [], 0
    for count in cut(documents):
        part = documents[start : start + count]
        names.append(b"".join(digest for _length, digest in part))
        start += count
    return names


NAMES = set(chunk_names(ARRAY))


def new_chunks(documents: list[tuple[int, bytes]]) -> int:
    return len(set(chunk_names(documents)) - NAMES)


@given(st.integers(0, len(ARRAY)), st.integers(0, 5000), st.binary(min_size=4, max_size=4))
def test_insertion_changes_few_chunks(position: int, length: int, seed: bytes) -> None:
    inserted = [*ARRAY[:position], (length, sha256(seed).digest()), *ARRAY[position:]]
    assert len(NAMES) > 30
    assert new_chunks(inserted) <= 5


def test_insertion_changes_one_or_two_chunks_as_a_rule() -> None:
    places = random.Random(7)  # noqa: S311  (the same places in every run are wanted)
    changes = []
    for number in range(60):
        position = places.randrange(len(ARRAY))
        document_facts = (2044, sha256(b"inserted" + number.to_bytes(4)).digest())
        changes.append(new_chunks([*ARRAY[:position], document_facts, *ARRAY[position:]]))
    assert median(changes) == 1
    assert sum(change <= 2 for change in changes) >= 57


def test_bytes_of_unchanged_documents_are_not_stored_again() -> None:
    """One run of changed documents in an array pushed again: three chunks at most are new."""
    documents = [document(number, padding=8000) for number in range(2500)]
    before = {chunk.facts.digest for chunk in chunks_of(ingest(stream(documents)))}
    documents[1000:1025] = [document(-number - 1, padding=8000) for number in range(25)]
    after = [chunk.facts.digest for chunk in chunks_of(ingest(stream(documents)))]
    assert len(after) >= 12
    assert len(set(after) - before) <= 3
