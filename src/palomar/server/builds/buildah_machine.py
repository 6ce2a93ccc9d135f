"""Running buildah where nothing of the hub is to be seen: in bubblewrap, with the system's programs and one folder.

Buildah isolates the commands of a Dockerfile by chroot alone, and a root in a chroot gets out of it. What it finds
outside is then a system without devices, without other processes, without the hub's data, and (unless the operator
wants it otherwise) without a network.

It works for a hub that runs as root alone. In a user namespace with one user, which is what bubblewrap makes for
anybody else, the kernel refuses the groups that buildah sets for every command.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from palomar.server.builds.builder import BuildFailure, Log
from palomar.server.builds.limits import SandboxLimits, Watch

_PLACE: Final = "/w"
_MERGED: Final = ("bin", "sbin", "lib", "lib32", "lib64")
# Who users are, and what a pull from another registry needs.
_ETC: Final = ("passwd", "group", "nsswitch.conf", "resolv.conf", "hosts", "ssl", "pki", "ca-certificates")
_TAIL: Final = 20
_ANY_IMAGE: Final = '{"default":[{"type":"insecureAcceptAnything"}]}'
_FILES: Final = {
    "containers.conf": '[containers]\ndefault_ulimits = ["nofile=4096:4096", "nproc=4096:4096"]\n',
    "registries.conf": 'unqualified-search-registries = ["docker.io"]\nshort-name-mode = "permissive"\n',
    "policy.json": _ANY_IMAGE,
    "storage.conf": (f'[storage]\ndriver = "vfs"\ngraphroot = "{_PLACE}/storage"\nrunroot = "{_PLACE}/run"\n'),
}
_OWN: Final = {
    "PATH": "/usr/sbin:/usr/bin",
    "HOME": f"{_PLACE}/home",
    "TMPDIR": f"{_PLACE}/tmp",  # noqa: S108 - inside
    "CONTAINERS_CONF": f"{_PLACE}/etc/containers.conf",
    "CONTAINERS_REGISTRIES_CONF": f"{_PLACE}/etc/registries.conf",
    "CONTAINERS_STORAGE_CONF": f"{_PLACE}/etc/storage.conf",
}
_MISSING: Final = "this hub has no {}, which images of Dockerfiles are built with"
_EXCESS: Final = {
    "memory": "it used more memory than the {memory:,} bytes that this hub allows",
    "disk": "it used more disk than the {disk:,} bytes that this hub allows",
    "processes": "it started more processes than this hub allows",
    "time": "it took longer than this hub allows",
}


@dataclass(frozen=True, slots=True)
class Buildah:
    """``place`` is a folder of one build alone, called ``/w`` inside; no process is left when a call returns."""

    place: Path
    limits: SandboxLimits

    def prepare(self) -> None:
        """Raises BuildFailure where the hub is not root, or the machine lacks a program."""
        if os.geteuid() != 0:
            hint = "Leave the Dockerfile out, or ask the operator to run a worker as root."
            raise BuildFailure(
                "images of Dockerfiles are built by a hub that runs as root alone", hint, is_hubs_fault=True
            )
        for program in ("buildah", "bwrap"):
            if shutil.which(program) is None:
                raise BuildFailure(_MISSING.format(program), "Ask its operator to install it.", is_hubs_fault=True)
        for name in ("home", "tmp", "run", "etc"):
            (self.place / name).mkdir(parents=True, exist_ok=True)
        for name, text in _FILES.items():
            (self.place / "etc" / name).write_text(text)

    async def run(
        self,
        *arguments: str,
        log: Log,
        environment: Mapping[str, str] | None = None,
        has_network: bool = False,
    ) -> list[str]:
        """The last lines that it said. Raises BuildFailure with them when it fails."""
        walls = _walls(self.place, has_network=has_network)
        async with _started(walls, environment or {}, ("buildah", *arguments)) as process:
            tail, excess = await self._followed(process, log)
        if excess is not None:
            words = _EXCESS[excess].format(memory=self.limits.memory_bytes, disk=self.limits.disk_bytes)
            raise BuildFailure(words, "Make it smaller, or ask the hub's operator for more.")
        if process.returncode != 0:
            raise BuildFailure(_sentence(tail), "The log says more; a Dockerfile is built here as 'buildah bud' would.")
        return tail

    async def _followed(self, process: asyncio.subprocess.Process, log: Log) -> tuple[list[str], str | None]:
        reading = asyncio.create_task(_read(process, log))
        watching = asyncio.create_task(Watch(self.limits, self.place, process.pid).excess())
        try:
            await asyncio.wait({reading, watching}, return_when=asyncio.FIRST_COMPLETED)
            if reading.done():
                await process.wait()
                return reading.result(), None
            return [], watching.result()
        finally:
            for task in (reading, watching):
                task.cancel()
            await asyncio.gather(reading, watching, return_exceptions=True)


@asynccontextmanager
async def _started(
    walls: Sequence[str], environment: Mapping[str, str], command: Sequence[str]
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Killed with everything it started: the first process of a pid namespace takes all others with it."""
    told = _options(environment)
    try:
        process = await asyncio.create_subprocess_exec(
            *(*walls, "--args", str(told), "--", *command),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
            pass_fds=(told,),
            start_new_session=True,
        )
    finally:
        os.close(told)
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await asyncio.shield(process.wait())


