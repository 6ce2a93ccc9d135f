"""What a package asks for, checked line by line before anything is resolved.

A line may name packages, the operator's hosts, and variables of the push. Nothing else: no path, no other file, no
other host. What uv gets is written anew from the lines that were understood.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from posixpath import dirname, join, normpath
from typing import Final

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from palomar.contract.errors import shorten
from palomar.packages.requirements import PYPROJECT_NAME, RequirementLine, Requirements, parse_line
from palomar.server.builds import constraints
from palomar.server.builds.builder import BuildFailure
from palomar.server.builds.package_rules import PackageRules, address, url_address

#: What stands before a variable's name where uv sees it: ``${PATH}`` in a package must not be the sandbox's.
VARIABLE_PREFIX: Final = "PALOMAR_BUILD_"
_VARIABLE: Final = re.compile(r"\$\{([^}]*)\}")
_NAME: Final = re.compile(r"[A-Z0-9_]+")
_OPTION: Final = re.compile(r"(--?[A-Za-z][A-Za-z-]*)(?:[ \t]*=[ \t]*|[ \t]+|(?<=-[a-z])(?=\S))?(.*)")
_TRAILING: Final = re.compile(r"[ \t](--?[a-z].*)")
_HASHES: Final = re.compile(r"(?:--hash[ =](sha256|sha384|sha512):[0-9a-f]{64,128}\s*)+")
_HASH: Final = re.compile(r"--hash[ =](\S+)")
_EGG: Final = re.compile(r"[#&]egg=([A-Za-z0-9._-]+)")
_FORMATS: Final = frozenset({"--only-binary", "--no-binary"})
_IGNORED: Final = frozenset({"--prefer-binary", "--require-hashes", "--no-cache-dir", "--upgrade", "-U"})
_WHY_REFUSED: Final = {
    "-e": "an editable package is a path on the machine that builds",
    "--editable": "an editable package is a path on the machine that builds",
    "-f": "links to other places are for the hub's operator to allow",
    "--find-links": "links to other places are for the hub's operator to allow",
    "-c": "constraint files are not read from a package; write the versions into requirements.txt",
    "--constraint": "constraint files are not read from a package; write the versions into requirements.txt",
    "--trusted-host": "hosts are trusted by their certificates alone",
}


@dataclass(frozen=True, slots=True)
class Wanted:
    """``requirements`` is what ``palomar.packages`` read from requirements.txt and pyproject.toml; ``constraints`` are
    the operator's own, beside the shipped ones.
    """

    requirements: Requirements
    jina: str
    docarray: str
    build_env: Mapping[str, str] = field(default_factory=dict, repr=False)
    constraints: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Asked:
    """One line as uv gets it, with the packages' canonical name where the line says it, and hashes that it names."""

    text: str = field(repr=False)
    source: RequirementLine
    name: str | None = None
    hashes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Prepared:
    """``is_shareable``: all comes from the hub's own index, so that what is built of it may be kept for everybody."""

    asked: tuple[Asked, ...]
    runtime: tuple[str, ...]
    constraints: tuple[str, ...]
    build_constraints: tuple[str, ...]
    environment: Mapping[str, str] = field(repr=False)
    is_shareable: bool = True
    allows_prereleases: bool = False
    indexes: tuple[str, ...] = ()

    def text(self) -> str:
        return "".join(f"{line}\n" for line in (*(each.text for each in self.asked if each.text), *self.runtime))

    def lines_of(self, name: str) -> list[RequirementLine]:
        """The lines that name a package, in their order."""
        wanted = canonicalize_name(name)
        return [each.source for each in self.asked if each.name == wanted]

    def asked_by_name(self) -> dict[str, str]:
        """The first line for each package that a line names, as a sentence calls it."""
        return {each.name: named(each.source) for each in reversed(self.asked) if each.name}


