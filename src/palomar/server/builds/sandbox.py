"""Running a program where nothing of the hub is to be seen.

Bubblewrap gives it namespaces of its own (users, processes, network, mounts, ipc, host name), no capabilities, an empty
environment, the base image's files read-only as its root, and one folder, ``/build``, that it can write to. Its network
is empty but for loopback; where it may reach a package index, a unix socket is mounted (``egress.py``). A hub that runs
as root starts it as a user without rights (``inside/launch.py``).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import AsyncIterator, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from palomar.server.builds.builder import BuildFailure, Log
from palomar.server.builds.limits import Excess, SandboxLimits, Watch

#: Nobody's number: above those of users and below those that systemd gives away.
UNPRIVILEGED_ID: Final = 60_900
PROXY_PORT: Final = 8118
_INSIDE: Final = Path(__file__).parent / "inside"
_OWN_FOLDERS: Final = frozenset({"build", "dev", "proc", "run", "sys", "tmp"})
_MAX_LINE: Final = 2000
_MAX_LINES: Final = 5000
_TAIL: Final = 400
_DENIED: Final = (
    "The hub cannot isolate builds on this machine: {0} User namespaces must be allowed "
    "(sysctl kernel.unprivileged_userns_clone=1, or kernel.apparmor_restrict_unprivileged_userns=0; in a container, a "
    "seccomp profile and unmasked /proc that permit them)."
)
_MISSING: Final = "The hub has no bubblewrap (the program 'bwrap'), so nothing that runs a package's code can be built."


@dataclass(frozen=True, slots=True)
class Mount:
    source: Path
    target: str
    writable: bool = False


@dataclass(frozen=True, slots=True)
class Outcome:
    """``output`` is the last lines of both streams; ``excess`` the limit for which it was ended."""

    exit_code: int
    output: tuple[str, ...]
    excess: Excess | None = None

    @property
    def is_good(self) -> bool:
        return self.exit_code == 0 and self.excess is None


@dataclass(frozen=True, slots=True)
class Task:
    """``socket`` is that of an egress proxy; without it there is no network at all."""

    argv: tuple[str, ...]
    folder: Path
    mounts: tuple[Mount, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    socket: Path | None = None


@dataclass(frozen=True, slots=True)
class Sandbox:
    """``python`` is the path of the interpreter within ``rootfs``."""

    bwrap: Path
    rootfs: Path
    python: str
    limits: SandboxLimits

    async def run(self, task: Task, log: Log) -> Outcome:
        """Every process is gone when this returns or is cancelled.

        Raises:
            BuildFailure: The machine does not allow sandboxes.
        """
        process = await self._start(task)
        try:
            outcome = await _follow(process, Watch(self.limits, task.folder, process.pid), log)
        finally:
            await _end(process)
        # Its complaint is all there is: nothing else has run.
        if outcome.exit_code == 1 and len(outcome.output) == 1 and outcome.output[0].startswith("bwrap: "):
            raise BuildFailure(complaint(outcome.output[0]), is_hubs_fault=True)
        return outcome

    async def _start(self, task: Task) -> asyncio.subprocess.Process:
        await asyncio.to_thread(_give_away, task.folder)
        sources, argv = _command(self, task)
        process = await asyncio.create_subprocess_exec(
            *_as_unprivileged(sources, argv),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            limit=65536,
            # Nothing of the hub's environment, not even to the program that builds the walls.
            env={"PATH": "/usr/bin:/bin"},
            start_new_session=True,
        )
        if process.stdin:
            process.stdin.write(_order(self, task))
            process.stdin.close()
        return process


# An argument is a text, or a source by its number and a path below it: where a source lies is known only when it has
# been mounted for the user that the sandbox runs as.
_Argument = str | tuple[int, str]


def _command(sandbox: Sandbox, task: Task) -> tuple[list[Path], list[_Argument]]:
    sources = [sandbox.rootfs]
    argv: list[_Argument] = [str(sandbox.bwrap), *_WALLS]
    argv += _root(sandbox.rootfs)
    argv += ["--proc", "/proc", "--dev", "/dev", "--size", str(64 * 1024**2), "--tmpfs", "/dev/shm"]  # noqa: S108 - inside
    argv += ["--size", str(256 * 1024**2), "--tmpfs", "/tmp", "--dir", "/run/palomar"]  # noqa: S108 - inside
    for mount in _mounts(task):
        sources.append(mount.source)
        argv += ["--bind" if mount.writable else "--ro-bind", (len(sources) - 1, ""), mount.target]
    argv += ["--remount-ro", "/dev", "--remount-ro", "/", "--chdir", "/build"]
    return sources, [*argv, "--", sandbox.python, "-I", "-S", "/run/palomar/first.py"]


_WALLS: Final = (
    *("--unshare-all", "--unshare-user", "--disable-userns", "--cap-drop", "ALL"),
    *("--uid", "1000", "--gid", "1000", "--hostname", "build"),
    *("--die-with-parent", "--new-session", "--clearenv"),
)


def _root(rootfs: Path) -> Iterable[_Argument]:
    """The image's top folders one by one: its root may lack the places where ours are mounted."""
    for entry in sorted(rootfs.iterdir()):
        if entry.name in _OWN_FOLDERS:
            continue
        if entry.is_symlink():
            yield from ("--symlink", str(entry.readlink()), f"/{entry.name}")
        elif entry.is_dir():
            yield from ("--ro-bind", (0, f"/{entry.name}"), f"/{entry.name}")


