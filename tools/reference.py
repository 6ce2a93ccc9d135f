"""The reference pages under docs/reference/, made from the code so that they cannot lag behind it.

``python -m tools.reference`` writes them; with ``--check`` it says which are stale and writes nothing.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from dataclasses import fields
from enum import Enum
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from palomar.contract import names
from palomar.contract.actions import Action, Scope, needed_scope
from palomar.contract.errors import PalomarError, catalogue
from palomar.server.settings import Settings
from tools.files import ROOT

FOLDER = ROOT / "docs" / "reference"
_NOTE = "<!-- Made by tools/reference.py from the code. Change the code, then run: make fix -->"
_UNITS = ((1024**4, "TiB"), (1024**3, "GiB"), (1024**2, "MiB"), (1024, "KiB"))


def pages() -> dict[str, str]:
    """The text of every generated page by its file name."""
    made = {
        "errors.md": errors_page(),
        "settings.md": settings_page(),
        "scopes.md": scopes_page(),
        "names.md": names_page(),
    }
    return {name: f"{_NOTE}\n\n{text.rstrip()}\n" for name, text in made.items()}


# --- errors ------------------------------------------------------------------------------------------------------


def errors_page() -> str:
    head = """# Errors

Everything that the hub refuses has one stable code. Every protocol carries the same refusals in its own form, and the
SDK raises the class named here, rebuilt from the code and the fields and never from a text.
A class may also be caught as any of its parents.
"""
    rows = (_error_row(cls) for cls in sorted(catalogue().values(), key=lambda cls: cls.code))
    return head + "\n" + table(("Code", "Class", "Parent", "Fields", "Meaning"), rows)


def _error_row(cls: type[PalomarError]) -> tuple[str, ...]:
    names_of_fields = ", ".join(f"`{field.name}`" for field in fields(cls))
    return f"`{cls.code}`", f"`{cls.__name__}`", _parents(cls), names_of_fields, cls.title


def _parents(cls: type[PalomarError]) -> str:
    return ", ".join(f"`{base.__name__}`" for base in cls.__bases__)


# --- settings ----------------------------------------------------------------------------------------------------


def settings_page() -> str:
    head = """# Settings

Each setting is read from the environment (the name below), else from `palomar.toml` in the working directory (the
same name without `PALOMAR_`, in lower case), else it has its default. Lists are written as JSON, sizes in bytes, times
in the unit that the name ends with.
"""
    rows = (_setting_row(name, field) for name, field in Settings.model_fields.items())
    return head + "\n" + table(("Name", "Value", "Default", "Meaning"), rows)


def _setting_row(name: str, field: FieldInfo) -> tuple[str, ...]:
    default = field.get_default(call_default_factory=True, validated_data={})
    return f"`PALOMAR_{name.upper()}`", kind_of(field.annotation), _shown(name, default), field.description or ""


def kind_of(annotation: Any) -> str:
    """A setting's type in words that an operator knows."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin in {Union, UnionType}:
        return " or ".join(kind_of(part) for part in arguments if part is not type(None))
    if origin is Literal:
        return _choices(arguments)
    if origin is tuple:
        return f"list of {kind_of(arguments[0])}"
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return _choices(member.value for member in annotation)
    return _SIMPLE[annotation]


_SIMPLE: dict[Any, str] = {
    str: "text",
    int: "integer",
    float: "number",
    bool: "true or false",
    Path: "path",
    SecretStr: "secret",
}


def _choices(values: Iterable[Any]) -> str:
    return ", ".join(f"`{value}`" for value in values)


def _shown(name: str, default: Any) -> str:
    if default is None or default == ():
        return "none"
    value = default.value if isinstance(default, Enum) else default
    return f"`{value}`" + _in_words(name, value)


def _in_words(name: str, value: Any) -> str:
    if not name.endswith("_bytes"):
        return ""
    for size, unit in _UNITS:
        if value >= size and value % size == 0:
            return f" ({value // size} {unit})"
    return ""


# --- scopes and actions ------------------------------------------------------------------------------------------


def scopes_page() -> str:
    head = """# Scopes and actions

A token lists scopes. A scope is a ceiling: it takes rights away from its owner's and never adds one.

"""
    scopes = table(("Scope", "In words"), ((f"`{scope.value}`", scope.label) for scope in Scope))
    actions = table(
        ("Action", "In words", "Scope that it needs"),
        ((f"`{action.value}`", action.verb, f"`{needed_scope(action).value}`") for action in Action),
    )
    return f"{head}{scopes}\n## Actions\n\n{actions}"


# --- names -------------------------------------------------------------------------------------------------------


def names_page() -> str:
    rules = table(
        ("Name of", "Rule"),
        (
            ("a namespace", names.NAMESPACE_RULE),
            ("a resource", names.RESOURCE_RULE),
            ("a tag", names.TAG_RULE),
            ("a token or session", names.LABEL_RULE),
            ("an old un-namespaced array", names.LEGACY_RULE),
        ),
    )
    schemes = ", ".join(f"`{scheme.value}://`" for scheme in names.Scheme)
    reserved = "\n".join(_wrapped(sorted(names.RESERVED_NAMESPACES)))
    return f"""# Names

{rules}
Resource names are unique within their namespace without regard to case, and shown as first written.

Executor URIs begin with one of {schemes}.

## Reserved namespaces

Nobody can register these: each is a path of the hub, or a name that people would take for the hub itself.

{reserved}
"""


def _wrapped(words: Iterable[str], width: int = 118) -> Iterator[str]:
    line = ""
    for word in words:
        item = f"`{word}`"
        if len(line) + len(item) + 1 > width:
            yield line
            line = ""
        line = f"{line} {item}".lstrip()
    yield line


# --- writing -----------------------------------------------------------------------------------------------------


def table(heads: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [_line(heads), _line("---" for _ in heads)]
    lines.extend(_line(cell.replace("|", "\\|").replace("\n", " ") for cell in row) for row in rows)
    return "\n".join(lines) + "\n"


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def stale(folder: Path = FOLDER) -> list[str]:
    """Names of pages that are missing or not what the code says."""
    return [name for name, text in pages().items() if _text(folder / name) != text]


def _text(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.exists() else None


def write(folder: Path = FOLDER) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (folder / name).write_text(text, encoding="utf-8")


def main(arguments: list[str]) -> int:
    if "--check" not in arguments:
        write()
        return 0
    names_of_stale = stale()
    for name in names_of_stale:
        print(f"docs/reference/{name} is stale: run make fix")
    return 1 if names_of_stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
