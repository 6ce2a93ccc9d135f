"""House rules that no off-the-shelf linter knows. Each message says what to do instead."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from tools.files import ROOT, repository_files, text_of

MAX_MODULE_LINES = 450

# Spelled apart, so that this file names none of them.
_REGISTRY_HOSTS = tuple(
    ".".join(parts)
    for parts in (
        ("pypi", "org"),
        ("pythonhosted", "org"),
        ("registry", "npmjs", "org"),
        ("registry", "yarnpkg", "com"),
        ("rubygems", "org"),
        ("crates", "io"),
        ("proxy", "golang", "org"),
        ("registry-1", "docker", "io"),
        ("ghcr", "io"),
        ("quay", "io"),
    )
)
_HOST = re.compile("|".join(rf"(?<![\w-]){re.escape(host)}(?![\w-])" for host in _REGISTRY_HOSTS))
# The beginning of a path on somebody's own machine; not preceded by what makes it a part of a URL or another path.
_MACHINE_PATH = re.compile(r"(?<![\w./:~*}$>-])/(?:work|root|Users|home/\w+)/[\w.]")
_UNFINISHED = re.compile(r"\b(?:TO" + r"DO|FIX" + r"ME|X" + r"XX)\b")

_LINE_RULES = (
    (_HOST, "names a package registry's host: leave the choice of registry to the user's own configuration"),
    (_MACHINE_PATH, "names a path of one machine: use a relative path, or a temporary folder in tests"),
    (_UNFINISHED, "is unfinished: finish it, or write a page in docs/design/open/"),
)


def problems_in(name: str, text: str) -> Iterator[str]:
    """Every broken rule of one file, as ``name:line: message``; ``name`` is relative to the root."""
    yield from _line_problems(name, text)
    if name.endswith(".py") and name.startswith("src/"):
        yield from _module_problems(name, text)


def _line_problems(name: str, text: str) -> Iterator[str]:
    for number, line in enumerate(text.splitlines(), 1):
        for pattern, message in _LINE_RULES:
            if found := pattern.search(line):
                yield f"{name}:{number}: {found.group()!r} {message}"


def _module_problems(name: str, text: str) -> Iterator[str]:
    lines = text.count("\n")
    if lines > MAX_MODULE_LINES:
        yield f"{name}:1: has {lines} lines, more than {MAX_MODULE_LINES}: split it by use case"
    if not name.startswith("src/palomar/cli/"):
        yield from _print_problems(name, ast.parse(text))


def _print_problems(name: str, tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print":
            yield f"{name}:{node.lineno}: prints: return the value to the command line, or log it with structlog"


def problems(root: Path = ROOT) -> list[str]:
    found: list[str] = []
    for path in repository_files(root):
        text = text_of(path)
        if text is not None:
            found.extend(problems_in(path.relative_to(root).as_posix(), text))
    return found


def main() -> int:
    found = problems()
    print("\n".join(found))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