def _mounts(task: Task) -> Iterable[Mount]:
    yield Mount(task.folder, "/build", writable=True)
    yield Mount(_INSIDE / "first.py", "/run/palomar/first.py")
    if task.socket:
        yield Mount(task.socket, "/run/palomar/egress.sock")
    yield from task.mounts


def _environment(task: Task) -> dict[str, str]:
    """The values are what makes equal inputs give equal bytes: no random hashes, no clock, no compiled files."""
    proxy = f"http://127.0.0.1:{PROXY_PORT}"
    proxies = {"HTTP_PROXY": proxy, "HTTPS_PROXY": proxy, "http_proxy": proxy, "https_proxy": proxy}
    return {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "HOME": "/build/home",
        "TMPDIR": "/build/tmp",
        "LANG": "C.UTF-8",
        "TZ": "UTC",
        "SOURCE_DATE_EPOCH": "315532800",
        "PYTHONHASHSEED": "0",
        "PYTHONDONTWRITEBYTECODE": "1",
        **(proxies if task.socket else {}),
        **task.environment,
    }


def _order(sandbox: Sandbox, task: Task) -> bytes:
    order: dict[str, object] = {
        "argv": task.argv,
        "limits": sandbox.limits.kernel_limits(),
        "environment": _environment(task),
    }
    if task.socket:
        order |= {"port": PROXY_PORT, "socket": "/run/palomar/egress.sock"}
    return json.dumps(order).encode()


def _give_away(folder: Path) -> None:
    """The folder that the sandbox writes to, with what it finds there."""
    for name in ("home", "tmp"):
        (folder / name).mkdir(exist_ok=True)
    if os.geteuid() != 0:
        return
    for parent, _, files in os.walk(folder):
        os.chown(parent, UNPRIVILEGED_ID, UNPRIVILEGED_ID)
        for name in files:
            os.chown(Path(parent, name), UNPRIVILEGED_ID, UNPRIVILEGED_ID, follow_symlinks=False)


def _as_unprivileged(sources: list[Path], argv: list[_Argument]) -> list[str]:
    if os.geteuid() != 0:
        return [item if isinstance(item, str) else f"{sources[item[0]]}{item[1]}" for item in argv]
    order = {"uid": UNPRIVILEGED_ID, "sources": [str(source) for source in sources], "argv": argv}
    return [sys.executable, "-I", "-S", str(_INSIDE / "launch.py"), json.dumps(order)]


async def _follow(process: asyncio.subprocess.Process, watch: Watch, log: Log) -> Outcome:
    tail: list[str] = []
    reading = asyncio.create_task(_read(process, tail, log))
    watching = asyncio.create_task(watch.excess())
    try:
        await asyncio.wait({reading, watching}, return_when=asyncio.FIRST_COMPLETED)
        if reading.done():
            reading.result()
            return Outcome(await process.wait(), tuple(tail))
        return Outcome(-9, tuple(tail), watching.result())
    finally:
        for task in (reading, watching):
            task.cancel()
        await asyncio.gather(reading, watching, return_exceptions=True)


async def _read(process: asyncio.subprocess.Process, tail: list[str], log: Log) -> None:
    """Lines of any length and number, of which the log gets so many and the end is kept."""
    stream = process.stdout
    if stream is None:
        return
    lines = 0
    async for text in _lines(stream):
        lines += 1
        if lines <= _MAX_LINES:
            log(text)
        elif lines == _MAX_LINES + 1:
            log("... and more lines than are kept")
        tail.append(text)
        del tail[:-_TAIL]


async def _lines(stream: asyncio.StreamReader) -> AsyncIterator[str]:
    rest = b""
    while block := await stream.read(65536):
        *whole, rest = (rest + block).split(b"\n")
        for line in whole:
            yield _text(line)
        rest = rest[:_MAX_LINE]
    if rest:
        yield _text(rest)


def _text(line: bytes) -> str:
    text = line[:_MAX_LINE].decode(errors="replace")
    return "".join(character if character.isprintable() or character == "\t" else "" for character in text).rstrip()


async def _end(process: asyncio.subprocess.Process) -> None:
    """Killing bubblewrap ends the first process of its namespace, and the kernel all others with that."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
    await asyncio.shield(process.wait())


def complaint(line: str) -> str:
    """One of bubblewrap's own lines, as a sentence for the operator."""
    reason = line.removeprefix("bwrap: ").strip().rstrip(".")
    if "--disable-userns" in reason or "Unknown option" in reason:
        return f"The hub cannot isolate builds: its bubblewrap is older than 0.8 ({reason})."
    return _DENIED.format(f"{reason}.")


async def find_trouble(bwrap: Path | None) -> str | None:
    """Why this machine cannot isolate builds, or None."""
    if bwrap is None:
        return _MISSING
    # The machine's own files, to see whether it is allowed at all.
    argv: list[_Argument] = [str(bwrap), *_WALLS, "--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev", "true"]
    process = await asyncio.create_subprocess_exec(
        *_as_unprivileged([], argv),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={"PATH": "/usr/bin:/bin"},
    )
    output, _ = await process.communicate()
    if process.returncode == 0:
        return None
    return complaint(output.decode(errors="replace").strip().rpartition("\n")[2])
