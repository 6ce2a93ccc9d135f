"""What is kept beside an image, as referrers of its manifest: the lock, the SBOM, and how it was made."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from palomar.server.builds.bases.values import BasePlatform
from palomar.server.builds.builder import BuildOrder
from palomar.server.builds.image_config import CYCLONEDX, EMPTY, IN_TOTO, LOCK, Document, build_attachment
from palomar.server.builds.installed_tree import InstalledPackage
from palomar.server.builds.lock import Lock
from palomar.server.builds.provenance import BuildFacts, write_provenance
from palomar.server.builds.sbom import ImageSubject, write_sbom
from palomar.server.registry.values import Descriptor
from palomar.server.registry.writer import ImageWriter

# The hub's address changes and differs from network to network; who made the image does not.
_BUILDER_ID: Final = "urn:palomar:builder:layered"


async def attach(
    writer: ImageWriter, order: BuildOrder, base: tuple[str, BasePlatform], manifest: Descriptor, made: Attached
) -> None:
    """Once for each platform's manifest; ``base`` with its name. Equal images have equal attachments."""
    await writer.add_blob(order.repository_id, EMPTY.content)
    for document in _documents(order, base, manifest, made):
        await writer.add_blob(order.repository_id, document.content)
        attachment = build_attachment(document, manifest)
        await writer.put_manifest(order.repository_id, attachment.content, attachment.media_type)


@dataclass(frozen=True, slots=True)
class Attached:
    """``index_url`` loses its password on the way."""

    lock: Lock
    packages: Sequence[InstalledPackage]
    index_url: str | None


def _documents(
    order: BuildOrder, base: tuple[str, BasePlatform], manifest: Descriptor, made: Attached
) -> Iterator[Document]:
    base_name, found = base
    subject = ImageSubject(order.name, str(order.release), base_name, str(found.manifest.digest))
    yield Document(CYCLONEDX, write_sbom(subject, made.lock, made.packages))
    yield Document(IN_TOTO, write_provenance(_facts(order, base, manifest, made), made.lock))
    yield Document(LOCK, made.lock.text.encode())


def _facts(order: BuildOrder, base: tuple[str, BasePlatform], manifest: Descriptor, made: Attached) -> BuildFacts:
    base_name, found = base
    return BuildFacts(
        image_name=order.name,
        manifest_digest=str(manifest.digest),
        package_name=f"{order.name}@{order.release}",
        package_sha256=order.release_digest,
        base_name=base_name,
        base_digest=str(found.manifest.digest),
        jina=order.variant.versions.jina,
        docarray=order.variant.versions.docarray,
        platform=str(found.platform),
        builder_id=_BUILDER_ID,
        variables=tuple(order.build_env),
        index_url=made.index_url,
    )
