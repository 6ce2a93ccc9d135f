"""One error of each class of the tree."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from palomar.contract.errors import PalomarError, catalogue

CLASSES = sorted(catalogue().values(), key=lambda cls: cls.code)
# By the annotation of a field: an error goes over the wire, so its fields are plain values.
_VALUES: dict[str, Any] = {
    "str": "words",
    "int": 5,
    "str | None": "words",
    "int | None": 5,
    "list[str]": ["words"],
}


def make_error(cls: type[PalomarError]) -> PalomarError:
    return cls(**{field.name: _VALUES[str(field.type)] for field in fields(cls)})
