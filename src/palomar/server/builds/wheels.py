"""Wheels of packages that are published as source alone: each built by itself, once.

Building runs the package's code. It happens in a sandbox that holds this one source, whose digest was checked outside,
and whatever it says it is built with, from the hub's own index. So the wheel can be the work of nobody but that package
(and its own build requirements), and is kept under the source's digest for all builds on the same base. What came from
elsewhere than the hub's index is kept for this build alone: to know a digest must not be enough to get a private file.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename
from packaging.version import Version

from palomar.contract.errors import shorten
from palomar.server.builds.builder import BuildFailure, Log
from palomar.server.builds.credentials import expand, with_credentials
from palomar.server.builds.explain import BuildSubject, explain_build
from palomar.server.builds.explain_failures import must_be_compiled
from palomar.server.builds.lock import LockedFile, LockPart, Pin
from palomar.server.builds.masking import Masking
from palomar.server.builds.package_rules import PackageRules
from palomar.server.builds.python_base import PythonBase
from palomar.server.builds.sandbox import Mount, Sandbox
from palomar.server.builds.uv_task import UV, UvTasks, uv_tasks

#: Part of every key: another number makes all that was built before be built again.
_FORMAT: Final = "1"
_FETCH: Final = Path(__file__).parent / "inside" / "fetch.py"
_MAX_WHEEL_BYTES: Final = 4 * 1024**3


@dataclass(frozen=True, slots=True)
class WheelMaking:
    """What all builds of one installation share. ``kept`` is where wheels of everybody's are, or None."""

    base: PythonBase
    rules: PackageRules
    sandbox: Sandbox
    work: Path
    part: LockPart
    masking: Masking
    kept: Path | None

    def indexes(self) -> list[str]:
        """Those that may hold credentials, the hub's own last."""
        own = [self.rules.index_url] if self.rules.index_url else []
        return [*(expand(index, self.part.build_env) for index in self.part.indexes), *own]


async def make_wheels(making: WheelMaking, pins: Iterable[Pin], log: Log) -> dict[str, Path]:
    """A wheel for each pin that has none, by the pin's name.

    Raises:
        BuildFailure: One cannot be fetched or built.
    """
    found: dict[str, Path] = {}
    for pin in pins:
        if pin.is_source:
            found[pin.name] = await _wheel(making, pin, log)
    return found


async def _wheel(making: WheelMaking, pin: Pin, log: Log) -> Path:
    place = _place(making, pin)
    if place and (known := _only_wheel(place, pin)):
        log(f"{pin.name} {pin.version}: built before")
        return known
    log(f"{pin.name} {pin.version}: building from source")
    async with uv_tasks(making.rules, making.work, f"wheel-{pin.name}") as tasks:
        await _fetch(making, pin, tasks, log)
        await _build(making, pin, tasks, log)
        return await asyncio.to_thread(_take, making, pin, tasks.folder / "out", place)


def _place(making: WheelMaking, pin: Pin) -> Path | None:
    if making.kept is None or pin.url or not pin.files:
        return None
    base = making.base
    inputs = [
        *(_FORMAT, pin.files[0].sha256, base.version, base.python, base.platform, base.libc, base.rootfs.name),
        *making.part.build_constraints,
    ]
    return making.kept / hashlib.sha256(json.dumps(inputs).encode()).hexdigest()


def _only_wheel(folder: Path, pin: Pin) -> Path | None:
    found = [path for path in folder.glob("*.whl") if _is_of(path, pin)] if folder.is_dir() else []
    if len(found) != 1 or found[0].is_symlink() or not found[0].is_file():
        return None
    return found[0] if found[0].stat().st_size <= _MAX_WHEEL_BYTES else None


def _is_of(path: Path, pin: Pin) -> bool:
    try:
        name, version, _, _ = parse_wheel_filename(path.name)
    except InvalidWheelFilename:
        return False
    return canonicalize_name(name) == pin.name and (pin.version == "0" or version == Version(pin.version))


def _is_pure(wheel: Path) -> bool:
    """Whether it is for any platform: what was compiled here is for this one."""
    return all(tag.platform == "any" for tag in parse_wheel_filename(wheel.name)[3])


