"""Which class of a package is its Executor.

With a config, the class that ``jtype`` names, looked for in ``py_modules``. Without, the one class that derives from
jina's ``Executor`` in ``*.py`` and ``executor/*.py``, as the public hub had it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from palomar.contract.errors import BadPackage, NoExecutorFound
from palomar.packages.archive import PackageArchive
from palomar.packages.config import PackageConfig
from palomar.packages.limits import PackageLimits
from palomar.packages.signatures import Argument, Endpoint, docstring_of, endpoints_of, init_arguments
from palomar.packages.syntax import External, LocalClass, Module, Sources, dotted_name
from palomar.packages.text import bounded

_EXECUTORS: Final = frozenset({"Executor", "BaseExecutor"})
#: What Flows take as a gateway, hosted as Executors are; only ever taken when ``jtype`` names it.
_GATEWAYS: Final = frozenset({"Gateway", "BaseGateway", "FastAPIBaseGateway"})
_MAX_LINEAGE: Final = 50
_MAX_SHOWN: Final = 10


@dataclass(frozen=True, slots=True)
class ExecutorClass:
    """``module`` is the file that defines the class; ``bases`` are written as in its source."""

    name: str
    module: str
    bases: tuple[str, ...]
    docstring: str | None
    init_arguments: tuple[Argument, ...]
    endpoints: tuple[Endpoint, ...]


@dataclass(frozen=True, slots=True)
class FoundExecutor:
    executor: ExecutorClass
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Lineage:
    """A class and its bases within the package, nearest first, and its bases from outside."""

    classes: tuple[LocalClass, ...]
    outside: tuple[str, ...]

    @property
    def is_executor(self) -> bool:
        return any(_is_of_jina(dotted, _EXECUTORS) for dotted in self.outside)

    @property
    def is_gateway(self) -> bool:
        return any(_is_of_jina(dotted, _GATEWAYS) for dotted in self.outside)


def _is_of_jina(dotted: str, names: frozenset[str]) -> bool:
    package, *_, name = dotted.split(".")
    return package == "jina" and name in names


def find_executor(archive: PackageArchive, config: PackageConfig, limits: PackageLimits) -> FoundExecutor:
    """Raises NoExecutorFound, which says where was looked, or BadPackage for several or for broken syntax."""
    return _Search(archive, config, limits).result()


class _Search:
    def __init__(self, archive: PackageArchive, config: PackageConfig, limits: PackageLimits) -> None:
        self._archive = archive
        self._config = config
        self._sources = Sources(archive, limits)
        self._missing = [bounded(name, 80) for name in config.py_modules if not self._files_of(name)]

    def result(self) -> FoundExecutor:
        lineage = self._named(self._config.jtype) if self._config.jtype else self._only()
        return FoundExecutor(self._described(lineage), tuple(self._warnings(lineage)))

    def _described(self, lineage: _Lineage) -> ExecutorClass:
        module, node = lineage.classes[0]
        return ExecutorClass(
            name=node.name,
            module=module.path,
            bases=tuple(filter(None, map(dotted_name, node.bases))),
            docstring=docstring_of(node),
            init_arguments=init_arguments(lineage.classes, self._sources),
            endpoints=endpoints_of(lineage.classes, self._sources),
        )

    # --- with jtype ---

    def _named(self, jtype: str) -> _Lineage:
        name = jtype.rpartition(".")[2]
        for module in self._modules():
            found = self._sources.lookup(module, name)
            if isinstance(found, LocalClass):
                return self._checked(jtype, _lineage(found, self._sources))
        raise self._nothing(f"the class {bounded(jtype, 80)!r} that jtype names")

    def _checked(self, jtype: str, lineage: _Lineage) -> _Lineage:
        """A base from elsewhere than jina gets the benefit of the doubt: it may well be an Executor itself."""
        known = {"jina", *sys.stdlib_module_names}
        strangers = {dotted.partition(".")[0] for dotted in lineage.outside} - known
        if lineage.is_executor or lineage.is_gateway or strangers:
            return lineage
        raise self._nothing(f"that the class {bounded(jtype, 80)!r}, which jtype names, derives from jina's Executor")

    # --- without ---

    def _only(self) -> _Lineage:
        found = [lineage for lineage in self._lineages() if lineage.is_executor]
        if not found:
            raise self._nothing("a class that derives from jina's Executor")
        # A base class beside the class that it is for is no second Executor.
        bases = {id(base.node) for lineage in found for base in lineage.classes[1:]}
        tops = [lineage for lineage in found if id(lineage.classes[0].node) not in bases]
        if len(tops) > 1:
            names = sorted(f"{top.classes[0].node.name} in {top.classes[0].module.path}" for top in tops)
            raise BadPackage(f"it has more than one Executor: {_listed(names)}; name one as jtype in config.yml")
        return tops[0]

    def _lineages(self) -> Iterator[_Lineage]:
        for module in self._modules():
            for node in module.classes.values():
                yield _lineage(LocalClass(module, node), self._sources)

    # --- where to look ---

    def _modules(self) -> Iterator[Module]:
        for path in self._searched():
            if module := self._sources.module(path):
                yield module

    def _searched(self) -> list[str]:
        if self._config.py_modules:
            return list(dict.fromkeys(file for name in self._config.py_modules for file in self._files_of(name)))
        return sorted(name for name in self._archive.names if _is_searched(name))

    def _files_of(self, py_module: str) -> list[str]:
        """A module is named by its file, its folder or as in an import."""
        plain = py_module.removeprefix("./")
        dotted = plain.replace(".", "/")
        candidates = (plain, f"{plain}.py", f"{plain}/__init__.py", f"{dotted}.py", f"{dotted}/__init__.py")
        return [path for path in candidates if path in self._archive and path.endswith(".py")][:1]

    # --- what to say ---

    def _nothing(self, wanted: str) -> BadPackage:
        """A file that cannot be read is the likelier reason, so that is said first."""
        searched = self._searched()
        for path, problem in self._sources.problems.items():
            if path in searched:
                return problem
        seen = sorted({_seen(lineage) for lineage in self._lineages()})
        parts = [f"looked for {wanted} in {_listed(searched) or 'no file: there is no *.py and no executor/*.py'}"]
        parts += [f"py_modules that are not in the package: {_listed(self._missing)}"] if self._missing else []
        parts.append(f"classes there: {_listed(seen) or 'none'}")
        return NoExecutorFound("; ".join(parts))

    def _warnings(self, lineage: _Lineage) -> Iterator[str]:
        problems = sorted(self._sources.problems.items())
        for path, problem in problems[:_MAX_SHOWN]:
            yield f"{path} cannot be read: {problem.reason}"
        if len(problems) > _MAX_SHOWN:
            yield f"and {len(problems) - _MAX_SHOWN} more modules cannot be read"
        if self._missing:
            yield f"py_modules that are not in the package: {_listed(self._missing)}"
        if not lineage.is_executor and not lineage.is_gateway:
            outside = _listed(sorted(lineage.outside))
            yield f"whether {lineage.classes[0].node.name} is an Executor is up to {outside}, outside the package"


def _is_searched(name: str) -> bool:
    folder, _, file = name.rpartition("/")
    return folder in {"", "executor"} and file.endswith(".py")


def _lineage(start: LocalClass, sources: Sources) -> _Lineage:
    """The class, then its bases level by level, each once."""
    classes, outside, seen = list[LocalClass](), list[str](), {id(start.node)}
    pending = [start]
    while pending and len(classes) < _MAX_LINEAGE:
        current = pending.pop(0)
        classes.append(current)
        for found in _bases(current, sources):
            if isinstance(found, External):
                outside.append(found.dotted)
            elif id(found.node) not in seen:
                seen.add(id(found.node))
                pending.append(found)
    return _Lineage(tuple(classes), tuple(dict.fromkeys(outside)))


def _bases(owner: LocalClass, sources: Sources) -> Iterator[LocalClass | External]:
    for node in owner.node.bases:
        if dotted := dotted_name(node):
            yield sources.lookup(owner.module, dotted) or External(f"builtins.{dotted}")


def _seen(lineage: _Lineage) -> str:
    module, node = lineage.classes[0]
    bases = ", ".join(filter(None, map(dotted_name, node.bases)))
    return bounded(f"{node.name}({bases}) in {module.path}", 120)


def _listed(names: list[str]) -> str:
    more = len(names) - _MAX_SHOWN
    return ", ".join(names[:_MAX_SHOWN]) + (f" and {more} more" if more > 0 else "")
