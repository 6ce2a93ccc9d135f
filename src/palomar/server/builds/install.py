"""From a lock to a folder of installed packages, byte for byte the same each time.

Wheels run no code, so this is the one place where the hub's builds share a cache of uv's: only uv writes to it, in a
sandbox where nothing else runs. What has no wheel is built before, apart (``wheels.py``).
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from palomar.server.builds.builder import Log
from palomar.server.builds.credentials import expand, with_credentials
from palomar.server.builds.explain import explain_install
from palomar.server.builds.installed_tree import InstalledPackage, settle
from palomar.server.builds.limits import folder_usage
from palomar.server.builds.lock import LockedFile, LockPart, Pin
from palomar.server.builds.masking import Masking
from palomar.server.builds.package_index import with_hosts
from palomar.server.builds.package_rules import PackageRules
from palomar.server.builds.python_base import PythonBase, sandbox_for
from palomar.server.builds.sandbox import UNPRIVILEGED_ID, Mount, Sandbox
from palomar.server.builds.uv_task import FIND_LINKS, UV, uv_tasks
from palomar.server.builds.wheels import WheelMaking, make_wheels

__all__ = ["SITE_PACKAGES", "Installed", "LockPart", "install"]

#: Where packages lie in an image.
SITE_PACKAGES: Final = "opt/palomar/site-packages"
_MADE: Final = "/run/palomar/wheels"


@dataclass(frozen=True, slots=True)
class Installed:
    """``root`` holds ``opt/palomar/site-packages``; ``packages`` is what is in it, by name."""

    root: Path
    packages: tuple[InstalledPackage, ...]


async def install(
    base: PythonBase, part: LockPart, target: Path, rules: PackageRules, log: Log, *, work: Path
) -> Installed:
    """Fills ``target``, which must not exist, or be empty; ``work`` is a folder of this build alone.

    Raises:
        BuildFailure: A package cannot be fetched, built or installed, or holds a value of a variable.
    """
    masking = Masking({**part.build_env, **rules.secrets()})
    log = masking.hiding(log)
    site = target / SITE_PACKAGES
    if not part.pins:
        await asyncio.to_thread(site.mkdir, parents=True, exist_ok=True)
        return Installed(target, ())
    rules = await with_hosts(rules)
    sandbox = await sandbox_for(base, rules)
    making = _making(base, part, rules, sandbox, work, masking)
    made = await make_wheels(making, part.pins, log)
    name = f"install-{hashlib.sha256(str(target).encode()).hexdigest()[:12]}"
    async with _cache(rules, work, is_shared=part.is_shareable) as cache:
        packages = await _run(_Run(making, work / name, cache, made), site, log)
    return Installed(target, packages)


def _making(
    base: PythonBase, part: LockPart, rules: PackageRules, sandbox: Sandbox, work: Path, masking: Masking
) -> WheelMaking:
    kept = rules.cache / "built" if part.is_shareable else None
    return WheelMaking(base, rules, sandbox, work, part, masking, kept)


@dataclass(frozen=True, slots=True)
class _Run:
    making: WheelMaking
    folder: Path
    cache: Path
    made: Mapping[str, Path]


async def _run(run: _Run, site: Path, log: Log) -> tuple[InstalledPackage, ...]:
    base = run.making.base
    wheels = run.folder.parent / f"{run.folder.name}-wheels"
    await asyncio.to_thread(_gather, wheels, run.made)
    async with uv_tasks(run.making.rules, run.folder.parent, run.folder.name) as tasks:
        (tasks.folder / "pylock.toml").write_text(_pylock(run))
        argv = (
            *(UV, "pip", "install", "--requirements", "pylock.toml", "--target", "/build/out", "--no-deps"),
            *("--no-build", "--python", base.python, "--cache-dir", "/cache", *base.uv_target()),
        )
        mounts = (Mount(run.cache, "/cache", writable=True), Mount(wheels, _MADE))
        outcome = await run.making.sandbox.run(tasks.task(argv, mounts=mounts), log)
        if not outcome.is_good:
            raise explain_install(outcome, base, run.making.part, run.making.masking)
        interpreters = (base.python, base.image_python or base.python)
        return await asyncio.to_thread(settle, tasks.folder / "out", site, run.making.masking, interpreters)


def _gather(folder: Path, made: Mapping[str, Path]) -> None:
    folder.mkdir(exist_ok=True)
    for path in made.values():
        shutil.copyfile(path, folder / path.name)


def _pylock(run: _Run) -> str:
    """The form of lock that names files, so that uv asks the index for nothing but these. JSON's texts are TOML's."""
    lines = ['lock-version = "1.0"', 'created-by = "palomar"']
    for pin in run.making.part.pins:
        lines += ["", "[[packages]]", f"name = {json.dumps(pin.name)}"]
        wheels = list(_wheels(run, pin))
        lines.append(f"wheels = [{', '.join(wheels)}]")
    return "\n".join(lines) + "\n"


def _wheels(run: _Run, pin: Pin) -> Iterable[str]:
    made = run.made.get(pin.name)
    if made:
        digest = hashlib.sha256(made.read_bytes()).hexdigest()
        yield _entry("path", f"{_MADE}/{made.name}", made.name, digest)
        return
    for file in pin.files:
        if file.is_wheel:
            yield _entry(*_source(run, file), file.name, file.sha256)


def _source(run: _Run, file: LockedFile) -> tuple[str, str]:
    if "://" not in file.url:
        return "path", f"{FIND_LINKS}/{file.name}"
    return "url", with_credentials(expand(file.url, run.making.part.build_env), run.making.indexes())


def _entry(kind: str, place: str, name: str, digest: str) -> str:
    return (
        f"{{ name = {json.dumps(name)}, {kind} = {json.dumps(place)}, hashes = {{ sha256 = {json.dumps(digest)} }} }}"
    )


@asynccontextmanager
async def _cache(rules: PackageRules, work: Path, *, is_shared: bool) -> AsyncIterator[Path]:
    """A cache of uv's: the hub's, or this build's own where addresses are not everybody's. uv finds wheels again by
    their address without its credentials, so a shared one would give a private file to whoever names its address.
    """
    folder = rules.cache / "uv" if is_shared else work / "uv-cache"
    lock = await asyncio.to_thread(_enter, folder, rules.max_cache_bytes)
    try:
        yield folder
    finally:
        os.close(lock)


def _enter(folder: Path, max_bytes: int) -> int:
    """Many may use it at once; whoever finds it too large while nobody does empties it."""
    folder.mkdir(parents=True, exist_ok=True)
    lock = os.open(folder.with_name(f"{folder.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        fcntl.flock(lock, fcntl.LOCK_SH)
        return lock
    if folder_usage(folder)[0] > max_bytes:
        shutil.rmtree(folder)
        folder.mkdir()
    if os.geteuid() == 0:
        os.chown(folder, UNPRIVILEGED_ID, UNPRIVILEGED_ID)
    fcntl.flock(lock, fcntl.LOCK_SH)
    return lock
