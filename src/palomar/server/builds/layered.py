"""The layered builder: an image is its base, a layer of libraries or two, and the package, put together here.

Nothing of a package is run by the hub itself, and no container engine is needed. Every step gives the same bytes for
the same inputs, so an image that is built twice has one digest.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from palomar.contract.errors import BadPackage, DataCorrupt, ImageBlobUnknown
from palomar.contract.images import ImageDigest
from palomar.packages.archive import open_package
from palomar.packages.limits import PackageLimits
from palomar.packages.requirements import Requirements, read_requirements
from palomar.server.builds.attachments import Attached, attach
from palomar.server.builds.bases.exporting import read_config
from palomar.server.builds.bases.finding import base_by_digest
from palomar.server.builds.bases.rootfs import unpacked_base
from palomar.server.builds.bases.values import Base, BasePlatform
from palomar.server.builds.builder import BuildFailure, BuildOrder, BuiltImage, Log
from palomar.server.builds.foreign import python_of, runner_of, wanted_platforms
from palomar.server.builds.image_config import (
    AddedLayer,
    Document,
    Platform,
    build_config,
    build_index,
    build_manifest,
)
from palomar.server.builds.layers import LayerRefused
from palomar.server.builds.libraries import Libraries, LibraryLayers, LibraryOrder
from palomar.server.builds.package_index import with_index
from palomar.server.builds.package_layer import write_package_layer
from palomar.server.builds.package_rules import PackageRules
from palomar.server.builds.python_base import PythonBase
from palomar.server.registry.values import Descriptor
from palomar.server.registry.writer import ImageWriter

_LABELS: Final = "org.opencontainers.image."


@dataclass(frozen=True, slots=True)
class LayeredBuilder:
    """``bases`` is where base images are unpacked to, for all builds together."""

    writer: ImageWriter
    rules: PackageRules
    limits: PackageLimits
    bases: Path

    async def build(self, order: BuildOrder, log: Log) -> BuiltImage:
        base = await self._base(order)
        log(f"{order.name} release {order.release} on {base.name} ({base.digest})")
        requirements = await asyncio.to_thread(_requirements, order.package, self.limits)
        wanted = wanted_platforms(base, order.variant.platforms)
        made = [await self._one(order, base, found, requirements, log) for found in wanted]
        manifest = made[0].descriptor if len(made) == 1 else await self._index(order, made)
        log(f"image {manifest.digest}")
        return BuiltImage(manifest.digest)

    async def _base(self, order: BuildOrder) -> Base:
        async with self.writer.database.read() as session:
            base = await base_by_digest(session, order.variant.base_digest)
        if base is None:
            raise BuildFailure("the base image was replaced meanwhile", "Ask for the image again.", is_hubs_fault=True)
        return base

    # --- one platform ------------------------------------------------------------------------------------------------

    async def _one(
        self, order: BuildOrder, base: Base, found: BasePlatform, requirements: Requirements, log: Log
    ) -> _Made:
        work = order.workspace / str(found.platform).replace("/", "-")
        await asyncio.to_thread(work.mkdir)
        libraries = await self._libraries(order, base, found, requirements, work, log)
        package = await self._package(order, work)
        layers = (*libraries.layers, AddedLayer(package.layer, "palomar: package"))
        manifest = await self._manifest(order, base, found, layers)
        index = (await with_index(self.rules)).index_url
        attached = Attached(libraries.lock, libraries.packages, index or None)
        await attach(self.writer, order, (base.name, found), manifest.descriptor, attached)
        return _Made(found.platform, manifest.descriptor)

    async def _libraries(
        self, order: BuildOrder, base: Base, found: BasePlatform, requirements: Requirements, work: Path, log: Log
    ) -> Libraries:
        async with self._python(base, found) as python:
            wanted = LibraryOrder(
                repository_id=order.repository_id,
                python=python,
                base=found,
                requirements=requirements,
                versions=order.variant.versions,
                work=work,
                no_cache=order.no_cache,
                build_env=order.build_env,
            )
            return await LibraryLayers(self.writer, await with_index(self.rules)).make(wanted, log)

    @asynccontextmanager
    async def _python(self, base: Base, found: BasePlatform) -> AsyncIterator[PythonBase]:
        try:
            runner = runner_of(base, found)
            async with unpacked_base(self.writer, base, runner, self.bases) as rootfs:
                yield python_of(found, runner, rootfs)
        except (ImageBlobUnknown, DataCorrupt) as error:
            raise BuildFailure(f"the base image cannot be read: {error.detail}", is_hubs_fault=True) from error

    async def _package(self, order: BuildOrder, work: Path) -> AddedLayer:
        packed = work / "package.tar.gz"

        def write() -> AddedLayer:
            with order.package.open("rb") as file:
                layer = write_package_layer(file, packed, facts=order.facts, limits=self.limits)
            return AddedLayer(layer, "palomar: package")

        try:
            added = await asyncio.to_thread(write)
        except (BadPackage, LayerRefused) as error:
            raise BuildFailure(str(error)) from error
        await self.writer.add_blob(order.repository_id, packed)
        return added

    async def _manifest(
        self, order: BuildOrder, base: Base, found: BasePlatform, layers: tuple[AddedLayer, ...]
    ) -> Document:
        for digest in {layer.digest for layer in found.layers}:
            await self.writer.link_blob(
                order.repository_id, digest, from_repository_id=base.repository_id, is_base=True
            )
        config = build_config(await read_config(self.writer, base, found), layers, labels=_labels(order, found))
        await self.writer.add_blob(order.repository_id, config.content)
        document = build_manifest(config.descriptor, [*found.layers, *(added.descriptor for added in layers)])
        await self.writer.put_manifest(order.repository_id, document.content, document.media_type)
        return document

    # --- several -----------------------------------------------------------------------------------------------------

    async def _index(self, order: BuildOrder, made: list[_Made]) -> Descriptor:
        document = build_index([(one.platform, one.descriptor) for one in made])
        await self.writer.put_manifest(order.repository_id, document.content, document.media_type)
        return document.descriptor


@dataclass(frozen=True, slots=True)
class _Made:
    platform: Platform
    descriptor: Descriptor


def _requirements(package: Path, limits: PackageLimits) -> Requirements:
    try:
        with package.open("rb") as file:
            return read_requirements(open_package(file, limits), limits)
    except BadPackage as error:
        # It was read when it was pushed: the limits have become tighter.
        raise BuildFailure(error.detail) from error


def _labels(order: BuildOrder, found: BasePlatform) -> dict[str, str]:
    """Of what the release says for ever: a label of the time of the build would make each another image."""
    told = {
        "title": order.name,
        "version": str(order.release),
        "revision": order.release_digest,
        "base.digest": ImageDigest(found.manifest.digest),
    }
    return {f"{_LABELS}{name}": str(value) for name, value in told.items()}
