"""A builder that is small and real: its images are pushed, tagged and pulled like any other."""

from __future__ import annotations

import asyncio
import gzip
import io
import json
import tarfile
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from palomar.contract.images import OCI_CONFIG, OCI_LAYER_GZIP, OCI_MANIFEST
from palomar.server.builds.builder import BuildOrder, BuiltImage, Log
from palomar.server.builds.builds import Builds
from palomar.server.builds.job import BuildJob
from palomar.server.builds.rules import BuildRules
from palomar.server.builds.values import BUILDAH, LAYERED, BaseChoice
from palomar.server.registry.writer import ImageWriter
from palomar.server.wiring import Hub

BASE = BaseChoice("sha256:" + "b" * 64, ("linux/amd64", "linux/arm64"))

Script = Callable[[BuildOrder, Log], Awaitable[None]]


async def nothing(_order: BuildOrder, _log: Log) -> None:
    """A build without incidents."""


@dataclass
class TinyBuilder:
    """Its image has one layer: the package as it is. ``script`` runs before, and may fail, wait or say something."""

    writer: ImageWriter
    script: Script = nothing
    orders: list[BuildOrder] = field(default_factory=list)

    async def build(self, order: BuildOrder, log: Log) -> BuiltImage:
        self.orders.append(order)
        log(f"building {order.name} release {order.release} for jina {order.variant.versions.jina}")
        await self.script(order, log)
        layer = await asyncio.to_thread(_layer, order.package)
        config = {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": []}}
        config["config"] = {"Labels": {"variant": order.variant.key}}
        descriptors = [
            replace(await self.writer.add_blob(order.repository_id, data), media_type=media_type).as_json()
            for data, media_type in ((json.dumps(config).encode(), OCI_CONFIG), (layer, OCI_LAYER_GZIP))
        ]
        manifest = {"schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": descriptors[0], "layers": descriptors[1:]}
        digest = await self.writer.put_manifest(order.repository_id, json.dumps(manifest).encode(), OCI_MANIFEST)
        return BuiltImage(digest)


def _layer(package: Path) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as archive:
        info = tarfile.TarInfo("workspace/package.zip")
        data = package.read_bytes()
        info.size = len(data)
        archive.addfile(info, io.BytesIO(data))
    return gzip.compress(file.getvalue(), mtime=0)


async def the_base(_session: AsyncSession) -> BaseChoice | None:
    return BASE


async def no_base(_session: AsyncSession) -> BaseChoice | None:
    return None


@dataclass(frozen=True)
class Building:
    """A hub that builds with the tiny builder; its jobs are run by hand, or by a worker."""

    hub: Hub
    job: BuildJob
    builder: TinyBuilder

    @property
    def builds(self) -> Builds:
        return self.hub.builds


def building(hub: Hub, *, script: Script = nothing, **rules: Any) -> Building:
    """The hub as it is, but for its builder, its base and its rules."""
    given = BuildRules(**{"wait_s": 30, **rules})
    writer = hub.registry.writer
    builder = TinyBuilder(writer, script)
    builders = {LAYERED: builder, BUILDAH: builder}
    job = BuildJob(hub.database, hub.blobs, writer, given, builders, hub.settings.data / "work")
    builds = Builds(hub.database, hub.jobs, given, the_base)
    return Building(replace(hub, builds=builds), job, builder)
