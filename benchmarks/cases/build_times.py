"""From a package to its image, against buildah with the same package, base, wheels and installer.

The hub's time is that of the whole push: upload, checks, build, SBOM and provenance, image stored and tagged. That of
buildah ends with an image in its local storage. After a change of source it is measured twice: with the Dockerfile that
the former service generated for every package without one, which copies all and then installs, and with one that is
ordered for its cache, as a careful person writes it.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.building import CAREFUL, PLAIN, Buildah, building_hub
from benchmarks.clock import alternating, seconds_of
from benchmarks.hub import Caller
from benchmarks.packages import push_package
from benchmarks.rows import Bar, Benchmark, Context, NotMeasurable, Quantity, Row
from tools.engine import EngineMissing, running_engine

_NAME = "Builder"
_ROUNDS = 5
_FEW = 3
# At most a tenth of buildah's time.
_SOURCE_BAR = Bar(0.1, "ratio", "at most")
_LOCAL = "wheels from a local folder, no index; the ratio is of times: below 1 is faster"
_SOURCE = """from jina import Executor, requests


class {name}(Executor):
    # Change {change}
    @requests
    def encode(self, docs, **kwargs):
        return docs
"""


def measure(context: Context) -> Iterator[Row]:
    try:
        with running_engine() as engine, building_hub(context.folder / "hub") as alice:
            yield from _rows(context, alice, Buildah(engine, context.folder / "buildah"))
    except EngineMissing as error:
        raise NotMeasurable(str(error)) from None


def _rows(context: Context, alice: Caller, buildah: Buildah) -> Iterator[Row]:
    package = _Package(context.folder / "package")
    context.say("cold builds")
    ours, theirs = _both(alice, buildah, package)
    yield _row("cold build: both caches empty, the base image there", ours, theirs)
    context.say("source-only changes")
    changes = [_changed(package, lambda: _push(alice, package)), _changed(package, lambda: _bud(buildah, package))]
    ours, theirs = alternating(changes, rounds=_ROUNDS)
    yield _row("another source, the same requirements; buildah's Dockerfile is ordered for its cache", ours, theirs)
    ours, theirs = alternating([changes[0], _changed(package, lambda: _bud(buildah, package, PLAIN))], rounds=_FEW)
    yield _row("another source, the same requirements; the former service's Dockerfile", ours, theirs, _SOURCE_BAR)
    context.say("a requirement added")
    package.write_requirements("scikit-learn\ntqdm\n")
    ours, theirs = _both(alice, buildah, package)
    yield _row("a requirement added", ours, theirs)


class _Package:
    """A folder whose source can change again and again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._changes = 0
        folder.mkdir()
        (folder / "config.yml").write_text(f"jtype: {_NAME}\npy_modules: [executor.py]\nmetas: {{name: {_NAME}}}\n")
        self.write_requirements("scikit-learn\n")
        self.change()

    def change(self) -> None:
        self._changes += 1
        (self.folder / "executor.py").write_text(_SOURCE.format(name=_NAME, change=self._changes))

    def write_requirements(self, text: str) -> None:
        (self.folder / "requirements.txt").write_text(text)

    def zipped(self) -> bytes:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
            for path in sorted(self.folder.iterdir()):
                archive.write(path, path.name)
        return buffer.getvalue()


def _changed(package: _Package, build: Callable[[], float]) -> Callable[[], float]:
    def once() -> float:
        package.change()
        return build()

    return once


def _both(alice: Caller, buildah: Buildah, package: _Package) -> tuple[float, float]:
    return _push(alice, package), _bud(buildah, package)


def _push(alice: Caller, package: _Package) -> float:
    """Raises NotMeasurable if the push is complete without an image."""
    data = package.zipped()

    def push() -> None:
        events = push_package(alice, _NAME, data)
        if warnings := [event["message"] for event in events if event["type"] == "warning"]:
            raise NotMeasurable(f"the hub built no image: {warnings[0]}")

    return seconds_of(push)


def _bud(buildah: Buildah, package: _Package, recipe: str = CAREFUL) -> float:
    return seconds_of(lambda: buildah.build(package.folder, recipe))


def _row(what: str, ours: float, theirs: float, bar: Bar | None = None) -> Row:
    return Row(what, Quantity(ours, "s"), Quantity(theirs, "s", "buildah"), bar, _LOCAL)


BENCHMARK = Benchmark("build-times", "from a package to its image against buildah", measure)