def _options(environment: Mapping[str, str]) -> int:
    """A file of options for bubblewrap, since everybody on the machine can read arguments.

    Names come from a push, so they are set inside of the walls alone, and ours after them.
    """
    if any("\0" in text for pair in environment.items() for text in pair):
        # It ends a word there, and what follows would be an option.
        raise BuildFailure("a value of --build-env has a NUL character")
    words = [word for name, value in (*environment.items(), *_OWN.items()) for word in ("--setenv", name, value)]
    descriptor = os.memfd_create("options", os.MFD_CLOEXEC)
    os.write(descriptor, b"".join(word.encode() + b"\0" for word in words))
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


async def _read(process: asyncio.subprocess.Process, log: Log) -> list[str]:
    assert process.stdout is not None  # noqa: S101 -- a pipe was asked for
    tail: list[str] = []
    rest = b""
    while block := await process.stdout.read(1 << 16):
        *lines, rest = (rest + block).split(b"\n")
        rest = rest[-10_000:]
        for line in lines:
            _note(line, tail, log)
    _note(rest, tail, log)
    return tail


def _note(line: bytes, tail: list[str], log: Log) -> None:
    text = line.decode(errors="replace").strip()
    if text:
        log(text)
        tail.append(text)
        del tail[:-_TAIL]


def _sentence(tail: Sequence[str]) -> str:
    errors = [line for line in tail if line.lower().startswith("error")]
    said = (errors or list(tail) or ["it said nothing"])[-1]
    return f"the Dockerfile could not be built: {said[:500]}"


def _walls(place: Path, *, has_network: bool) -> list[str]:
    walls = ["bwrap", "--ro-bind", "/usr", "/usr", *_merged(), *_etc()]
    walls += ["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/sys", "--tmpfs", "/tmp", "--tmpfs", "/run"]  # noqa: S108 - inside
    walls += ["--bind", str(place), _PLACE, "--chdir", _PLACE, "--cap-add", "ALL"]
    walls += ["--unshare-pid", "--unshare-ipc", "--unshare-uts", "--die-with-parent", "--new-session"]
    if not has_network:
        walls.append("--unshare-net")
    return walls


def _merged() -> list[str]:
    """Of a system where /bin is /usr/bin, a link; of another one, the folder."""
    words: list[str] = []
    for name in _MERGED:
        path = Path("/", name)
        if path.is_symlink():
            words += ["--symlink", f"usr/{name}", f"/{name}"]
        elif path.is_dir():
            words += ["--ro-bind", str(path), str(path)]
    return words


def _etc() -> list[str]:
    there = [Path("/etc", name) for name in _ETC if Path("/etc", name).exists()]
    return [word for path in there for word in ("--ro-bind", str(path), str(path))]
