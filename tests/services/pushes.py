"""Pushing, pulling and looking at what is left, for tests of the artifacts' use cases."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select

from palomar.contract.actions import ALL_SCOPES, Visibility
from palomar.documents.kinds import DocumentKind
from palomar.documents.manifest import ManifestChunk
from palomar.documents.packing import pack
from palomar.server.access.policy import Credential, Subject
from palomar.server.artifacts.counts import ArtifactCount
from palomar.server.artifacts.find import find_readable
from palomar.server.artifacts.models import DOCUMENT_ARRAY, Artifact, Version, VersionChunk
from palomar.server.artifacts.push import Push, stage_array
from palomar.server.artifacts.resource import Found
from palomar.server.artifacts.values import PushRequest, Receipt
from palomar.server.artifacts.versions import current_version, numbered_version
from palomar.server.blobs.models import BlobRow
from palomar.server.blobs.verified import stream_verified
from palomar.server.events.models import Event
from palomar.server.namespaces.models import NamespaceRow
from palomar.server.wiring import Hub
from tests.factories.accounts import make_person
from tests.factories.blobs import stored_keys
from tests.unit.documents.streams import document, stream

PIECE_BYTES = 100_000


def subject_of(account_id: str, name: str) -> Subject:
    return Subject(account_id, name, Credential.TOKEN, ALL_SCOPES, "0" * 32)


async def join_hub(
    hub: Hub,
    name: str = "alice",
    *,
    default: Visibility = Visibility.PUBLIC,
    ceiling: Visibility = Visibility.PUBLIC,
    quota_bytes: int | None = None,
) -> Subject:
    """A new account, as the subject that its token makes."""
    async with hub.database.write() as session:
        person = await make_person(session, name, default=default, ceiling=ceiling, quota_bytes=quota_bytes)
    return subject_of(person.account.id, name)


def documents(count: int, *, first: int = 0, padding: int = 0) -> list[bytes]:
    return [document(number, padding=padding) for number in range(first, first + count)]


async def send(push: Push, data: bytes, *, piece_bytes: int = PIECE_BYTES) -> None:
    for start in range(0, len(data), piece_bytes):
        await push.write(data[start : start + piece_bytes])


async def push_stream(hub: Hub, subject: Subject, name: str | None, data: bytes, **request: Any) -> Receipt:
    """As an old client pushes."""
    async with hub.pusher.begin(subject) as push:
        push.open_array()
        await send(push, data)
        content = await push.finish_file()
        return await push.commit(PushRequest(name=name, type=DOCUMENT_ARRAY, **request), content)


async def push_array(hub: Hub, subject: Subject, name: str | None, docs: Sequence[bytes], **request: Any) -> Receipt:
    return await push_stream(hub, subject, name, stream(list(docs)), **request)


async def push_packed(hub: Hub, subject: Subject, name: str, docs: Sequence[bytes], **request: Any) -> Receipt:
    """As the new client pushes: in zstd chunks."""
    chunks = list(pack(docs, DocumentKind.V1))
    async with hub.pusher.begin(subject) as push:
        await push.staging.add_chunks(chunks)
        index = await push.staging.add_opaque(b"".join(chunk.facts.index for chunk in chunks))
        listed = [ManifestChunk(chunk.facts.digest, chunk.facts.raw_bytes, chunk.facts.documents) for chunk in chunks]
        content = await stage_array(push.staging, DocumentKind.V1, listed, index)
        return await push.commit(PushRequest(name=name, type=DOCUMENT_ARRAY, **request), content)


async def push_file(hub: Hub, subject: Subject, name: str | None, data: bytes, **request: Any) -> Receipt:
    async with hub.pusher.begin(subject) as push:
        push.open_file()
        await send(push, data)
        content = await push.finish_file()
        return await push.commit(PushRequest(name=name, **request), content)


async def find(hub: Hub, subject: Subject, name: str) -> Found:
    bare_means_own = hub.artifact_rules.bare_means_own
    async with hub.database.read() as session:
        return await find_readable(session, subject, name=name, bare_means_own=bare_means_own)


async def version_of(hub: Hub, subject: Subject, name: str, number: int | None = None) -> Version:
    found = await find(hub, subject, name)
    async with hub.database.read() as session:
        if number is not None:
            return await numbered_version(session, found.artifact, number, asked_name=name)
        version = await current_version(session, found.artifact)
    assert version is not None
    return version


async def read_stream(hub: Hub, version: Version, start: int = 0, stop: int | None = None) -> bytes:
    pieces = hub.arrays.old_stream(version, start, version.stream_bytes if stop is None else stop)
    async with aclosing(pieces):
        return b"".join([piece async for piece in pieces])


async def pull_stream(hub: Hub, subject: Subject, name: str, number: int | None = None) -> bytes:
    """What an old client downloads, whole."""
    version = await version_of(hub, subject, name, number)
    data = await read_stream(hub, version)
    assert len(data) == version.stream_bytes
    return data


async def pull_array(hub: Hub, subject: Subject, name: str, number: int | None = None) -> list[bytes]:
    return decode(await pull_stream(hub, subject, name, number))


async def pull_file(hub: Hub, subject: Subject, name: str, number: int | None = None) -> bytes:
    version = await version_of(hub, subject, name, number)
    blocks = stream_verified(hub.blobs, await hub.arrays.stored(version.content_id))
    async with aclosing(blocks):
        return b"".join([block async for block in blocks])


def decode(data: bytes) -> list[bytes]:
    """The documents of a stream, read as docarray reads it: by length, each one gunzipped on its own."""
    found, position = [], 9
    while position < len(data):
        length = int.from_bytes(data[position : position + 4], "big")
        member = data[position + 4 : position + 4 + length]
        assert len(member) == length
        found.append(gzip.decompress(member))
        position += 4 + length
    assert len(found) == int.from_bytes(data[1:9], "big")
    return found


@dataclass(frozen=True)
class State:
    """What a refused request must leave as it was; events and leases are counted apart."""

    rows: dict[str, int]
    keys: frozenset[str]


async def state_of(hub: Hub) -> State:
    tables = (NamespaceRow, Artifact, Version, VersionChunk, BlobRow, ArtifactCount, Event)
    async with hub.database.read() as session:
        rows = {table.__tablename__: await session.scalar(select(func.count()).select_from(table)) for table in tables}
    return State(rows, frozenset(await stored_keys(hub.blobs)))


async def chunks_of(hub: Hub) -> int:
    """How many chunks are stored, of whichever version."""
    async with hub.database.read() as session:
        query = select(func.count()).select_from(BlobRow).where(BlobRow.kind == "chunk")
        return await session.scalar(query) or 0
