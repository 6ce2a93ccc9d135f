"""The builder for packages that bring their own Dockerfile.

What the Dockerfile stands on are base images of this hub, by the names that the operator gave them, so nothing is
pulled from elsewhere unless the operator allows that. Values of ``--build-env`` are build arguments, as they were with
the public hub; what of them would be in the image's config is taken out again, or refused.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO, Final

from palomar.contract.errors import BadPackage
from palomar.contract.images import OCI_CONFIG, OCI_LAYER_GZIP, ImageDigest
from palomar.packages.archive import PackageArchive, open_package
from palomar.packages.limits import PackageLimits
from palomar.server.builds.bases.exporting import export_layout
from palomar.server.builds.bases.finding import find_base
from palomar.server.builds.bases.reference import Reference
from palomar.server.builds.buildah_machine import Buildah
from palomar.server.builds.builder import BuildFailure, BuildOrder, BuiltImage, Log
from palomar.server.builds.dockerfile import images_in
from palomar.server.builds.image_config import Document, Platform, build_manifest, canonical_json
from palomar.server.builds.limits import SandboxLimits
from palomar.server.builds.masking import Masking
from palomar.server.registry.values import Descriptor
from palomar.server.registry.writer import ImageWriter

_POLICY: Final = ("--signature-policy", "/w/etc/policy.json")
_BUILT: Final = "localhost/built"
_OFF: Final = "the package brings its own Dockerfile, and this hub builds none of those"
_HINT_ENTRY: Final = 'End the Dockerfile with ENTRYPOINT ["jina","executor","--uses","config.yml"].'


@dataclass(frozen=True, slots=True)
class BuildahBuilder:
    """``has_network``: what a RUN reaches. ``may_pull``: whether images of other registries are fetched."""

    writer: ImageWriter
    limits: PackageLimits
    sandbox: SandboxLimits
    is_on: bool = False
    has_network: bool = False
    may_pull: bool = False

    async def build(self, order: BuildOrder, log: Log) -> BuiltImage:
        if not self.is_on:
            raise BuildFailure(_OFF, "Ask its operator to set PALOMAR_DOCKERFILE_BUILDS=on.", is_hubs_fault=True)
        machine = Buildah(order.workspace, self.sandbox)
        await asyncio.to_thread(machine.prepare)
        await asyncio.to_thread(self._lay_out, order)
        for name in images_in(_dockerfile(order), _arguments(order)):
            await self._provide(machine, order, name, log)
        await self._bud(machine, order, log)
        await machine.run("push", *_POLICY, "-q", "--compression-format", "gzip", _BUILT, "oci:/w/out:built", log=log)
        return await self._adopt(order, log)

    # --- what goes in ------------------------------------------------------------------------------------------------

    def _lay_out(self, order: BuildOrder) -> None:
        (order.workspace / "Dockerfile").write_text(_dockerfile(order))
        context = order.workspace / "context"
        context.mkdir()
        try:
            with order.package.open("rb") as file:
                _extract(file, self.limits, context)
        except BadPackage as error:
            raise BuildFailure(error.detail) from error

    async def _provide(self, machine: Buildah, order: BuildOrder, name: str, log: Log) -> None:
        """Into the storage of this build, under the name that the Dockerfile means."""
        async with self.writer.database.read() as session:
            base = await find_base(session, name)
        if base is not None:
            folder = order.workspace / f"base-{base.id}"
            if not folder.exists():
                await export_layout(self.writer, base, folder, platform=Platform.parse(order.variant.platforms[0]))
            log(f"{name} is {base.name} ({base.digest})")
            pulled = await machine.run("pull", *_POLICY, "-q", f"oci:/w/{folder.name}", log=_nothing)
            await machine.run("tag", pulled[-1], Reference.parse(name).name, log=_nothing)
        elif self.may_pull:
            await machine.run("pull", *_POLICY, "-q", f"docker://{name}", log=log, has_network=True)
        else:
            reason = f"its Dockerfile stands on {name[:200]!r}, which is not among the base images of this hub"
            hint = f"Ask the hub's operator for it (palomar admin base-add {name[:200]}), or stand on another one."
            raise BuildFailure(reason, hint)

    async def _bud(self, machine: Buildah, order: BuildOrder, log: Log) -> None:
        """The time of every file is 0, so that a build of equal inputs has a chance to be an equal image."""
        arguments = _arguments(order)
        named = [word for name in sorted(arguments) for word in ("--build-arg", name)]
        await machine.run(
            *("bud", *_POLICY, "--isolation", "chroot", "--network", "host", "--pull-never", "--timestamp", "0"),
            *("--no-cache", *named, "-f", "/w/Dockerfile", "-t", _BUILT, "/w/context"),
            log=log,
            environment=arguments,
            has_network=self.has_network,
        )

    # --- what comes out ----------------------------------------------------------------------------------------------

    async def _adopt(self, order: BuildOrder, log: Log) -> BuiltImage:
        layout = order.workspace / "out"
        manifest = _read(layout, _read_json(layout / "index.json")["manifests"][0])
        config = _checked_config(_read(layout, manifest["config"]), order.build_env)
        layers = [await self._layer(order, layout, told) for told in manifest["layers"]]
        await self.writer.add_blob(order.repository_id, config.content)
        document = build_manifest(config.descriptor, layers)
        digest = await self.writer.put_manifest(order.repository_id, document.content, document.media_type)
        log(f"image {digest}")
        return BuiltImage(digest)

    async def _layer(self, order: BuildOrder, layout: Path, told: Mapping[str, Any]) -> Descriptor:
        if told["mediaType"] != OCI_LAYER_GZIP:
            raise BuildFailure(f"buildah made a layer of the type {told['mediaType']}", is_hubs_fault=True)
        added = await self.writer.add_blob(order.repository_id, _blob(layout, told))
        return replace(added, media_type=OCI_LAYER_GZIP)


def _nothing(_line: str) -> None:
    """What buildah says of its own housekeeping is nothing to a person who pushes."""


def _dockerfile(order: BuildOrder) -> str:
    """The one that the push named, as it was read then."""
    return str(order.facts.get("dockerfile") or "")


def _arguments(order: BuildOrder) -> dict[str, str]:
    jina, docarray = order.variant.versions
    return {**order.build_env, "JINA_VERSION": jina, "DOCARRAY_VERSION": docarray}


def _extract(file: BinaryIO, limits: PackageLimits, folder: Path) -> None:
    """Names, sizes and kinds of entries are checked by the reader: nothing leads out of the folder."""
    archive = open_package(file, limits)
    for entry in archive.entries:
        path = folder / entry.name
        if entry.is_folder:
            path.mkdir(parents=True, exist_ok=True)
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        _write(archive, entry.name, path)
        path.chmod(0o755 if entry.mode & 0o100 else 0o644)


def _write(archive: PackageArchive, name: str, path: Path) -> None:
    with path.open("xb") as target:
        for piece in archive.pieces(name):
            target.write(piece)


def _blob(layout: Path, told: Mapping[str, Any]) -> Path:
    return layout / "blobs" / "sha256" / ImageDigest.parse(told["digest"]).hex


def _read(layout: Path, told: Mapping[str, Any]) -> Any:
    return _read_json(_blob(layout, told))


def _read_json(path: Path) -> Any:
    return json.loads(path.read_bytes())


def _checked_config(config: dict[str, Any], build_env: Mapping[str, str]) -> Document:
    """An image that starts an Executor, and without the values of build arguments that its history tells."""
    entry = (config.get("config") or {}).get("Entrypoint") or []
    if not _starts_executor(" ".join(map(str, entry))):
        raise BuildFailure("its Dockerfile ends without an ENTRYPOINT that starts an Executor", _HINT_ENTRY)
    masking = Masking(build_env)
    for step in config.get("history") or []:
        step.update({name: masking.hide(text) for name, text in step.items() if isinstance(text, str)})
    content = canonical_json(config)
    if found := next(_values_in(content.decode(), build_env), None):
        reason = f"its Dockerfile puts the value of {found} into the image, where everybody could read it"
        raise BuildFailure(reason, "Use the variable in a RUN alone, never in an ENV or a LABEL.")
    return Document(OCI_CONFIG, content)


def _starts_executor(entry: str) -> bool:
    return "executor" in entry and "--uses" in entry


def _values_in(text: str, build_env: Mapping[str, str]) -> Iterator[str]:
    """Very short values are in any text."""
    for name, value in build_env.items():
        if len(value) >= 4 and json.dumps(value, ensure_ascii=False)[1:-1] in text:
            yield name
