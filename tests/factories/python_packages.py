"""Wheels and source distributions, made by hand: nothing is fetched, and every byte is known."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import dedent

_BACKEND = """
import os, zipfile

NAME, VERSION, REQUIRES, TAG = {name!r}, {version!r}, {requires!r}, {tag!r}
METADATA = "Metadata-Version: 2.1\\nName: {name}\\nVersion: {version}\\n" + "".join(
    "Requires-Dist: " + line + "\\n" for line in REQUIRES
)


def prepare_metadata_for_build_wheel(directory, config_settings=None):
    folder = NAME.replace("-", "_") + "-" + VERSION + ".dist-info"
    os.mkdir(os.path.join(directory, folder))
    for file, text in (("METADATA", METADATA), ("WHEEL", WHEEL)):
        with open(os.path.join(directory, folder, file), "w") as opened:
            opened.write(text)
    return folder


WHEEL = "Wheel-Version: 1.0\\nGenerator: hand\\nRoot-Is-Purelib: true\\nTag: " + TAG + "\\n"


def build_wheel(directory, config_settings=None, metadata_directory=None):
    found = []
    on_build(found)
    stem = NAME.replace("-", "_") + "-" + VERSION
    name = stem + "-" + TAG + ".whl"
    with zipfile.ZipFile(os.path.join(directory, name), "w") as wheel:
        wheel.writestr(NAME.replace("-", "_") + ".py", "found = " + repr(found) + "\\n")
        wheel.writestr(stem + ".dist-info/METADATA", METADATA)
        wheel.writestr(stem + ".dist-info/WHEEL", WHEEL)
        wheel.writestr(stem + ".dist-info/RECORD", "")
    return name


def on_build(found):
{on_build}
"""


def make_wheel(
    folder: Path,
    name: str,
    version: str,
    *,
    requires: Sequence[str] = (),
    requires_python: str | None = None,
    files: Mapping[str, str] | None = None,
    scripts: Mapping[str, str] | None = None,
    tag: str = "py3-none-any",
) -> Path:
    stem = f"{name.replace('-', '_')}-{version}"
    info = f"{stem}.dist-info"
    metadata = [f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}"]
    metadata += [f"Requires-Dist: {line}" for line in requires]
    metadata += [f"Requires-Python: {requires_python}"] if requires_python else []
    path = folder / f"{stem}-{tag}.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        for inner, text in (files or {f"{name.replace('-', '_')}.py": f"version = {version!r}\n"}).items():
            wheel.writestr(inner, text)
        wheel.writestr(f"{info}/METADATA", "\n".join(metadata) + "\n")
        wheel.writestr(f"{info}/WHEEL", f"Wheel-Version: 1.0\nGenerator: hand\nRoot-Is-Purelib: true\nTag: {tag}\n")
        if scripts:
            listed = "".join(f"{script} = {target}\n" for script, target in scripts.items())
            wheel.writestr(f"{info}/entry_points.txt", f"[console_scripts]\n{listed}")
        wheel.writestr(f"{info}/RECORD", "")
    return path


def make_sdist(
    folder: Path,
    name: str,
    version: str,
    on_build: str = "pass",
    *,
    requires: Sequence[str] = (),
    tag: str = "py3-none-any",
) -> Path:
    """``on_build`` is Python that runs while the wheel is built; what it appends to ``found`` ends up in the module.
    ``tag`` is that of the wheel.

    It brings its own build backend, so that nothing else is needed to build it.
    """
    body = "\n".join(f"    {line}" for line in dedent(on_build).strip().splitlines())
    backend = _BACKEND.format(name=name, version=version, requires=tuple(requires), on_build=body, tag=tag)
    project = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    stem = f"{name.replace('-', '_')}-{version}"
    members = {
        "pyproject.toml": project + f'[project]\nname = "{name}"\nversion = "{version}"\ndynamic = ["dependencies"]\n',
        "backend.py": backend,
        "PKG-INFO": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
    }
    path = folder / f"{stem}.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for inner, text in members.items():
            member = tarfile.TarInfo(f"{stem}/{inner}")
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))
    return path


def make_jina(folder: Path) -> None:
    """What stands for jina and what it needs, so that an image's runtime can be resolved without the real ones."""
    folder.mkdir(parents=True, exist_ok=True)
    make_wheel(folder, "jina", "3.34.0", requires=("docarray", "grpcio<1.60"), scripts={"jina": "jina:main"})
    make_wheel(folder, "docarray", "0.21.0", requires=("numpy",))
    for version in ("1.26.4", "2.1.0"):
        make_wheel(folder, "numpy", version)
    for version in ("1.57.0", "1.68.0"):
        make_wheel(folder, "grpcio", version)
    for version in ("80.0.0", "82.0.0"):
        make_wheel(folder, "setuptools", version)
