"""One sentence out of what uv and build backends say, and what to try.

The whole output stands in the build's log; this is for whoever pushed and sees one line. Sentences name the line of
requirements.txt where there is one. What is not recognised is quoted: a sentence of uv's is better than none of ours.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from palomar.contract.errors import shorten
from palomar.server.builds.builder import BuildFailure
from palomar.server.builds.constraints import default_constraints
from palomar.server.builds.explain_failures import (
    Saying,
    explain_excess,
    explain_source,
    explain_transport,
)
from palomar.server.builds.lock import LockPart
from palomar.server.builds.masking import Masking
from palomar.server.builds.python_base import PythonBase
from palomar.server.builds.sandbox import Outcome
from palomar.server.builds.wanted import Prepared, named

_SPEC: Final = r"[=<>!~][^\s,]*(?:,[=<>!~][^\s,]*)*"
_NAME: Final = r"[A-Za-z0-9][A-Za-z0-9._-]*(?:\[[^\]]*\])?"
_ABSENT: Final = re.compile(rf"({_NAME}) was not found in the (?:package registry|cache|provided package locations)")
_NO_VERSION: Final = re.compile(rf"there (?:is|are) no versions? of ({_NAME})({_SPEC})?")
_NO_WHEEL: Final = re.compile(rf"({_NAME}?)((?:==[^\s,]+)?) has no wheels with a matching ([A-Za-z ]+) tags?")
_PYTHON: Final = re.compile(
    rf"current Python version \([^)]*\) does not satisfy Python(?P<python>{_SPEC}) and "
    rf"(?P<name>{_NAME}?)(?P<version>(?:{_SPEC})?) depends on Python"
)
_NEEDS_PYTHON: Final = re.compile(rf"(?P<name>{_NAME}?)(?P<version>(?:{_SPEC})?) requires Python ?(?P<python>{_SPEC})")
_YANKED: Final = re.compile(rf"({_NAME}?)(==[^\s,]+) was yanked \(reason: ([^)]*)\)")
_BOTH: Final = re.compile(rf"you require ({_NAME}?)({_SPEC}) and ({_NAME}?)({_SPEC})[,\s]")
_NEEDS: Final = re.compile(rf"({_NAME}?)((?:{_SPEC})?) depends? on ({_NAME}?)({_SPEC})")
_ASKED: Final = re.compile(rf"you require ({_NAME}?)({_SPEC})")
_OWN: Final = frozenset({"jina", "docarray"})


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What a resolution was asked for, and on what. ``refused`` are the hosts that somebody tried to reach in vain."""

    base: PythonBase
    jina: str
    docarray: str
    prepared: Prepared
    refused: list[str]

    def where(self, name: str) -> str:
        """The line that asks for a package, or who else does."""
        lines = self.prepared.lines_of(name)
        if lines:
            return named(lines[0])
        if canonicalize_name(name) in _OWN:
            return self._own(name)
        return f"{shorten(name)}, which another package needs"

    def _own(self, name: str) -> str:
        return f"{name} {self.jina if canonicalize_name(name) == 'jina' else self.docarray}, which the image is for"

    @property
    def python(self) -> str:
        return f"Python {self.base.version} on {self.base.platform}"


@dataclass(frozen=True, slots=True)
class BuildSubject:
    """A source distribution that is being built, and the line that asks for it."""

    base: PythonBase
    name: str
    version: str
    line: str | None
    refused: tuple[str, ...]
    masking: Masking


def explain(outcome: Outcome, circumstances: Circumstances) -> BuildFailure:
    """Why a resolution came to nothing. The outcome's values are hidden already."""
    if outcome.excess:
        return explain_excess(outcome.excess, "finding out which versions go together")
    text = _flat(outcome.output)
    for rule in _RULES:
        if saying := rule(text, circumstances):
            return BuildFailure(*saying)
    refused = tuple(circumstances.refused)
    return (
        explain_transport(text, circumstances.where)
        or explain_source(outcome.output, circumstances.base, refused, circumstances.where)
        or _unknown(text, "The requirements cannot be resolved")
    )


def explain_build(outcome: Outcome, subject: BuildSubject) -> BuildFailure:
    """Why one source distribution could not be fetched or built."""
    what = f"{subject.name} {subject.version}"
    where = subject.line or subject.name
    if outcome.excess:
        return explain_excess(outcome.excess, f"building {what} from source")
    output = [subject.masking.hide(line) for line in outcome.output]
    text = _flat(output)
    if found := explain_transport(text, lambda _: where):
        return found
    found = explain_source(output, subject.base, subject.refused, lambda _: where, name=subject.name)
    return found or _unknown(text, f"{what} cannot be built from source")


def explain_install(outcome: Outcome, base: PythonBase, part: LockPart, masking: Masking) -> BuildFailure:
    """Why wheels could not be installed."""
    if outcome.excess:
        return explain_excess(outcome.excess, "installing the packages")
    output = [masking.hide(line) for line in outcome.output]
    text = _flat(output)

    def where(name: str) -> str:
        return part.asked.get(canonicalize_name(name)) or shorten(name)

    if found := explain_transport(text, where):
        return found
    found = explain_source(output, base, (), where)
    return found or _unknown(text, "The packages cannot be installed")


def _flat(output: Sequence[str]) -> str:
    """One line: uv wraps and indents its reasons."""
    return " ".join(" ".join(output).split())


def _unknown(text: str, what: str) -> BuildFailure:
    said = re.split(r"(?:^|\s)(?:error|cause): ", text)[-1].partition(" hint: ")[0]
    return BuildFailure(f"{what}: {shorten(said or 'nothing was said', 300)}", "The build's log has all of it.")


