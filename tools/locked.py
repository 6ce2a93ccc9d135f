"""Whether the locked requirements still are what pyproject.toml asks for. Works without a network."""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tools.files import ROOT

LOCKS = ("requirements/dev.txt", "requirements/bootstrap.txt")

_PIN = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==([^\s;\\]+)", re.MULTILINE)
_HASHED = re.compile(r"^[A-Za-z0-9][^\n]*\\\n\s+--hash=sha256:[0-9a-f]{64}", re.MULTILINE)


def pins_of(lock: str) -> dict[str, Version]:
    return {canonicalize_name(name): Version(version) for name, version in _PIN.findall(lock)}


def wanted(project: dict[str, Any]) -> Iterator[Requirement]:
    """What the project needs to run, to serve, and to be worked on."""
    table = project["project"]
    yield from map(Requirement, table.get("dependencies", ()))
    for extra in table.get("optional-dependencies", {}).values():
        yield from map(Requirement, extra)
    for group in project.get("dependency-groups", {}).values():
        yield from (Requirement(line) for line in group if isinstance(line, str))


def unmet(requirements: Iterator[Requirement], pins: dict[str, Version]) -> Iterator[str]:
    for requirement in requirements:
        pin = pins.get(canonicalize_name(requirement.name))
        if pin is None:
            yield f"{requirement}: not locked; run make lock"
        elif not requirement.specifier.contains(pin, prereleases=True):
            yield f"{requirement}: {pin} is locked; run make lock"


def unhashed(name: str, lock: str) -> Iterator[str]:
    if len(_PIN.findall(lock)) != len(_HASHED.findall(lock)):
        yield f"{name}: a requirement has no hash; run make lock"


def problems(root: Path = ROOT) -> list[str]:
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    locks = {name: (root / name).read_text(encoding="utf-8") for name in LOCKS}
    found = list(unmet(wanted(project), pins_of(locks[LOCKS[0]])))
    for name, lock in locks.items():
        found.extend(unhashed(name, lock))
    return found


def main() -> int:
    found = problems()
    print("\n".join(found))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
