"""The old clients, unmodified, each generation in an environment of its own: for tests, the demo and benchmarks.

They need packages that Palomar does not want, so they live outside the checkout, in ``~/.cache/palomar-tests``; what is
missing there is made with uv when somebody first asks.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

GENERATIONS: dict[str, tuple[str, ...]] = {
    "d018": ("docarray==0.18.0", "numpy<2", "protobuf<5", "setuptools<81"),
    "d021": ("jina==3.34.0", "docarray==0.21.0", "numpy<2", "setuptools<81", "scikit-learn", "pillow"),
    "d038": ("jina==3.34.0", "docarray==0.38.0", "setuptools<81"),
    "oras": ("oras==0.2.43",),  # not old, but another one that lives by itself
}
CACHE = Path.home() / ".cache" / "palomar-tests"
STAMP = "palomar-requirements.txt"


class OldClientsMissing(RuntimeError):
    """An environment could not be made."""


@dataclass(frozen=True, slots=True)
class ClientRun:
    exit_code: int
    stdout: str
    stderr: str


@dataclass(frozen=True, slots=True)
class OldClient:
    """One generation; ``home`` holds its cache and what it remembers of logins."""

    python: Path
    home: Path

    def run(
        self, script: str, *arguments: str, registry: str, token: str | None = None, timeout_s: float = 300
    ) -> ClientRun:
        """Runs a script with nothing set but the two variables of the old clients."""
        return self._run([str(self.python), "-c", script, *arguments], self.environ(registry, token), timeout_s)

    def command(
        self, name: str, *arguments: str, registry: str, token: str | None = None, timeout_s: float = 300
    ) -> ClientRun:
        """Runs a command that the packages installed, such as ``jina``."""
        command = [str(self.python.parent / name), *arguments]
        return self._run(command, self.environ(registry, token), timeout_s)

    def environ(self, registry: str, token: str | None = None) -> dict[str, str]:
        self.home.mkdir(parents=True, exist_ok=True)
        # Its own commands come first: logging in asks docker's configuration for a helper that must be found there.
        path = os.pathsep.join([str(self.python.parent), os.defpath])
        environ = {"HOME": str(self.home), "PATH": path, "LANG": "C.UTF-8", "JINA_HUBBLE_REGISTRY": registry}
        return environ if token is None else {**environ, "JINA_AUTH_TOKEN": token}

    def _run(self, command: list[str], environ: Mapping[str, str], timeout_s: float) -> ClientRun:
        done = subprocess.run(
            command,
            env=environ,
            cwd=self.home,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        return ClientRun(done.returncode, done.stdout, done.stderr)


def environment(generation: str, cache: Path = CACHE) -> Path:
    """The Python of an environment with these clients, made if need be. Raises OldClientsMissing."""
    folder = cache / generation
    with locked(cache / f"{generation}.lock"):
        if not _is_stamped(folder, generation):
            _make(folder, generation)
            (folder / STAMP).write_text(_stamp(generation))
    return _python(folder)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Processes that need the same environment stand in line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _python(folder: Path) -> Path:
    return folder / "bin" / "python"


def _stamp(generation: str) -> str:
    return "\n".join(GENERATIONS[generation]) + "\n"


def _is_stamped(folder: Path, generation: str) -> bool:
    stamp = folder / STAMP
    return _python(folder).exists() and stamp.exists() and stamp.read_text() == _stamp(generation)


def _make(folder: Path, generation: str) -> None:
    # The old packages stop at Python 3.11.
    _uv("venv", "--clear", "--python", "3.11", str(folder))
    # One of their dependencies has only ever been released as a preview.
    _uv("pip", "install", "--python", str(_python(folder)), "--prerelease=allow", *GENERATIONS[generation])


def _uv(*arguments: str) -> None:
    command = [str(Path(sys.executable).parent / "uv"), "--quiet", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise OldClientsMissing(f"the old clients could not be installed: {done.stderr.strip()}")