def _absent(text: str, circumstances: Circumstances) -> Saying | None:
    found = _ABSENT.search(text)
    if not found:
        return None
    return (
        f"{circumstances.where(found[1])}: there is no package named {found[1]} where this hub looks.",
        "Check the spelling, or name the index that has it with --extra-index-url on a line of its own.",
    )


def _no_version(text: str, circumstances: Circumstances) -> Saying | None:
    found = _NO_VERSION.search(text)
    if not found:
        return None
    return (
        f"{circumstances.where(found[1])}: there is no version {found[1]}{found[2] or ''}.",
        f"See which versions there are with 'pip index versions {found[1]}', or ask for a wider range.",
    )


def _no_wheel(text: str, circumstances: Circumstances) -> Saying | None:
    found = _NO_WHEEL.search(text)
    if not found:
        return None
    return (
        (
            f"{circumstances.where(found[1])}: {found[1]}{found[2]} has no wheel for {circumstances.python} "
            f"({circumstances.base.libc}), and no source either."
        ),
        "Choose another version, or a base image with a Python that it has wheels for.",
    )


def _python(text: str, circumstances: Circumstances) -> Saying | None:
    found = _PYTHON.search(text) or _NEEDS_PYTHON.search(text)
    if not found:
        return None
    name, version, python = found["name"], found["version"], found["python"]
    return (
        (
            f"{circumstances.where(name)}: {name}{version} needs Python{python}, "
            f"and the base image has {circumstances.base.version}."
        ),
        "Ask for a version that runs there, or for a base image with another Python.",
    )


def _yanked(text: str, circumstances: Circumstances) -> Saying | None:
    found = _YANKED.search(text)
    if not found:
        return None
    return (
        f"{circumstances.where(found[1])}: {found[1]}{found[2]} was withdrawn by its publishers ({shorten(found[3])}).",
        f"Ask for another version, or for exactly this one with {found[1]}{found[2]}.",
    )


def _both(text: str, circumstances: Circumstances) -> Saying | None:
    found = _BOTH.search(text)
    if not found or canonicalize_name(found[1]) != canonicalize_name(found[3]):
        return None
    lines = circumstances.prepared.lines_of(found[1])
    if rule := _constraint(found[3], circumstances):
        return (
            (
                f"{circumstances.where(found[1])} does not go with {rule[0]}, held for jina {circumstances.jina} "
                f"with docarray {circumstances.docarray}: {rule[1]}"
            ),
            "Ask for versions within it, or push with other versions of jina and docarray.",
        )
    if len(lines) > 1:
        return (
            f"{named(lines[0])} and {named(lines[1])} contradict one another.",
            f"Keep one of the two lines for {found[1]}.",
        )
    return (
        (
            f"{circumstances.where(found[1])} does not go with {found[1]}{found[2]} and {found[3]}{found[4]}, "
            "which are both asked for."
        ),
        "Ask for a wider range.",
    )


def _constraint(name: str, circumstances: Circumstances) -> tuple[str, str] | None:
    """The default constraint for a package, and why there is one."""
    for each in default_constraints():
        if each.kind != "constraint" or not each.is_for(circumstances.jina, circumstances.docarray):
            continue
        if canonicalize_name(Requirement(each.line).name) == canonicalize_name(name):
            return each.line, each.why
    for line in circumstances.prepared.constraints:
        if canonicalize_name(Requirement(line).name) == canonicalize_name(name):
            return line, "the hub's operator wants it so."
    return None


def _conflict(text: str, circumstances: Circumstances) -> Saying | None:
    needs = [match.groups() for match in _NEEDS.finditer(text)]
    for who, version, what, spec in needs:
        for line in circumstances.prepared.lines_of(what):
            if canonicalize_name(who) != canonicalize_name(what):
                return (
                    f"{named(line)} does not go with {_who(who, version, circumstances)}, which needs {what}{spec}.",
                    f"Ask for {what}{spec}, or for another version of {who}.",
                )
    asked = next((found[1] for found in _ASKED.finditer(text) if circumstances.prepared.lines_of(found[1])), None)
    if not needs or asked is None:
        return None
    said = ", and ".join(f"{who}{version} needs {what}{spec}" for who, version, what, spec in needs[:3])
    return (
        f"{circumstances.where(asked)} does not go with the rest: {said}.",
        f"Ask for another version of {asked}, or for a wider range.",
    )


def _who(name: str, version: str, circumstances: Circumstances) -> str:
    if canonicalize_name(name) in _OWN:
        return f"{name} {circumstances.jina if canonicalize_name(name) == 'jina' else circumstances.docarray}"
    lines = circumstances.prepared.lines_of(name)
    return named(lines[0]) if lines else f"{name}{version}"


def _unreadable(text: str, circumstances: Circumstances) -> Saying | None:
    """What uv does not read although ``packaging`` does."""
    found = re.search(
        r"Couldn't parse requirement in `requirements\.txt` at position \d+ cause: (.{1,200}?)(?: cause|$)", text
    )
    if not found:
        return None
    first = next((each.source for each in circumstances.prepared.asked if _is_odd(each.text)), None)
    return (
        f"{named(first) if first else 'A line of the requirements'} is not understood: {found[1]}.",
        "Write a package's name and versions, as in numpy>=1.26.",
    )


def _is_odd(text: str) -> bool:
    try:
        Requirement(text)
    except InvalidRequirement:
        return True
    return False


_RULES: Final[tuple[Callable[[str, Circumstances], Saying | None], ...]] = (
    _unreadable,
    _absent,
    _no_version,
    _no_wheel,
    _python,
    _yanked,
    _both,
    _conflict,
)
