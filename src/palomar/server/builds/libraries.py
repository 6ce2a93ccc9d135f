"""The two layers of an image that hold its libraries: those of every Executor, and those of this one.

Resolving and installing happen in the sandbox; here is only what of it may be used again, and by whom. A lock or a
layer that has to do with values of a push, or with addresses outside the hub's own index, stays with its repository.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from palomar.contract.errors import Busy
from palomar.packages.requirements import Requirements
from palomar.server.builds import constraints
from palomar.server.builds.bases.values import BasePlatform
from palomar.server.builds.builder import BuildFailure, Log
from palomar.server.builds.image_config import AddedLayer
from palomar.server.builds.install import install
from palomar.server.builds.installed_tree import InstalledPackage
from palomar.server.builds.kept_locks import find_lock, keep_lock
from palomar.server.builds.layer_cache import CachedLayer, find_layer, forget_layer, keep_layer, layer_key, use_layer
from palomar.server.builds.layers import LayerRefused, WrittenLayer, write_layer
from palomar.server.builds.lock import Lock, Pin
from palomar.server.builds.package_rules import PackageRules
from palomar.server.builds.partition import split
from palomar.server.builds.python_base import PythonBase
from palomar.server.builds.resolve import resolve
from palomar.server.builds.variants import Versions
from palomar.server.builds.wanted import Wanted
from palomar.server.registry.writer import ImageWriter

# Part of every key: raise it when the sandbox comes to install something else of the same lock.
_FORMAT: Final = 1
_RUNTIME: Final = "jina and docarray"
_REQUIREMENTS: Final = "requirements"


@dataclass(frozen=True, slots=True)
class LibraryOrder:
    """What libraries an image needs. ``work`` is a folder of this build and platform alone."""

    repository_id: str
    python: PythonBase
    base: BasePlatform
    requirements: Requirements
    versions: Versions
    work: Path
    no_cache: bool
    build_env: Mapping[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Libraries:
    lock: Lock
    layers: tuple[AddedLayer, ...]
    packages: tuple[InstalledPackage, ...]


@dataclass(frozen=True, slots=True)
class LibraryLayers:
    """Makes them, or finds them."""

    writer: ImageWriter
    rules: PackageRules

    async def make(self, order: LibraryOrder, log: Log) -> Libraries:
        lock = await self._lock(order, log)
        runtime, others = split(lock)
        layers: list[AddedLayer] = []
        packages: list[InstalledPackage] = []
        for name, pins in ((_RUNTIME, runtime), (_REQUIREMENTS, others)):
            if pins:
                layer, installed = await self._layer(order, lock, name, pins, log)
                layers.append(AddedLayer(layer, f"palomar: {name}"))
                packages.extend(installed)
        return Libraries(lock, tuple(layers), tuple(sorted(packages, key=lambda package: package.name)))

    # --- what exactly ------------------------------------------------------------------------------------------------

    async def _lock(self, order: LibraryOrder, log: Log) -> Lock:
        """A lock that depends on values of the push is not kept: whoever has it need not know them."""
        key = None if order.build_env else self._lock_key(order)
        if key is not None and not order.no_cache and (kept := await find_lock(self.writer.database, key)):
            log(f"{len(kept.pins)} packages, resolved before")
            return kept
        jina, docarray = order.versions
        log(f"resolving for jina {jina}, docarray {docarray} and Python {order.python.version}")
        wanted = Wanted(order.requirements, jina, docarray, order.build_env)
        lock = await resolve(order.python, wanted, self.rules, log, work=order.work)
        log(f"{len(lock.pins)} packages resolved")
        if key is not None and lock.is_shareable:
            await keep_lock(self.writer.database, key, lock)
        return lock

    def _lock_key(self, order: LibraryOrder) -> str:
        versions = order.versions._asdict()
        return layer_key(
            kind="lock",
            format=_FORMAT,
            asked=[line.text for line in order.requirements.lines],
            files=[line.file for line in order.requirements.lines],
            versions=versions,
            constraints=[constraints.lines_for(kind, **versions) for kind in ("runtime", "constraint", "build")],
            index=[self.rules.index_url, str(self.rules.find_links)],
            base=str(order.base.manifest.digest),
            platform=order.python.platform,
        )

    # --- their bytes -------------------------------------------------------------------------------------------------

    async def _layer(
        self, order: LibraryOrder, lock: Lock, name: str, pins: tuple[Pin, ...], log: Log
    ) -> tuple[WrittenLayer, list[InstalledPackage]]:
        key = _layer_key(order, lock, pins)
        cached = None if order.no_cache else await find_layer(self.writer.database, key)
        if cached is not None and await self._is_used(cached, order):
            log(f"{name}: {len(pins)} packages, built before")
            return cached.layer, _packages(cached.facts)
        log(f"{name}: installing {len(pins)} packages")
        return await self._install(order, lock, pins, key, log)

    async def _is_used(self, cached: CachedLayer, order: LibraryOrder) -> bool:
        try:
            await use_layer(self.writer.database, cached, repository_id=order.repository_id)
        except Busy:
            # Forgotten and collected between two statements: it is built once more.
            return False
        return True

    async def _install(
        self, order: LibraryOrder, lock: Lock, pins: tuple[Pin, ...], key: str, log: Log
    ) -> tuple[WrittenLayer, list[InstalledPackage]]:
        target, packed = order.work / f"root-{key[:12]}", order.work / f"{key[:12]}.tar.gz"
        part = lock.part(pins, order.build_env)
        installed = await install(order.python, part, target, self.rules, log, work=order.work)
        try:
            layer = await asyncio.to_thread(write_layer, installed.root, packed)
        except LayerRefused as refusal:
            raise BuildFailure(str(refusal)) from None
        await self.writer.add_blob(order.repository_id, packed)
        await self._keep(order, key, layer, installed.packages)
        await asyncio.to_thread(packed.unlink)
        return layer, list(installed.packages)

    async def _keep(
        self, order: LibraryOrder, key: str, layer: WrittenLayer, packages: Sequence[InstalledPackage]
    ) -> None:
        facts = {"packages": [asdict(package) for package in packages]}
        async with self.writer.database.write() as session:
            if order.no_cache:
                await forget_layer(session, key)
            await keep_layer(session, key, layer, repository_id=order.repository_id, facts=facts)


def _layer_key(order: LibraryOrder, lock: Lock, pins: Sequence[Pin]) -> str:
    return layer_key(
        kind="libraries",
        format=_FORMAT,
        base=str(order.base.manifest.digest),
        platform=order.python.platform,
        pins=[asdict(pin) | {"via": []} for pin in pins],
        build=lock.build_constraints,
        # What came from elsewhere is nobody else's, however they say where it lies.
        scope=None if lock.is_shareable and not order.build_env else order.repository_id,
    )


def _packages(facts: Mapping[str, Any]) -> list[InstalledPackage]:
    told = facts.get("packages", [])
    return [InstalledPackage(**{**package, "requires": tuple(package["requires"])}) for package in told]
