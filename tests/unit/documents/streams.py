"""Hand-built streams and documents, as old clients write them."""

from __future__ import annotations

import gzip
import random
import zlib

from palomar.documents.ingest import Event, IngestLimits, LargeBytes, LargeClosed, SealedChunk, StreamIngest
from palomar.documents.kinds import DocumentKind
from palomar.documents.render import stream_header
from palomar.documents.schema import document_class

#: The time in the gzip headers; one for every run, since members are parameters of tests.
PUSHED_AT = 1_663_228_494


def random_bytes(seed: int, length: int) -> bytes:
    return random.Random(seed).randbytes(length)  # noqa: S311  (the same bytes in every run are wanted)


def document(number: int, *, padding: int = 0, kind: DocumentKind = DocumentKind.V1) -> bytes:
    """A small document of its own; ``padding`` random bytes of content, equal for equal numbers."""
    message = document_class(kind)()
    blob = random_bytes(number, padding)
    if kind is DocumentKind.V1:
        message.id = f"document-{number}"
        message.blob = blob
    else:
        message.data["id"].text = f"document-{number}"
        message.data["blob"].blob = blob
    return message.SerializeToString(deterministic=True)


def frame(member: bytes) -> bytes:
    return len(member).to_bytes(4, "big") + member


def frames(documents: list[bytes], *, level: int = 1) -> bytes:
    return b"".join(frame(gzip.compress(raw, level, mtime=PUSHED_AT)) for raw in documents)


def stream(documents: list[bytes], *, kind: DocumentKind = DocumentKind.V1, count: int | None = None) -> bytes:
    """What a client pushes; ``count`` is a lie for the header to tell."""
    return stream_header(kind, len(documents) if count is None else count) + frames(documents)


def incompressible_member(raw: bytes) -> bytes:
    """A member of about the length of ``raw``."""
    return zlib.compress(raw, 0, 31)


def ingest(data: bytes, limits: IngestLimits | None = None, *, piece: int = 1 << 16) -> list[Event]:
    """All events of a stream that arrives in pieces of one size."""
    reader = StreamIngest(limits or IngestLimits())
    events: list[Event] = []
    for start in range(0, len(data), piece):
        events.extend(reader.feed(data[start : start + piece]))
    events.extend(reader.finish())
    return events


def chunks_of(events: list[Event]) -> list[SealedChunk]:
    """Whole chunks, the large ones put together."""
    chunks: list[SealedChunk] = []
    large: list[bytes] = []
    for event in events:
        if isinstance(event, SealedChunk):
            chunks.append(event)
        elif isinstance(event, LargeBytes):
            large.append(event.data)
        elif isinstance(event, LargeClosed):
            chunks.append(SealedChunk(event.facts, b"".join(large)))
            large.clear()
    return chunks
