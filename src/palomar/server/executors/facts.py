"""A package's facts as they are kept with its release: JSON that later versions of the hub can still read."""

from __future__ import annotations

import re
from typing import Any

from palomar.packages.package import Package
from palomar.packages.schema import ExecutorSchema

# Of a text, what a page shows at most; the whole file is in the package.
_MAX_TEXT = 256 * 1024
_MAX_FILES = 1000
# A source may spell them as escapes. PostgreSQL holds no NUL, and neither database half a surrogate pair.
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def to_facts(package: Package) -> dict[str, Any]:
    """Keys never change their meaning; new ones may come."""
    facts: dict[str, Any] = storable(
        {
            "class": package.executor.name,
            "module": package.executor.module,
            "docstring": _bounded(package.executor.docstring),
            "schema": package.schema.to_json(),
            "requirements": [line.text for line in package.requirements.lines],
            "needed_env": list(package.needed_env),
            "readme": _bounded(package.readme),
            "dockerfile": _bounded(package.dockerfile),
            "files": [{"name": file.name, "size": file.size} for file in package.files[:_MAX_FILES]],
            "file_count": len(package.files),
            "warnings": list(package.warnings),
        }
    )
    return facts


def schema_in(facts: dict[str, Any]) -> ExecutorSchema:
    return ExecutorSchema.from_json(facts["schema"])


def storable(value: Any) -> Any:
    """The same JSON value with texts that either database takes."""
    match value:
        case str():
            return storable_text(value)
        case dict():
            return {storable(key): storable(item) for key, item in value.items()}
        case list() | tuple():
            return [storable(item) for item in value]
        case _:
            return value


def storable_text(text: str) -> str:
    return _UNSTORABLE.sub("\ufffd", text)


def _bounded(text: str | None) -> str | None:
    return None if text is None else text[:_MAX_TEXT]