async def _fetch(making: WheelMaking, pin: Pin, tasks: UvTasks, log: Log) -> None:
    file = pin.files[0] if pin.files else None
    address = _address(making, pin, file)
    target = "/build/source" if address.startswith("git+") or not file else f"/build/source/{file.name}"
    if "://" not in address:
        await asyncio.to_thread(_copy_in, making.rules, address, tasks.folder)
    else:
        argv = (making.base.python, "-I", "/run/palomar/fetch.py", address, target)
        task = tasks.task(argv, mounts=(Mount(_FETCH, "/run/palomar/fetch.py"),))
        outcome = await making.sandbox.run(task, log)
        if not outcome.is_good:
            raise explain_build(outcome, _subject(making, pin, tasks))
    if file and not address.startswith("git+"):
        await asyncio.to_thread(_check_digest, tasks.folder / "source" / file.name, pin, file)


def _copy_in(rules: PackageRules, name: str, folder: Path) -> None:
    if rules.find_links is None:
        raise BuildFailure(f"{shorten(name)} is in no place that this hub knows.")
    (folder / "source").mkdir()
    shutil.copyfile(rules.find_links / Path(name).name, folder / "source" / Path(name).name)


def _address(making: WheelMaking, pin: Pin, file: LockedFile | None) -> str:
    address = expand(pin.url or (file.url if file else ""), making.part.build_env)
    return with_credentials(address, making.indexes())


def _check_digest(path: Path, pin: Pin, file: LockedFile) -> None:
    digest = ""
    if path.is_file() and not path.is_symlink():
        with path.open("rb") as opened:
            digest = hashlib.file_digest(opened, "sha256").hexdigest()
    if digest != file.sha256:
        raise BuildFailure(
            f"The source of {pin.name} {pin.version} does not have the hash that the index gave for it.",
            "Try again; if it stays so, the index or a proxy before it serves another file under this name.",
        )


async def _build(making: WheelMaking, pin: Pin, tasks: UvTasks, log: Log) -> None:
    folder = tasks.folder
    (folder / "build-constraints.txt").write_text("".join(f"{line}\n" for line in making.part.build_constraints))
    source = "/build/source" if _is_tree(folder / "source") else f"/build/source/{pin.files[0].name}"
    argv = (
        *(UV, "build", "--wheel", "--out-dir", "/build/out", "--cache-dir", "/build/cache"),
        *("--build-constraints", "/build/build-constraints.txt", "--python", making.base.python, source),
    )
    outcome = await making.sandbox.run(tasks.task(argv), log)
    if not outcome.is_good:
        raise explain_build(outcome, _subject(making, pin, tasks))


def _is_tree(folder: Path) -> bool:
    return (folder / "pyproject.toml").is_file() or (folder / "setup.py").is_file()


def _take(making: WheelMaking, pin: Pin, out: Path, place: Path | None) -> Path:
    """The one wheel that was built, out of the sandbox's reach."""
    built = None if out.is_symlink() else _only_wheel(out, pin)
    if built is None:
        raise BuildFailure(
            f"Building {pin.name} {pin.version} from source did not leave a wheel of that name and version.",
            "Its metadata changes while it is built; choose another version.",
        )
    if making.base.is_foreign and not _is_pure(built):
        raise must_be_compiled(making.base, f"{pin.name} {pin.version}", making.part.asked.get(pin.name))
    kept = place or making.work / "wheels" / pin.name
    kept.parent.mkdir(parents=True, exist_ok=True)
    fresh = kept.with_name(f"{kept.name}.{os.getpid()}.{id(built)}")
    fresh.mkdir()
    shutil.copyfile(built, fresh / built.name)
    try:
        fresh.rename(kept)
    except OSError:
        # Another build was faster, with the same inputs.
        shutil.rmtree(fresh)
    return kept / built.name


def _subject(making: WheelMaking, pin: Pin, tasks: UvTasks) -> BuildSubject:
    return BuildSubject(
        making.base, pin.name, pin.version, making.part.asked.get(pin.name), tuple(tasks.refused), making.masking
    )
