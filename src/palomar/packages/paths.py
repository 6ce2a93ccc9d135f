"""Which names a package's files may have.

A name is allowed when it means the same file, inside the folder, for every program on every system: old clients unpack
blindly, on file systems that ignore case, normalise Unicode or know device names.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final
from unicodedata import category, normalize

from palomar.contract.errors import BadPackage
from palomar.packages.limits import PackageLimits
from palomar.packages.text import shown

_DRIVE: Final = re.compile(r"[A-Za-z]:")
_WINDOWS_SIGNS: Final = frozenset('<>:"|?*')
_DEVICES: Final = frozenset(
    {"con", "prn", "aux", "nul", "conin$", "conout$", "clock$"}
    | {f"{port}{number}" for port in ("com", "lpt") for number in "0123456789¹²³"}
)
#: Controls, surrogates, and line and paragraph separators.
_INVISIBLE: Final = frozenset({"Cc", "Cs", "Zl", "Zp"})
#: What git takes for its own folder; the second is the short name of the first on Windows.
_GIT: Final = frozenset({".git", "git~1"})
#: What turns the direction of writing around, so that a name reads otherwise than it is.
_TURNING: Final = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff")


def decode_name(raw: bytes, *, is_utf8: bool) -> str:
    """The name as every unpacker reads it; without the UTF-8 flag, some read non-ASCII bytes as code page 437."""
    try:
        return raw.decode("utf-8" if is_utf8 else "ascii")
    except UnicodeDecodeError as error:
        entry = shown(raw.decode("utf-8", "backslashreplace"))
        words = "its name is not UTF-8" if is_utf8 else "its name is not ASCII and not marked as UTF-8"
        raise BadPackage(words, entry) from error


def check_name(name: str, limits: PackageLimits) -> None:
    """Raises BadPackage unless ``name`` is a plain relative path; a folder's name ends in one slash."""
    if reason := _problem(name, limits):
        raise BadPackage(reason, shown(name) or None)


def _problem(name: str, limits: PackageLimits) -> str | None:
    if not name:
        return "an entry has no name"
    return _path_problem(name, limits) or next(filter(None, map(_part_problem, _parts(name))), None)


def _path_problem(name: str, limits: PackageLimits) -> str | None:
    rules = (
        (any(map(_is_invisible, name)), "its name has control characters"),
        ("\\" in name, "its name has a backslash"),
        (name.startswith("/"), "its name is absolute"),
        (_DRIVE.match(name), "its name begins with a drive letter"),
        (len(name.encode()) > limits.max_path_bytes, f"its name is longer than {limits.max_path_bytes} bytes"),
        (len(_parts(name)) > limits.max_depth, f"it lies more than {limits.max_depth} folders deep"),
    )
    return next((words for is_broken, words in rules if is_broken), None)


def _is_invisible(character: str) -> bool:
    return category(character) in _INVISIBLE or character in _TURNING


def _part_problem(part: str) -> str | None:
    if part in {"", ".", ".."}:
        return f"its name has the part {part!r}, which leads elsewhere"
    if part[-1] in ". ":
        return "a part of its name ends in a dot or a space, which Windows drops"
    if signs := _WINDOWS_SIGNS.intersection(part):
        return f"its name has {min(signs)!r}, which Windows cannot store"
    if part.split(".", maxsplit=1)[0].rstrip().lower() in _DEVICES:
        return f"{part!r} is the name of a device on Windows"
    if fold(part) in _GIT:
        return "a folder '.git' could run its own commands when git looks at it"
    return None


def _parts(name: str) -> list[str]:
    return name.removesuffix("/").split("/")


def fold(name: str) -> str:
    """Equal for names that some file system takes for one: it ignores case, or normalises Unicode."""
    return normalize("NFKC", normalize("NFKC", name).casefold())


@dataclass(slots=True)
class _Tree:
    """Everything that unpacking creates, by its folded name: how it is spelled, and whether it is a folder."""

    seen: dict[str, tuple[str, bool]] = field(default_factory=dict)
    listed: set[str] = field(default_factory=set)

    def add(self, name: str) -> None:
        path = name.removesuffix("/")
        if path in self.listed:
            raise BadPackage("it is there twice, or as a file and as a folder", name)
        self.listed.add(path)
        for folder in _folders_above(path):
            self._place(folder, name, is_folder=True)
        self._place(path, name, is_folder=name.endswith("/"))

    def _place(self, path: str, name: str, *, is_folder: bool) -> None:
        spelled, was_folder = self.seen.setdefault(fold(path), (path, is_folder))
        if spelled != path:
            raise BadPackage(f"{spelled!r} and {path!r} are one name where case or Unicode form is ignored", name)
        if was_folder != is_folder:
            raise BadPackage(f"{path!r} is both a file and a folder", name)


def _folders_above(path: str) -> Iterator[str]:
    at = path.find("/")
    while at >= 0:
        yield path[:at]
        at = path.find("/", at + 1)


def check_tree(names: Iterable[str]) -> None:
    """Raises BadPackage unless the names, each already checked, can all exist beside one another everywhere."""
    tree = _Tree()
    for name in names:
        tree.add(name)


def is_inside(path: str) -> bool:
    """Whether a path that a package names, in its config say, stays in the package; ``./`` in front is fine."""
    plain = path.removeprefix("./")
    return bool(plain) and "\\" not in plain and ":" not in plain and not {"", "..", "."} & set(plain.split("/"))
