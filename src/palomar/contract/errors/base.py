"""The root of the error tree."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, ClassVar


@dataclass(eq=False)
class PalomarError(Exception):
    """Base of the tree; raised as itself only when the SDK meets a code it does not know."""

    code: ClassVar[str] = "error"
    title: ClassVar[str] = "Something went wrong"

    def __post_init__(self) -> None:
        super().__init__(self.detail)

    @property
    def detail(self) -> str:
        """One or two sentences for a person: what was wrong, what is allowed, what to do."""
        return self.title

    @property
    def fields(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def __str__(self) -> str:
        return self.detail


def shorten(value: str, length: int = 80) -> str:
    """A user's string, short enough for an error message."""
    return value if len(value) <= length else value[: length - 1] + "…"


def catalogue() -> dict[str, type[PalomarError]]:
    """Every class of the tree by its code."""
    found: dict[str, type[PalomarError]] = {}
    pending: list[type[PalomarError]] = [PalomarError]
    while pending:
        cls = pending.pop()
        found[cls.code] = cls
        pending.extend(cls.__subclasses__())
    return found