def prepare(wanted: Wanted, rules: PackageRules) -> Prepared:
    """What uv is to be given.

    Raises:
        BuildFailure: A line reaches where it may not, or lacks its variable; the sentence names the line.
    """
    checking = _Checking(wanted, rules)
    asked = tuple(found for line in wanted.requirements.lines if (found := checking.check(line)))
    versions = {"jina": wanted.jina, "docarray": wanted.docarray}
    return Prepared(
        asked,
        (f"jina=={wanted.jina}", f"docarray=={wanted.docarray}", *constraints.lines_for("runtime", **versions)),
        (*constraints.lines_for("constraint", **versions), *wanted.constraints),
        constraints.lines_for("build", **versions),
        {VARIABLE_PREFIX + name: value for name, value in wanted.build_env.items() if name in checking.used},
        is_shareable=checking.is_shareable,
        allows_prereleases=checking.allows_prereleases,
        indexes=tuple(checking.indexes),
    )


def named(line: RequirementLine) -> str:
    """How a line is called in a sentence."""
    word = "dependency" if line.file == PYPROJECT_NAME else "line"
    return f"{line.file} {word} {line.line} ({shorten(line.text)!r})"


@dataclass(slots=True)
class _Checking:
    wanted: Wanted
    rules: PackageRules
    used: set[str] = field(default_factory=set)
    indexes: list[str] = field(default_factory=list)
    is_shareable: bool = True
    allows_prereleases: bool = False

    def check(self, line: RequirementLine) -> Asked | None:
        expanded = self._expand(line)
        kind = parse_line(expanded, file=line.file, number=line.line).kind
        if kind != line.kind:
            raise BuildFailure(
                f"{named(line)}: with the variables' values it is something else than without.",
                "A variable stands for a version or a credential, never for an option or an address.",
            )
        if kind == "option":
            return self._option(line, expanded)
        if kind == "path":
            raise BuildFailure(
                f"{named(line)} names a path, and an image's requirements cannot be files of the machine that builds.",
                "Name the package and its version, or put its code into the Executor's folder.",
            )
        if kind == "url":
            return self._address(line, expanded)
        return self._requirement(line, expanded)

    def _expand(self, line: RequirementLine) -> str:
        for name in _VARIABLE.findall(line.text):
            self._check_variable(line, name)
        return _VARIABLE.sub(lambda found: self.wanted.build_env[found[1]], line.text)

    def _check_variable(self, line: RequirementLine, name: str) -> None:
        if not _NAME.fullmatch(name):
            raise BuildFailure(
                f"{named(line)}: ${{{shorten(name)}}} is no variable.", "Names are made of A to Z, 0 to 9 and _."
            )
        if name not in self.wanted.build_env:
            raise BuildFailure(
                f"{named(line)} needs the variable {name}, which the push did not give.",
                f"Push again with --build-env {name}=VALUE.",
            )
        value = self.wanted.build_env[name]
        if not value.isprintable() or " " in value:
            raise BuildFailure(f"{named(line)}: the value of {name} has spaces or line breaks.", "Push again without.")
        self.used.add(name)

    def _requirement(self, line: RequirementLine, expanded: str) -> Asked:
        plain, hashes = self._without_options(line, expanded)
        try:
            parsed = Requirement(plain)
        except (InvalidRequirement, RecursionError) as error:
            raise BuildFailure(
                f"{named(line)} is not a requirement.", "Write a package's name and versions, as in numpy>=1.26."
            ) from error
        if parsed.url is None:
            return Asked(expanded, line, canonicalize_name(parsed.name), hashes)
        self._check_url(line, parsed.url)
        return Asked(_for_uv(line.text), line, canonicalize_name(parsed.name), hashes)

    def _without_options(self, line: RequirementLine, expanded: str) -> tuple[str, tuple[str, ...]]:
        options = _TRAILING.search(expanded)
        if not options:
            return expanded, ()
        if not _HASHES.fullmatch(options[1].strip() + " "):
            raise BuildFailure(
                f"{named(line)} has options that builds do not take.", "Only --hash=sha256:... is allowed after a name."
            )
        return expanded[: options.start()].strip(), tuple(_HASH.findall(options[1]))

    def _address(self, line: RequirementLine, expanded: str) -> Asked:
        plain, hashes = self._without_options(line, expanded)
        self._check_url(line, plain)
        egg = _EGG.search(plain)
        return Asked(_for_uv(line.text), line, canonicalize_name(egg[1]) if egg else None, hashes)

    def _check_url(self, line: RequirementLine, url: str) -> None:
        scheme = url.partition(":")[0].lower()
        if scheme == "git+https":
            self._check_git(line, url)
        elif scheme in {"https", "http"}:
            self._check_host(line, url)
        else:
            raise BuildFailure(
                f"{named(line)}: addresses of the kind {shorten(scheme, 20)}: are not fetched in builds.",
                "Name a package of the index, or an https address on a host that the hub's operator allows.",
            )
        self.is_shareable = False

    def _check_git(self, line: RequirementLine, url: str) -> None:
        host = url_address(url.removeprefix("git+"))
        if host in {address(each) for each in self.rules.git_hosts} and self.rules.index_url:
            return
        raise BuildFailure(
            f"{named(line)}: this hub does not build from git repositories on {shorten(host[0])}.",
            "Publish the package to the index and name its version, or copy its code into the Executor's folder; "
            "the hub's operator can allow a host with PALOMAR_BUILD_GIT_HOSTS.",
        )

    def _check_host(self, line: RequirementLine, url: str) -> None:
        try:
            host = url_address(url)
        except ValueError as error:
            raise BuildFailure(f"{named(line)}: the address cannot be read.", "Write https://HOST/PATH.") from error
        if host in self.rules.hosts():
            return
        allowed = ", ".join(sorted(name for name, _ in self.rules.hosts())) or "none, it has no package index"
        raise BuildFailure(
            f"{named(line)}: builds on this hub may not reach {shorten(host[0])}.",
            f"Hosts that may be reached: {allowed}. The hub's operator can add one with PALOMAR_BUILD_INDEX_HOSTS.",
        )

    def _option(self, line: RequirementLine, expanded: str) -> Asked | None:
        found = _OPTION.fullmatch(expanded)
        name, value = (found[1], found[2].strip()) if found else (expanded, "")
        if name in {"-r", "--requirement"}:
            self._check_included(line, value)
            return None
        if name in {"-i", "--index-url", "--extra-index-url"}:
            self._check_index(line, value)
            self.indexes.append(_option_value(line.text))
            kind = "--index-url" if name == "-i" else name
            return Asked(f"{kind} {_for_uv(_option_value(line.text))}", line)
        if name == "--pre":
            self.allows_prereleases = True
            return None
        if name in _FORMATS:
            return self._formats(line, name, value)
        if name in _IGNORED:
            return None
        raise BuildFailure(
            f"{named(line)} is refused: {_WHY_REFUSED.get(name, 'builds do not take this option')}.",
            "Remove the line and push again.",
        )

    def _check_index(self, line: RequirementLine, value: str) -> None:
        if not value.startswith(("https://", "http://")):
            raise BuildFailure(f"{named(line)} names no http address.", "Write https://HOST/PATH.")
        self._check_host(line, value)
        if value.rstrip("/") != (self.rules.index_url or "").rstrip("/"):
            self.is_shareable = False

    def _formats(self, line: RequirementLine, name: str, value: str) -> Asked:
        if not re.fullmatch(r":all:|:none:|[A-Za-z0-9][A-Za-z0-9._,-]*", value):
            raise BuildFailure(f"{named(line)} names no packages.", "Write :all:, or names with commas between them.")
        return Asked(f"{name} {value}", line)

    def _check_included(self, line: RequirementLine, value: str) -> None:
        """A file of the package itself was read with the rest, and stands among the lines already."""
        path = normpath(join(dirname(line.file), value))
        known = any(each.file == path for each in self.wanted.requirements.lines)
        complaints = self.wanted.requirements.warnings
        if known or (_is_inside(path) and not any(_is_about(text, line) for text in complaints)):
            return
        raise BuildFailure(
            f"{named(line)} includes a file that is not in the package.", "Put the file beside requirements.txt."
        )


def _is_inside(path: str) -> bool:
    return not path.startswith(("/", "..", "~")) and ":" not in path


def _is_about(text: str, line: RequirementLine) -> bool:
    return text.startswith(f"{line.file} line {line.line}: ")


def _option_value(text: str) -> str:
    found = _OPTION.fullmatch(text)
    return found[2].strip() if found else ""


def _for_uv(text: str) -> str:
    """Variables are left to uv, which keeps them as they are in what it writes; so no value gets into the lock."""
    return _VARIABLE.sub(lambda found: f"${{{VARIABLE_PREFIX}{found[1]}}}", text)
