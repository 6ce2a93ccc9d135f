"""The two builders that are compared: a hub with a base image and a folder of wheels, and buildah with the same."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.hub import Caller
from benchmarks.peers import tool
from benchmarks.rows import NotMeasurable
from tools.debian_base import NAME, BaseMissing, base_layout
from tools.engine import Engine
from tools.live_hub import LiveHub
from tools.old_clients import CACHE, locked

#: What a hub adds to a package of a client of this generation.
RUNTIME = ("jina==3.34.0", "docarray==0.21.0", "numpy<2", "setuptools<81", "opentelemetry-instrumentation>=0.33b0")
_WHEELS_OF = (*RUNTIME, "scikit-learn", "tqdm")
_PYTHON = "3.11"
_ADD_S = 300
_INSTALL = """RUN /tools/uv pip install --quiet --offline --no-cache --no-index --find-links /wheels \\
  --python /usr/bin/python3 --target /opt/palomar/site-packages {runtime} -r requirements.txt"""
_START = """ENV PYTHONPATH=/opt/palomar/site-packages
ENTRYPOINT ["/usr/bin/python3", "/opt/palomar/site-packages/bin/jina", "executor", "--uses", "config.yml"]
"""
_FROM = "FROM {base}\nWORKDIR /workspace\n"
#: Layers are cached as well as they can be.
CAREFUL = f"{_FROM}COPY requirements.txt /workspace/\n{_INSTALL}\nCOPY . /workspace\n{_START}"
#: Everything is copied, then installed: as the former service generated it.
PLAIN = f"{_FROM}COPY . /workspace\n{_INSTALL}\n{_START}"


def layout() -> Path:
    try:
        return base_layout()
    except BaseMissing as error:
        raise NotMeasurable(str(error)) from None


def wheels() -> Path:
    """All that is installed in these benchmarks, fetched and built once, so that no index is measured."""
    folder = CACHE / "bench-wheels"
    with locked(CACHE / "bench-wheels.lock"):
        if not folder.exists():
            _fetch_wheels(folder)
    return folder


def _fetch_wheels(folder: Path) -> None:
    unfinished = folder.with_name(f"{folder.name}.tmp")
    shutil.rmtree(unfinished, ignore_errors=True)
    command = [_uv(), "--quiet", "tool", "run", "--python", _PYTHON, "pip", "wheel", "--quiet", "--wheel-dir"]
    done = subprocess.run([*command, str(unfinished), *_WHEELS_OF], capture_output=True, text=True, check=False)
    if done.returncode:
        raise NotMeasurable(f"the wheels could not be made: {done.stderr.strip()[-500:]}")
    unfinished.rename(folder)


def _uv() -> str:
    return str(Path(sys.executable).parent / "uv")


@contextmanager
def building_hub(folder: Path) -> Iterator[Caller]:
    """A hub with the base image that builds from the folder of wheels, and alice's account."""
    tool("bwrap")
    live = LiveHub(folder, PALOMAR_BUILD_FIND_LINKS=str(wheels()))
    try:
        live.start()
        live.admin("base-add", str(layout()), "--name", NAME, timeout_s=_ADD_S)
        yield Caller(live, "alice", live.add_user("alice"))
    finally:
        live.kill()


class Buildah:
    """buildah with cached layers, on an engine's storage; the base is there before anything is measured."""

    def __init__(self, engine: Engine, folder: Path) -> None:
        tool("buildah")
        self._engine = engine
        self._tools = folder / "tools"
        self._tools.mkdir(parents=True)
        shutil.copy(_uv(), self._tools / "uv")
        copied = ["skopeo", "copy", "--quiet", f"oci:{layout()}", f"containers-storage:localhost/{NAME}"]
        tool("skopeo")
        self._run(*copied)

    def build(self, package: Path, recipe: str = CAREFUL) -> None:
        """An image of the package's folder, in local storage alone; nothing is pushed anywhere."""
        dockerfile = self._tools / "Dockerfile"
        runtime = " ".join(f"'{line}'" for line in RUNTIME)
        dockerfile.write_text(recipe.format(base=f"localhost/{NAME}", runtime=runtime))
        options = ["--quiet", "--layers", "--isolation", "chroot", "--file", str(dockerfile)]
        volumes = [f"--volume={wheels()}:/wheels:ro", f"--volume={self._tools}:/tools:ro"]
        self._run("buildah", "bud", *options, *volumes, "--tag", "localhost/bench", str(package))

    def _run(self, *command: str) -> None:
        done = self._engine.run(*command, timeout_s=1800)
        if done.exit_code:
            raise NotMeasurable(f"{' '.join(command[:2])} failed: {(done.stderr + done.stdout).strip()[-800:]}")
