"""From what a package asks for to exact versions, jointly with jina, docarray and the default constraints.

Nothing is shared with other builds here: finding out what a source distribution needs runs its code beside uv.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Final

from palomar.server.builds.builder import BuildFailure, Log
from palomar.server.builds.explain import Circumstances, explain
from palomar.server.builds.lock import Lock, LockUnreadable, Pin, read_pins
from palomar.server.builds.masking import Masking
from palomar.server.builds.package_index import with_hosts
from palomar.server.builds.package_rules import PackageRules
from palomar.server.builds.partition import closure, roots
from palomar.server.builds.python_base import PythonBase, sandbox_for
from palomar.server.builds.sandbox import Sandbox
from palomar.server.builds.uv_task import UV, UvTasks, uv_tasks
from palomar.server.builds.wanted import VARIABLE_PREFIX, Prepared, Wanted, named, prepare

_REQUIREMENTS: Final = "requirements.txt"
_LOCK: Final = "lock.txt"
_PYLOCK: Final = "pylock.toml"
_MAX_LOCK_BYTES: Final = 16 * 1024**2


async def resolve(base: PythonBase, wanted: Wanted, rules: PackageRules, log: Log, *, work: Path) -> Lock:
    """``work`` is a folder of this build alone; what is left in it is of no use to anybody.

    Raises:
        BuildFailure: There is no solution, a line is refused, a limit was passed, the index is away, or the hub cannot
            isolate builds.
    """
    rules = await with_hosts(rules)
    prepared = prepare(wanted, rules)
    masking = Masking({**wanted.build_env, **rules.secrets()})
    sandbox = await sandbox_for(base, rules)
    async with uv_tasks(rules, work, "resolve") as tasks:
        pins = await _compile(_Resolution(base, wanted, prepared, sandbox, tasks, masking), masking.hiding(log))
        text = await asyncio.to_thread(read_left, tasks.folder / _LOCK)
    text = masking.hide_urls(text.replace(VARIABLE_PREFIX, ""))
    runtime = closure(pins, roots(prepared.runtime))
    return Lock(
        text,
        pins,
        runtime,
        prepared.is_shareable,
        prepared.build_constraints,
        prepared.asked_by_name(),
        prepared.indexes,
    )


class _Resolution:
    """What the two runs of uv share."""

    def __init__(
        self,
        base: PythonBase,
        wanted: Wanted,
        prepared: Prepared,
        sandbox: Sandbox,
        tasks: UvTasks,
        masking: Masking,
    ) -> None:
        self.prepared = prepared
        self.base = base
        self.sandbox = sandbox
        self.tasks = tasks
        self.masking = masking
        self.circumstances = Circumstances(base, wanted.jina, wanted.docarray, prepared, tasks.refused)

    def argv(self, output: str, *more: str) -> tuple[str, ...]:
        prereleases = "allow" if self.prepared.allows_prereleases else "if-necessary-or-explicit"
        return (
            *(UV, "pip", "compile", _REQUIREMENTS, "--constraints", "constraints.txt"),
            *("--build-constraints", "build-constraints.txt", "--python", self.sandbox.python),
            *("--prerelease", prereleases, "--generate-hashes", "--no-header", "--cache-dir", "/build/cache"),
            *("--index-strategy", "unsafe-best-match", "--output-file", output, "--quiet"),
            *(*self.base.uv_target(), *more),
        )


async def _compile(work: _Resolution, log: Log) -> tuple[Pin, ...]:
    folder = work.tasks.folder
    _write(folder, work.prepared)
    await _run(work, work.argv(_LOCK), log)
    # The same once more from the cache alone, in the form that says which files there are.
    await _run(work, work.argv(_PYLOCK, "--format", "pylock.toml", "--constraints", _LOCK, "--offline"), log)
    try:
        texts = [await asyncio.to_thread(read_left, folder / name) for name in (_LOCK, _PYLOCK)]
        pins = read_pins(*texts)
    except LockUnreadable as error:
        raise BuildFailure(
            f"The resolution left no readable lock: {work.masking.hide(str(error))}.",
            "A source distribution among the requirements may have spoilt it.",
        ) from error
    return tuple(_as_hashed(pin, work.prepared) for pin in pins)


async def _run(work: _Resolution, argv: tuple[str, ...], log: Log) -> None:
    outcome = await work.sandbox.run(work.tasks.task(argv, environment=work.prepared.environment), log)
    if not outcome.is_good:
        output = [work.masking.hide(line) for line in outcome.output]
        raise explain(replace(outcome, output=tuple(output)), work.circumstances)


def _write(folder: Path, prepared: Prepared) -> None:
    (folder / _REQUIREMENTS).write_text(prepared.text())
    (folder / "constraints.txt").write_text("".join(f"{line}\n" for line in prepared.constraints))
    (folder / "build-constraints.txt").write_text("".join(f"{line}\n" for line in prepared.build_constraints))


def read_left(path: Path) -> str:
    """A file that a sandbox left. It may be anything: a link to a file of the hub's, a pipe, a terabyte of nothing."""
    if path.is_symlink() or not path.is_file() or path.stat().st_size > _MAX_LOCK_BYTES:
        raise LockUnreadable(f"{path.name} is missing")
    try:
        return path.read_text()
    except ValueError as error:
        raise LockUnreadable(f"{path.name} is no text") from error


def _as_hashed(pin: Pin, prepared: Prepared) -> Pin:
    """Where a line names hashes, only those files count: uv writes what the index says."""
    for asked in prepared.asked:
        if asked.name == pin.name and asked.hashes:
            files = tuple(file for file in pin.files if f"sha256:{file.sha256}" in asked.hashes)
            if not files:
                raise BuildFailure(
                    f"{named(asked.source)}: no file of {pin.name} {pin.version} has a hash that the line names.",
                    "Take the hashes of the version that is wanted from the index, or remove them.",
                )
            return replace(pin, files=files, hashes=asked.hashes)
    return pin
