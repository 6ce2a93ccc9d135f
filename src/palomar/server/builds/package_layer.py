"""The layer with an Executor's own files, straight from the package: nothing is ever extracted to the hub's disk."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Final

from palomar.packages.archive import PackageArchive, open_package
from palomar.packages.config import CONFIG_NAMES
from palomar.packages.limits import PackageLimits
from palomar.server.builds.layers import LayerFile, WrittenLayer, write_layer

WORKSPACE: Final = "workspace"
# What the image's entry point reads.
CONFIG: Final = CONFIG_NAMES[0]


def write_package_layer(
    package: BinaryIO, target: Path, *, facts: Mapping[str, Any], limits: PackageLimits | None = None
) -> WrittenLayer:
    """Puts the files of a package under ``workspace/``. Blocking: call it in a thread.

    ``facts`` are the release's own; ``package`` is the zip as it was pushed, which is checked once more. A config is
    made where the package has none that the entry point would find. Raises BadPackage.
    """
    archive = open_package(package, limits or PackageLimits())
    return write_layer(_files(archive, facts), target)


def _files(archive: PackageArchive, facts: Mapping[str, Any]) -> Iterator[LayerFile]:
    yield LayerFile(WORKSPACE)
    for entry in archive.entries:
        path = f"{WORKSPACE}/{entry.name.removesuffix('/')}"
        if _is_compiled(path):
            continue
        if entry.is_folder:
            yield LayerFile(path)
        else:
            yield LayerFile(path, entry.size, partial(archive.pieces, entry.name), bool(entry.mode & 0o100))
    if CONFIG not in archive:
        yield LayerFile.of_bytes(f"{WORKSPACE}/{CONFIG}", _config(archive, facts))


def _is_compiled(path: str) -> bool:
    return path.endswith((".pyc", ".pyo")) or "__pycache__" in path.split("/")


def _config(archive: PackageArchive, facts: Mapping[str, Any]) -> bytes:
    """A copy where only the ending differs; else what the public hub wrote when a package had no config."""
    for name in CONFIG_NAMES[1:]:
        if name in archive:
            return b"".join(archive.pieces(name))
    # JSON's strings are YAML's too, whatever letters are in them.
    lines = ["jtype: " + json.dumps(facts["class"]), "py_modules:", "  - " + json.dumps(facts["module"])]
    return "".join(f"{line}\n" for line in lines).encode()
