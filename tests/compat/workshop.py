"""Builds by the real builders, and what is in their images."""

from __future__ import annotations

import io
import json
import tarfile
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from palomar.contract.images import ImageDigest
from palomar.server.access.policy import Subject
from palomar.server.builds.models import Build
from palomar.server.builds.values import BuildRequest
from palomar.server.wiring import Hub, assemble_build_job
from tests.services.building import log_of, read_build
from tests.services.executor_pushes import push


@dataclass
class Workshop:
    hub: Hub
    alice: Subject

    async def build(self, data: bytes, name: str = "MyExecutor", *, no_cache: bool = False, **given: Any) -> Build:
        receipt = await push(self.hub, self.alice, name, data, **given)
        """``given`` is of the push."""
        wanted = BuildRequest(build_env=given.get("build_env", {}), no_cache=no_cache)
        build = await self.hub.builds.after_push(receipt.executor_id, receipt.release_id, wanted)
        assert build is not None
        await assemble_build_job(self.hub.settings, self.hub.database, self.hub.blobs).run(build.id)
        return await read_build(self.hub, build.id)

    async def manifest(self, build: Build, digest: str | None = None) -> dict[str, Any]:
        """The build's, or another one of its repository."""
        assert build.state == "succeeded", (build.error, build.hint, await log_of(self.hub, build.id))
        named = ImageDigest(digest or str(build.manifest_digest))
        stored = await self.hub.registry.writer.read_manifest(str(build.repository_id), named)
        read: dict[str, Any] = json.loads(stored.content)
        return read

    async def blob(self, build: Build, descriptor: dict[str, Any]) -> bytes:
        digest = ImageDigest(descriptor["digest"])
        async with aclosing(self.hub.registry.writer.stream_blob(str(build.repository_id), digest)) as blocks:
            return b"".join([block async for block in blocks])

    async def files(self, build: Build, descriptor: dict[str, Any]) -> dict[str, bytes]:
        with tarfile.open(fileobj=io.BytesIO(await self.blob(build, descriptor))) as archive:
            files = [member for member in archive if member.isfile()]
            return {member.name: archive.extractfile(member).read() for member in files}  # type: ignore[union-attr]
