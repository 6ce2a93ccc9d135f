"""A package's Python modules as syntax trees, and what a name in one of them stands for. Nothing is ever run."""

from __future__ import annotations

import ast
import io
import re
import tokenize
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from posixpath import dirname, join, normpath
from threading import Lock
from typing import Final, NamedTuple

from palomar.contract.errors import BadPackage
from palomar.packages.archive import PackageArchive
from palomar.packages.limits import PackageLimits
from palomar.packages.text import bounded, shown

_TOKEN: Final = re.compile(r"\w+|[^\w\s]")
_ENCODINGS: Final = frozenset({"utf-8", "utf-8-sig", "ascii", "iso-8859-1"})
#: One name may be passed on this often and have so many parts; all lookups together may take so many steps, since
#: modules that import all from one another have paths without number.
_MAX_HOPS: Final = 50
_MAX_PARTS: Final = 50
_MAX_STEPS: Final = 200_000
#: ``warnings.catch_warnings`` changes what all threads share.
_parsing: Final = Lock()


class External(NamedTuple):
    """A name from outside the package, as it is imported: ``jina.Executor``."""

    dotted: str

    @property
    def package(self) -> str:
        return self.dotted.partition(".")[0]


class LocalClass(NamedTuple):
    module: Module
    node: ast.ClassDef


@dataclass(frozen=True, slots=True)
class _Import:
    """``parts`` of what is imported, and the folders of the package in which it may lie."""

    parts: tuple[str, ...]
    folders: tuple[str, ...]
    is_relative: bool = False


@dataclass(frozen=True, slots=True)
class Module:
    """The names that a module's top level binds, by kind; ``aliases`` are ``Base = jina.Executor``."""

    path: str
    classes: dict[str, ast.ClassDef] = field(default_factory=dict)
    imports: dict[str, _Import] = field(default_factory=dict)
    stars: list[_Import] = field(default_factory=list)
    aliases: dict[str, str] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)


class Sources:
    """The package's modules, each parsed once and only when it is asked for.

    A file that cannot be parsed is as good as absent; ``problems`` keeps why.
    """

    def __init__(self, archive: PackageArchive, limits: PackageLimits) -> None:
        self.problems: dict[str, BadPackage] = {}
        self._archive = archive
        self._limits = limits
        self._modules: dict[str, Module | None] = {}
        self._bytes = self._tokens = self._steps = 0

    def module(self, path: str) -> Module | None:
        """None when there is no such file, or none that can be parsed."""
        if path not in self._archive:
            return None
        if path not in self._modules:
            self._modules[path] = None  # a cycle of imports ends here
            self._modules[path] = self._load(path)
        return self._modules[path]

    def _load(self, path: str) -> Module | None:
        try:
            return _module(path, self._parsed(path))
        except BadPackage as problem:
            self.problems[path] = problem
            return None

    def _parsed(self, path: str) -> ast.Module:
        self._bytes += self._archive.size_of(path)
        self._check_budget(path)
        data = self._archive.read(path, self._limits.max_source_bytes)
        text = _text(data, path)
        tokens = sum(1 for _ in _TOKEN.finditer(text))
        self._tokens += tokens
        if tokens > self._limits.max_source_tokens:
            raise BadPackage(f"it has more than {self._limits.max_source_tokens:,} words and signs", path)
        self._check_budget(path)
        return _parse(text, path)

    def _check_budget(self, path: str) -> None:
        if self._bytes > self._limits.max_sources_bytes or self._tokens > self._limits.max_sources_tokens:
            raise BadPackage("with it, more source is needed to find the Executor than is read", path)

    def lookup(self, module: Module, dotted: str) -> LocalClass | External | None:
        """What a dotted name means at the top level of ``module``; None when it is no class that can be found."""
        return self._lookup(module, dotted, _MAX_HOPS)

    def _lookup(self, module: Module, dotted: str, hops: int) -> LocalClass | External | None:
        self._steps += 1
        if hops == 0 or self._steps > _MAX_STEPS:
            return None
        head, _, rest = dotted.partition(".")
        if head in module.classes:
            return None if rest else LocalClass(module, module.classes[head])
        if head in module.aliases:
            return self._lookup(module, _joined(module.aliases[head], rest), hops - 1)
        if head in module.imports:
            return self._imported(module.imports[head], rest, hops - 1)
        return self._starred(module, dotted, hops - 1)

    def _starred(self, module: Module, dotted: str, hops: int) -> LocalClass | External | None:
        """Any star may bring a name from outside; jina's is asked before the others."""
        meant = (self._imported(star, dotted, hops) for star in module.stars)
        found: list[LocalClass | External] = [item for item in meant if item is not None]
        return min(found, key=_preference) if found else None

    def _imported(self, source: _Import, rest: str, hops: int) -> LocalClass | External | None:
        self._steps += 1
        parts = (*source.parts, *(rest.split(".") if rest else ()))
        if self._steps > _MAX_STEPS or len(parts) > _MAX_PARTS:
            return None
        shortest = 0 if source.is_relative else 1
        for folder in source.folders:
            for length in range(len(parts), shortest - 1, -1):
                if module := self._at(folder, parts[:length]):
                    return self._lookup(module, ".".join(parts[length:]), hops) if length < len(parts) else None
        return External(".".join(parts))

    def _at(self, folder: str, parts: tuple[str, ...]) -> Module | None:
        base = join(folder, *parts)
        found = self.module(f"{base}.py") if parts else None
        return found or self.module(join(base, "__init__.py"))


