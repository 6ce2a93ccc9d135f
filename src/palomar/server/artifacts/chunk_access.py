"""One chunk of one version for one caller: the hot path of a native pull, which asks for thousands.

So what `find_readable`, `numbered_version` and a look at the version's chunks say is asked in one prepared SELECT on a
plain connection. Nothing is remembered between two requests: who loses access loses it with the next chunk.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, and_, bindparam, select

from palomar.contract.actions import Action, Visibility
from palomar.contract.errors import NotFound
from palomar.contract.names import ResourcePath
from palomar.documents.facts import Encoding
from palomar.server.access.policy import Resource, Subject, require
from palomar.server.accounts.credentials import Beside, Credentials, Holder
from palomar.server.artifacts.models import DOCUMENT_ARRAY, Artifact, Version, VersionChunk
from palomar.server.artifacts.reader import StoredChunk
from palomar.server.artifacts.resource import KIND
from palomar.server.blobs.models import BlobKind, BlobRow
from palomar.server.blobs.verified import StoredBytes
from palomar.server.db.engine import Database
from palomar.server.namespaces.models import NamespaceRow

_IS_VERSION = and_(
    Version.artifact_id == Artifact.id,
    Version.number == bindparam("number"),
    Version.purged_at.is_(None),
    Version.document_kind.is_not(None),
)
_IS_BLOB = and_(BlobRow.kind == BlobKind.CHUNK, BlobRow.digest == bindparam("digest"))
_IS_REFERENCED = and_(VersionChunk.version_id == Version.id, VersionChunk.blob_id == BlobRow.id)
_QUERY = (
    select(
        NamespaceRow.owner_id,
        NamespaceRow.visibility_ceiling,
        Artifact.visibility,
        Artifact.deleted_at,
        Version.id.label("version_id"),
        VersionChunk.blob_id,
        BlobRow.key,
        BlobRow.stored_bytes,
        BlobRow.stored_digest,
        BlobRow.encoding,
        BlobRow.members_bytes,
        BlobRow.documents,
    )
    .select_from(Artifact)
    .join(NamespaceRow, NamespaceRow.id == Artifact.namespace_id)
    .outerjoin(Version, _IS_VERSION)
    .outerjoin(BlobRow, _IS_BLOB)
    .outerjoin(VersionChunk, _IS_REFERENCED)
    .where(NamespaceRow.name == bindparam("namespace"), NamespaceRow.retired_at.is_(None))
    .where(Artifact.name_key == bindparam("name_key"), Artifact.kind == DOCUMENT_ARRAY)
)


_BESIDE_TOKEN = Beside(_QUERY)


@dataclass(frozen=True, slots=True)
class ChunkAsked:
    """Which chunk of which version; ``asked_name`` is what errors may say."""

    path: ResourcePath
    asked_name: str
    number: int
    digest: str

    @property
    def parameters(self) -> dict[str, Any]:
        named = {"namespace": str(self.path.namespace), "name_key": self.path.name.key}
        return {**named, "number": self.number, "digest": self.digest}


async def find_chunk(database: Database, subject: Subject, asked: ChunkAsked) -> StoredChunk:
    """Raises NotFound for an array that is absent or hidden, for its version, for a chunk that it does not have."""
    async with database.engine.connect() as connection:
        row = (await connection.execute(_QUERY, asked.parameters)).first()
    return _chunk(row, subject, asked)


async def find_chunk_by_token(
    credentials: Credentials, token: str, asked: ChunkAsked, to_subject: Callable[[Holder], Subject]
) -> StoredChunk:
    """As `find_chunk`, and who asks is found out by the same SELECT. Raises CredentialInvalid too, and before all."""
    holder, row = await credentials.find_holder_beside(token, _BESIDE_TOKEN, asked.parameters)
    return _chunk(row, to_subject(holder), asked)


def _chunk(row: Row[*tuple[Any, ...]] | None, subject: Subject, asked: ChunkAsked) -> StoredChunk:
    if row is None:
        raise NotFound(KIND, asked.asked_name)
    require(subject, Action.ARTIFACT_READ, _resource(row, asked.asked_name))
    if row.version_id is None:
        raise NotFound("version", f"{asked.asked_name}@v{asked.number}")
    if row.blob_id is None:
        raise NotFound("chunk", asked.digest)
    at = StoredBytes(row.key, row.stored_bytes, row.stored_digest)
    return StoredChunk(asked.digest, at, Encoding(row.encoding), row.members_bytes, row.documents)


def _resource(row: Row[*tuple[Any, ...]], asked_name: str) -> Resource:
    """As `Found.as_resource` says it of an artifact with a namespace."""
    return Resource(
        kind=KIND,
        name=asked_name,
        owner_id=row.owner_id,
        visibility=Visibility(row.visibility),
        ceiling=Visibility(row.visibility_ceiling),
        is_deleted=row.deleted_at is not None,
    )
