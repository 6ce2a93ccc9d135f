"""A package's facts as they are kept with its release: JSON that later versions of the hub can still read."""

from __future__ import annotations

from typing import Any

from palomar.packages.package import Package
from palomar.packages.schema import ExecutorSchema

# Of a text, what a page shows at most; the whole file is in the package.
_MAX_TEXT = 256 * 1024
_MAX_FILES = 1000


def to_facts(package: Package) -> dict[str, Any]:
    """Keys never change their meaning; new ones may come."""
    return {
        "class": package.executor.name,
        "module": package.executor.module,
        "docstring": _text(package.executor.docstring),
        "schema": package.schema.to_json(),
        "requirements": [line.text for line in package.requirements.lines],
        "needed_env": list(package.needed_env),
        "readme": _text(package.readme),
        "dockerfile": _text(package.dockerfile),
        "files": [{"name": file.name, "size": file.size} for file in package.files[:_MAX_FILES]],
        "file_count": len(package.files),
        "warnings": list(package.warnings),
    }


def schema_in(facts: dict[str, Any]) -> ExecutorSchema:
    return ExecutorSchema.from_json(facts["schema"])


def _text(text: str | None) -> str | None:
    """PostgreSQL's JSON holds no NUL, and neither does any text that is meant to be read."""
    return None if text is None else text[:_MAX_TEXT].replace("\x00", "\ufffd")