def _preference(found: LocalClass | External) -> int:
    if isinstance(found, LocalClass):
        return 0
    return 1 if found.package == "jina" else 2


def _joined(first: str, rest: str) -> str:
    return f"{first}.{rest}" if rest else first


# --- one file ----------------------------------------------------------------------------------------------------


def _text(data: bytes, path: str) -> str:
    """Decoded as Python would, but by the few encodings whose decoders are simple."""
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(data).readline)
        if encoding not in _ENCODINGS:
            raise BadPackage(f"its encoding {bounded(shown(encoding), 40)!r} is not read; write it in UTF-8", path)
        return data.decode(encoding)
    except (SyntaxError, UnicodeDecodeError) as error:
        raise BadPackage("it is not UTF-8 text", path) from error


def _parse(text: str, path: str) -> ast.Module:
    try:
        with _parsing, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(text)
    except SyntaxError as error:
        raise BadPackage(f"line {error.lineno}: {shown(error.msg)}", path) from error
    except (RecursionError, MemoryError) as error:
        raise BadPackage("it is nested too deeply to be read", path) from error
    except ValueError as error:
        raise BadPackage(f"it is not Python: {bounded(shown(str(error)), 200)}", path) from error


def _module(path: str, tree: ast.Module) -> Module:
    module = Module(path)
    for statement in top_level(tree.body):
        _bind(module, statement)
    return module


def top_level(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements that run when a module or class body does, also within if, try and with."""
    pending = list(reversed(body))
    while pending:
        statement = pending.pop()
        yield statement
        if isinstance(statement, ast.If | ast.Try | ast.With):
            pending.extend(reversed(list(_within(statement))))


def _within(statement: ast.If | ast.Try | ast.With) -> Iterator[ast.stmt]:
    yield from statement.body
    if isinstance(statement, ast.Try):
        for handler in statement.handlers:
            yield from handler.body
    if not isinstance(statement, ast.With):
        yield from statement.orelse
    if isinstance(statement, ast.Try):
        yield from statement.finalbody


def _bind(module: Module, statement: ast.stmt) -> None:
    if isinstance(statement, ast.ClassDef):
        module.classes[statement.name] = statement
    elif isinstance(statement, ast.Import):
        _bind_import(module, statement)
    elif isinstance(statement, ast.ImportFrom):
        _bind_import_from(module, statement)
    elif isinstance(statement, ast.Assign) and len(statement.targets) == 1:
        _bind_name(module, statement.targets[0], statement.value)
    elif isinstance(statement, ast.AnnAssign) and statement.value is not None:
        _bind_name(module, statement.target, statement.value)


def _bind_import(module: Module, statement: ast.Import) -> None:
    folders = _folders(module.path, 0)
    for alias in statement.names:
        parts = tuple(alias.name.split("."))
        module.imports.setdefault(alias.asname or parts[0], _Import(parts if alias.asname else parts[:1], folders))


def _bind_import_from(module: Module, statement: ast.ImportFrom) -> None:
    folders, is_relative = _folders(module.path, statement.level), statement.level > 0
    parts = tuple(statement.module.split(".")) if statement.module else ()
    for alias in statement.names:
        if alias.name == "*":
            module.stars.append(_Import(parts, folders, is_relative))
        else:
            # The first one is kept: 'try: from jina import Executor' with a substitute in 'except'.
            module.imports.setdefault(alias.asname or alias.name, _Import((*parts, alias.name), folders, is_relative))


def _folders(path: str, level: int) -> tuple[str, ...]:
    """Where an import of ``level`` dots looks. Without dots: beside the module, as clients load it, and at the root."""
    folder = dirname(path)
    if level == 0:
        return tuple(dict.fromkeys((folder, "")))
    above = normpath(join(folder, *[".."] * (level - 1)))
    return () if above.startswith("..") else ("" if above == "." else above,)


def _bind_name(module: Module, target: ast.expr, value: ast.expr) -> None:
    if not isinstance(target, ast.Name):
        return
    if isinstance(value, ast.Constant) and isinstance(value.value, str):
        module.texts[target.id] = value.value
    elif (dotted := dotted_name(value)) and dotted != target.id:
        module.aliases[target.id] = dotted


def dotted_name(node: ast.expr) -> str | None:
    """``a.b.c`` of an expression that is nothing else; of ``a.b[T]``, the name before the bracket."""
    if isinstance(node, ast.Subscript):
        node = node.value
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        return None
    return ".".join([node.id, *reversed(parts)])
