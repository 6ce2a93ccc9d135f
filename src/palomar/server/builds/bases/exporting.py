"""A base as an OCI layout in a folder, for tools that read images from there: nothing is fetched from elsewhere."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from pathlib import Path
from typing import Final

from palomar.contract.images import ImageDigest
from palomar.server.builds.bases.values import Base, BasePlatform
from palomar.server.builds.image_config import Platform, canonical_json
from palomar.server.registry.writer import ImageWriter

_LAYOUT: Final = b'{"imageLayoutVersion":"1.0.0"}'
_NAME: Final = "org.opencontainers.image.ref.name"


async def export_layout(writer: ImageWriter, base: Base, folder: Path, *, platform: Platform | None = None) -> None:
    """Writes the base, or one platform of it, to a folder that is made for it.

    Raises ValueError for a platform that the base does not have, ImageBlobUnknown for a base that was replaced or
    removed meanwhile, and DataCorrupt.
    """
    wanted = [base.on(platform)] if platform else base.platforms
    found = [each for each in wanted if each is not None]
    if not found:
        raise ValueError(f"the base image {base.name} is not for {platform}")
    blobs = folder / "blobs" / "sha256"
    await asyncio.to_thread(blobs.mkdir, parents=True)
    for each in found:
        await _export(writer, base.repository_id, each, blobs)
    entries = [_entry(base, each) for each in found]
    index = {"schemaVersion": 2, "manifests": entries}
    await asyncio.to_thread((folder / "oci-layout").write_bytes, _LAYOUT)
    await asyncio.to_thread((folder / "index.json").write_bytes, canonical_json(index))


def _entry(base: Base, found: BasePlatform) -> dict[str, object]:
    return {**found.manifest.as_json(), "platform": found.platform.as_json(), "annotations": {_NAME: base.name}}


async def _export(writer: ImageWriter, repository_id: str, found: BasePlatform, blobs: Path) -> None:
    manifest = await writer.read_manifest(repository_id, found.manifest.digest)
    await asyncio.to_thread((blobs / found.manifest.digest.hex).write_bytes, manifest.content)
    for digest in {found.config.digest, *(layer.digest for layer in found.layers)}:
        await save_blob(writer.stream_blob(repository_id, digest), _path(blobs, digest))


def _path(blobs: Path, digest: ImageDigest) -> Path:
    return blobs / digest.hex


async def save_blob(blocks: AsyncGenerator[bytes, None], path: Path) -> None:
    """Nothing if the file is there: platforms share layers."""
    if await asyncio.to_thread(path.exists):
        return
    file = await asyncio.to_thread(path.open, "wb")
    try:
        async with aclosing(blocks):
            async for block in blocks:
                await asyncio.to_thread(file.write, block)
    finally:
        await asyncio.to_thread(file.close)


async def read_config(writer: ImageWriter, base: Base, found: BasePlatform) -> bytes:
    """What `build_config` starts from."""
    async with aclosing(writer.stream_blob(base.repository_id, found.config.digest)) as blocks:
        return b"".join([block async for block in blocks])
