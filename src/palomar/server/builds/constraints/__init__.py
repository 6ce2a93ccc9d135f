"""The default constraints: ``defaults.toml`` beside this file, which says why for each line."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from packaging.specifiers import SpecifierSet
from packaging.version import Version


@dataclass(frozen=True, slots=True)
class Constraint:
    """``kind`` is runtime, constraint or build."""

    kind: str
    line: str
    why: str
    jina: str = ""
    docarray: str = ""

    def is_for(self, jina: str, docarray: str) -> bool:
        return _holds(self.jina, jina) and _holds(self.docarray, docarray)


@cache
def default_constraints() -> tuple[Constraint, ...]:
    document: dict[str, list[dict[str, Any]]] = tomllib.loads(files(__name__).joinpath("defaults.toml").read_text())
    return tuple(Constraint(kind, **entry) for kind, entries in document.items() for entry in entries)


def lines_for(kind: str, *, jina: str, docarray: str) -> tuple[str, ...]:
    """The requirement lines of one kind that are meant for these versions."""
    return tuple(each.line for each in default_constraints() if each.kind == kind and each.is_for(jina, docarray))


def _holds(specifier: str, version: str) -> bool:
    return SpecifierSet(specifier).contains(Version(version), prereleases=True)
