"""The streams of the benchmarks are what an old client pushes."""

from __future__ import annotations

from dataclasses import replace

from benchmarks.streams import KIB, ArrayShape, document, stream, stream_of_one
from palomar.documents.ingest import IngestLimits, LargeClosed, SealedChunk, StreamIngest
from palomar.documents.kinds import DocumentKind
from palomar.documents.schema import document_class

SHAPE = ArrayShape(1_000, 2 * KIB)


def taken_in(blocks) -> tuple[StreamIngest, list]:
    ingest = StreamIngest(IngestLimits())
    events = [event for block in blocks for event in ingest.feed(block)]
    return ingest, events + list(ingest.finish())


def digests_of(shape: ArrayShape) -> set[str]:
    return {event.facts.digest for event in taken_in(stream(shape))[1] if isinstance(event, SealedChunk)}


def test_all_documents_arrive():
    ingest, _ = taken_in(stream(SHAPE))
    assert ingest.documents == SHAPE.documents
    assert ingest.raw_bytes > SHAPE.documents * SHAPE.blob_bytes


def test_a_document_has_its_id_and_its_blob():
    message = document_class(DocumentKind.V1).FromString(document(SHAPE, 7))
    assert message.id == "0001-0000000007-a"
    assert len(message.blob) == SHAPE.blob_bytes


def test_a_push_at_another_time_has_other_bytes_and_equal_chunks():
    later = replace(SHAPE, pushed_at=SHAPE.pushed_at + 1)
    assert b"".join(stream(later)) != b"".join(stream(SHAPE))
    assert digests_of(later) == digests_of(SHAPE)


def test_a_changed_document_changes_its_chunk():
    assert digests_of(replace(SHAPE, changed={500})) != digests_of(SHAPE)


def test_one_document_of_any_size():
    blob_bytes = 9 * 1024 * KIB
    ingest, events = taken_in(stream_of_one(blob_bytes))
    (closed,) = (event for event in events if isinstance(event, LargeClosed))
    assert ingest.documents == closed.facts.documents == 1
    assert ingest.raw_bytes > blob_bytes
