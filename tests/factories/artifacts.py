"""Artifacts and versions as rows, for tests that look at rows."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy.ext.asyncio import AsyncSession

from palomar.contract.actions import Visibility
from palomar.server.artifacts.models import DOCUMENT_ARRAY, Artifact, Version, VersionChunk
from palomar.server.namespaces.models import NamespaceRow


async def make_artifact(
    session: AsyncSession,
    namespace: NamespaceRow,
    name: str | None = "digits",
    *,
    visibility: Visibility = Visibility.PUBLIC,
) -> Artifact:
    """A DocumentArray without a version."""
    artifact = Artifact(
        namespace_id=namespace.id,
        name=name,
        name_key=None if name is None else name.lower(),
        kind=DOCUMENT_ARRAY,
        visibility=visibility,
    )
    session.add(artifact)
    await session.flush()
    return artifact


async def make_version(
    session: AsyncSession,
    artifact: Artifact,
    *,
    chunk_ids: Sequence[int] = (),
    content_id: int | None = None,
    index_id: int | None = None,
) -> Version:
    """The artifact's next version, which references these blobs."""
    artifact.version += 1
    version = Version(
        artifact_id=artifact.id,
        number=artifact.version,
        document_kind="v1",
        digest=f"{artifact.version:064x}",
        content_id=content_id,
        index_id=index_id,
        documents=len(chunk_ids),
        raw_bytes=0,
        stream_bytes=1000 + artifact.version,
    )
    session.add(version)
    await session.flush()
    session.add_all(VersionChunk(version_id=version.id, blob_id=blob_id) for blob_id in dict.fromkeys(chunk_ids))
    await session.flush()
    return version
