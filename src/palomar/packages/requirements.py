"""What a package says it needs: ``requirements.txt``, with ``pyproject.toml``'s dependencies after it.

Nothing is fetched. A line that is not understood is reported and never a reason to refuse a package: pip may know more.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from posixpath import dirname, join, normpath
from typing import Any, Final, NamedTuple

from packaging.requirements import InvalidRequirement, Requirement

from palomar.contract.errors import BadPackage
from palomar.packages.archive import PackageArchive
from palomar.packages.limits import PackageLimits
from palomar.packages.paths import is_inside
from palomar.packages.text import bounded, clean, decode

REQUIREMENTS_NAME: Final = "requirements.txt"
PYPROJECT_NAME: Final = "pyproject.toml"

_VARIABLE: Final = re.compile(r"\$\{([A-Z0-9_]+)\}")
_COMMENT: Final = re.compile(r"(?:^|[ \t])#.*")
_PIP_OPTIONS: Final = re.compile(r"[ \t]--?[a-z].*")
_INCLUDED: Final = re.compile(r"(?:-r|--requirement)(?:[ \t]*=?[ \t]*)(\S+)")
_ADDRESS: Final = re.compile(r"(?:[a-z][a-z0-9.-]*\+)?[a-z][a-z0-9.-]*:(?://)?\S+", re.IGNORECASE)
_EGG: Final = re.compile(r"[#&]egg=([A-Za-z0-9._-]+)")
_LOCAL: Final = re.compile(r"\.{0,2}/\S*|\S+\.(?:whl|tar\.gz|zip)|\.")
_MAX_LINE: Final = 2048
_MAX_BRACKETS: Final = 20
#: Thirty-two names joined by dots, quoted or not: ``tomllib`` takes time by the square of that.
_LONG_KEY: Final = re.compile(
    r"""(?<![\w-])(?:(?:[\w-]++|"[^"\n]*+"|'[^'\n]*+')[ \t]*+\.[ \t]*+){32}""",
)
_MAX_FILES: Final = 20
_MAX_WARNINGS: Final = 50


class RequirementLine(NamedTuple):
    """``kind`` is requirement, url, path, option or unknown; ``name`` is the distribution's, where the line says it.

    ``line`` counts from 1 in ``file``; for ``pyproject.toml`` it is the position in the list of dependencies.
    """

    text: str
    kind: str
    file: str
    line: int
    name: str | None = None


@dataclass(frozen=True, slots=True)
class Requirements:
    """``variables`` are the names of all ``${NAME}``, sorted: what a build must be given."""

    lines: tuple[RequirementLine, ...] = ()
    variables: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def read_requirements(archive: PackageArchive, limits: PackageLimits) -> Requirements:
    """Raises BadPackage when a file is too large or has too many lines."""
    reading = _Reading(archive, limits)
    if REQUIREMENTS_NAME in archive:
        reading.read_file(REQUIREMENTS_NAME)
    if PYPROJECT_NAME in archive:
        reading.read_pyproject()
    return reading.result()


@dataclass(slots=True)
class _Reading:
    archive: PackageArchive
    limits: PackageLimits
    lines: list[RequirementLine] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    files: set[str] = field(default_factory=set)

    def result(self) -> Requirements:
        warnings = [*self.warnings, *(_complaint(line) for line in self.lines if line.kind == "unknown")]
        shown = warnings[:_MAX_WARNINGS]
        if len(warnings) > len(shown):
            shown.append(f"and {len(warnings) - len(shown)} more lines that are not understood")
        variables = {name for line in self.lines for name in _VARIABLE.findall(line.text)}
        return Requirements(tuple(self.lines), tuple(sorted(variables)), tuple(shown))

    def read_file(self, path: str) -> None:
        self.files.add(path)
        text = decode(self.archive.read(path, self.limits.max_requirements_bytes))
        for number, line in _logical_lines(text):
            self._add(parse_line(line, file=path, number=number))
            if included := _INCLUDED.fullmatch(line):
                self._include(included[1], path, number)

    def _include(self, target: str, path: str, number: int) -> None:
        found = normpath(join(dirname(path), target))
        if found in self.files:
            return
        if len(self.files) >= _MAX_FILES:
            self.warnings.append(f"{path} line {number}: not read, because {_MAX_FILES} files have been")
            return
        if not is_inside(found) or found not in self.archive:
            self.warnings.append(f"{path} line {number}: {bounded(target, 80)!r} is not in the package")
            return
        self.read_file(found)

    def read_pyproject(self) -> None:
        data = self.archive.read(PYPROJECT_NAME, self.limits.max_config_bytes)
        for number, text in enumerate(self._dependencies(data), 1):
            self._add(parse_line(clean(text).strip(), file=PYPROJECT_NAME, number=number))

    def _dependencies(self, data: bytes) -> Iterable[str]:
        try:
            listed = _dependencies(_toml(data.decode()))
        except (ValueError, RecursionError) as error:
            self.warnings.append(f"{PYPROJECT_NAME} cannot be read: {bounded(clean(str(error)), 200)}")
            return ()
        if not isinstance(listed, list) or not all(isinstance(item, str) for item in listed):
            self.warnings.append(f"{PYPROJECT_NAME}: 'project.dependencies' must be a list of texts")
            return ()
        return listed

    def _add(self, line: RequirementLine) -> None:
        if len(self.lines) >= self.limits.max_requirements:
            raise BadPackage(f"it has more than {self.limits.max_requirements:,} requirements", line.file)
        self.lines.append(line)


def _toml(text: str) -> dict[str, Any]:
    if _LONG_KEY.search(text):
        raise ValueError("it has a key of more than 32 parts")
    return tomllib.loads(text)


def _dependencies(document: dict[str, Any]) -> Any:
    project = document.get("project", {})
    return project.get("dependencies", []) if isinstance(project, dict) else []


def _complaint(line: RequirementLine) -> str:
    return f"{line.file} line {line.line}: {bounded(line.text, 80)!r} is not understood"


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Lines with their number, joined where they end in a backslash; without comments and empty lines."""
    begin, kept = 0, list[str]()
    for number, line in enumerate([*text.split("\n"), ""], 1):
        begin = begin or number
        kept.append(line.removesuffix("\\"))
        if not line.endswith("\\"):
            joined = _COMMENT.sub("", "".join(kept)[: _MAX_LINE + 1]).strip()
            if joined:
                yield begin, joined
            begin, kept = 0, []


def parse_line(text: str, *, file: str, number: int) -> RequirementLine:
    """One line of a requirements file, without its comment."""
    if len(text) > _MAX_LINE:
        return RequirementLine(bounded(text, _MAX_LINE), "unknown", file, number)
    kind, name = _kind(text)
    return RequirementLine(text, kind, file, number, name)


def _kind(text: str) -> tuple[str, str | None]:
    plain = _PIP_OPTIONS.sub("", text)
    if text.startswith("-"):
        return "option", None
    if _ADDRESS.fullmatch(plain):
        egg = _EGG.search(plain)
        return "url", egg[1] if egg else None
    if _LOCAL.fullmatch(plain):
        return "path", None
    # A variable stands for some version, name or credential; a digit can be any of them.
    name = _distribution(_VARIABLE.sub("0", plain))
    return ("requirement", name) if name else ("unknown", None)


def _distribution(text: str) -> str | None:
    if text.count("(") > _MAX_BRACKETS:
        return None
    try:
        return Requirement(text).name
    except (InvalidRequirement, RecursionError):
        return None
