"""What uv left, made the same whenever and wherever it was installed, and safe to be read by the hub."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import os
import shutil
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from email.parser import HeaderParser
from pathlib import Path
from typing import Final

from packaging.utils import canonicalize_name

from palomar.server.builds.builder import BuildFailure
from palomar.server.builds.masking import Masking

# What tells of the installation and not of the package: where from, when, for whom.
_DROPPED: Final = frozenset({"direct_url.json", "REQUESTED", "uv_cache.json", "uv_build.json"})
_INSTALLER: Final = b"palomar\n"


@dataclass(frozen=True, slots=True)
class InstalledPackage:
    """From its METADATA; ``license`` is an SPDX expression where the package gives one, else its own words."""

    name: str
    version: str
    license: str = ""
    summary: str = ""
    requires: tuple[str, ...] = ()


def settle(
    left: Path, site: Path, masking: Masking, interpreters: tuple[str, str] = ("", "")
) -> tuple[InstalledPackage, ...]:
    """Moves the folder to where it stays. Of ``interpreters``, scripts name the first and are to name the second.

    Raises:
        BuildFailure: It holds what no wheel can bring, or a value of a variable.
    """
    for path in _entries(left):
        _check(path, left, masking)
    _name_interpreter(left / "bin", *interpreters)
    for info in sorted(left.glob("*.dist-info")):
        _normalise(info, left)
    site.parent.mkdir(parents=True, exist_ok=True)
    shutil.move(left, site)
    found = [_package(info) for info in site.glob("*.dist-info")]
    return tuple(sorted(found, key=lambda package: package.name))


def _entries(folder: Path) -> Iterable[Path]:
    for parent, folders, files in os.walk(folder):
        for name in [*folders, *files]:
            yield Path(parent, name)


def _check(path: Path, root: Path, masking: Masking) -> None:
    status = path.lstat()
    if stat.S_ISDIR(status.st_mode):
        path.chmod(0o755)
        return
    if not stat.S_ISREG(status.st_mode):
        raise BuildFailure(f"{path.relative_to(root)} of the installed packages is neither a file nor a folder.")
    if path.suffix == ".pyc" or path.name == ".lock":
        path.unlink()
        return
    path.chmod(0o755 if status.st_mode & 0o100 else 0o644)
    if name := masking.found_in(path.read_bytes()):
        raise BuildFailure(
            f"The package in {path.relative_to(root).parts[0]} holds the value of {name}, which must be in no image.",
            "A value of --build-env serves to fetch packages; give it to the Executor when it runs.",
        )


def _name_interpreter(folder: Path, old: str, new: str) -> None:
    first = f"#!{old}\n".encode()
    for script in folder.glob("*") if old != new else ():
        if script.is_file() and (content := script.read_bytes()).startswith(first):
            script.write_bytes(f"#!{new}\n".encode() + content.removeprefix(first))


def _normalise(info: Path, root: Path) -> None:
    for name in _DROPPED:
        (info / name).unlink(missing_ok=True)
    (info / "INSTALLER").write_bytes(_INSTALLER)
    record = info / "RECORD"
    if not record.is_file():
        return
    names = {row[0] for row in csv.reader(io.StringIO(record.read_text())) if row}
    rows = [_row(root, name) for name in sorted(names) if name != f"{info.name}/RECORD" and _is_there(root, name)]
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([*rows, (f"{info.name}/RECORD", "", "")])
    record.write_text(text.getvalue())


def _is_there(root: Path, name: str) -> bool:
    path = Path(os.path.normpath(root / name))
    return path.is_relative_to(root) and path.is_file()


def _row(root: Path, name: str) -> tuple[str, str, str]:
    content = Path(root, name).read_bytes()
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
    return name, f"sha256={digest}", str(len(content))


def _package(info: Path) -> InstalledPackage:
    fields = HeaderParser().parsestr((info / "METADATA").read_text(errors="replace"))
    return InstalledPackage(
        canonicalize_name(fields.get("Name", "")),
        fields.get("Version", ""),
        fields.get("License-Expression") or _short(fields.get("License", "")),
        _short(fields.get("Summary", "")),
        tuple(sorted(fields.get_all("Requires-Dist") or ())),
    )


def _short(text: str) -> str:
    """The first line: some packages put the whole text of their licence here."""
    return text.strip().partition("\n")[0][:200]
