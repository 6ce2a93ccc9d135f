"""What goes wrong on the way to packages and while one is built, in a sentence each."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, TypeAlias
from urllib.parse import urlsplit

from packaging.utils import canonicalize_name

from palomar.contract.errors import shorten
from palomar.server.builds.builder import BuildFailure
from palomar.server.builds.limits import Excess
from palomar.server.builds.python_base import PythonBase

#: A sentence, and what to try.
Saying: TypeAlias = tuple[str, str]

_URL: Final = re.compile(r"https?://[^\s`)]+")
_STATUS: Final = re.compile(r"HTTP status (?:client|server) error \((\d{3})")
_FAILED_URL: Final = re.compile(r"(?:[Ff]ailed to (?:download|fetch|build))[: ]*`([A-Za-z0-9._-]+)(?: @ |==)")
_HASH: Final = re.compile(r"Hash mismatch for `([^`]+)`")
_SUBJECT: Final = re.compile(r"(?:Failed to build|Failed to download and build) `([^`]+)`")
_NETWORK: Final = re.compile(
    r"client error \(Connect\)|dns error|tunnel error|operation timed out|error sending request|"
    r"URLError|Network is unreachable|Connection refused|Remote end closed"
)
_CRASH: Final = re.compile(r"^\s*((?:[A-Za-z_][\w.]*)?(?:Error|Exception|Exit|Interrupt)\b.*|error: .*)$")
_UVS_OWN: Final = re.compile(r"^\s*error: (?:Failed to|Build backend|Request failed)")

_EXCESS: Final[dict[Excess, tuple[str, str]]] = {
    "time": ("took longer than a build may", "Try again; ask for exact versions, so that there is less to search."),
    "memory": ("needed more memory than a build may have", "Choose a version that has a wheel, or ask the operator."),
    "processes": ("started more processes than a build may have", "Choose another version of what starts them."),
    "disk": ("needed more disk space than a build may have", "Ask for fewer or smaller packages, or ask the operator."),
}


class _Symptom(NamedTuple):
    pattern: re.Pattern[str]
    lacking: str


_SYMPTOMS: Final = (
    _Symptom(re.compile(r"Python\.h: No such file"), "Python's header files"),
    _Symptom(re.compile(r"fatal error: (\S+\.h(?:pp)?): No such file"), "the header {0}"),
    _Symptom(re.compile(r"command '[^']*(?:gcc|cc|g\+\+|c\+\+|clang)' failed: No such file"), "a C compiler"),
    _Symptom(re.compile(r"Broken toolchain|[Nn]o (?:acceptable )?C compiler|Unknown compiler\(s\)"), "a C compiler"),
    _Symptom(re.compile(r"unable to find (?:a )?C(?:\+\+)? compiler", re.IGNORECASE), "a C compiler"),
    _Symptom(re.compile(r"CMAKE_C(?:XX)?_COMPILER not set|No CMAKE_C(?:XX)?_COMPILER"), "a C compiler"),
    _Symptom(re.compile(r"(?:can't find|requires|not find) (?:the )?Rust|cargo.*not found|rustc.*not found"), "Rust"),
    _Symptom(re.compile(r"(pg_config|mysql_config|pkg-config|cmake|llvm-config)\S* (?:executable )?not found"), "{0}"),
    _Symptom(re.compile(r"don't know how to compile Fortran|gfortran.*not found"), "a Fortran compiler"),
    _Symptom(re.compile(r"no git: the base image|Git executable not found"), "git"),
)


def explain_excess(excess: Excess, what: str) -> BuildFailure:
    """Which limit ended it. Time is the hub's to give: the same package may be built when the machine is less busy."""
    went, hint = _EXCESS[excess]
    return BuildFailure(f"{what[0].upper()}{what[1:]} {went}.", hint, is_hubs_fault=excess == "time")


def explain_transport(text: str, where: Callable[[str], str]) -> BuildFailure | None:
    """Whether files could not be got, or were others than promised. ``where`` says how a package is called."""
    if found := _HASH.search(text):
        return BuildFailure(
            f"{where(found[1].partition('==')[0])}: what the index serves for {found[1]} does not have the hash that "
            "is expected.",
            "Correct the hash in the line, or take another version; a proxy before the index may alter files.",
        )
    if re.search(r"No space left on device|os error 28|Disk quota exceeded", text):
        return BuildFailure("The hub's disk is full.", "Tell the hub's operator.", is_hubs_fault=True)
    if re.search(r"Cannot allocate memory|os error 12\b|memory allocation of", text):
        return explain_excess("memory", "installing the packages")
    return _unreachable(text, where)


def _unreachable(text: str, where: Callable[[str], str]) -> BuildFailure | None:
    address = _URL.search(text)
    host = shorten(urlsplit(address[0]).hostname or "") if address else "the package index"
    status = _STATUS.search(text) or re.search(r"HTTP Error (\d{3})", text)
    code = int(status[1]) if status else 0
    if code in {401, 403, 407}:
        return BuildFailure(
            f"{_named(text, where)}{host} refuses the request ({code}).",
            "Give credentials in the line, with ${NAME} and --build-env NAME=VALUE; "
            "without, check that the address is one that this hub may reach.",
        )
    if code in {404, 410}:
        return BuildFailure(
            f"{_named(text, where)}nothing is at that address on {host} ({code}).", "Check the address."
        )
    if code >= 500 or _NETWORK.search(text):
        return BuildFailure(
            f"The package index on {host} cannot be reached.", "Try again in a while.", is_hubs_fault=True
        )
    return None


def _named(text: str, where: Callable[[str], str]) -> str:
    found = _FAILED_URL.search(text)
    return f"{where(found[1])}: " if found else ""


def explain_source(
    output: Sequence[str],
    base: PythonBase,
    refused: tuple[str, ...],
    where: Callable[[str], str],
    *,
    name: str = "",
) -> BuildFailure | None:
    """What a source distribution lacked when its code ran."""
    text = "\n".join(output)
    found = _SUBJECT.search(text)
    if not found and not name:
        return None
    package = name or canonicalize_name(re.split(r"==| @ ", found[1] if found else "")[0])
    begin = f"{where(package)}: " if where(package) != package else ""
    if base.is_foreign and _symptom(text):
        return must_be_compiled(base, package, where(package))
    if symptom := _symptom(text):
        return BuildFailure(
            f"{begin}{package} must be built from source for Python {base.version}, which needs {symptom}, and the "
            "base image has none.",
            f"Choose a version of {package} that has a wheel for Python {base.version} on {base.platform}, or ask the "
            "hub's operator for a base image with build tools.",
        )
    if refused:
        return BuildFailure(
            f"{begin}building {package} from source tries to reach {shorten(refused[0])}, and builds may not.",
            "Choose a version that has a wheel.",
        )
    return BuildFailure(
        f"{begin}building {package} from source failed: {shorten(_last_words(output), 200)}",
        f"Choose a version of {package} that has a wheel for Python {base.version}; the build's log has all of it.",
    )


def must_be_compiled(base: PythonBase, package: str, line: str | None) -> BuildFailure:
    """What can be made on the image's own platform alone; ``line`` is how a sentence calls what asks for it."""
    begin = f"{line}: " if line and line != package else ""
    return BuildFailure(
        f"{begin}{package} has no wheel for {base.platform} and has to be compiled there; this hub runs on "
        f"{base.runs_on}.",
        f"Choose a version that has a wheel for Python {base.version} on {base.platform}, or push without "
        f"--platform {base.platform}.",
    )


def _symptom(text: str) -> str | None:
    for symptom in _SYMPTOMS:
        if found := symptom.pattern.search(text):
            return symptom.lacking.format(*(shorten(group or "", 60) for group in found.groups()))
    return None


def _last_words(output: Sequence[str]) -> str:
    """The last line that looks like an error of the package's own."""
    own = [line.strip() for line in output if _CRASH.match(line) and not _UVS_OWN.match(line)]
    if own:
        return own[-1]
    shown = [line.strip() for line in _complaint(output) if line.strip()]
    return shown[0] if shown else "it did not say why"


def _complaint(output: Sequence[str]) -> Sequence[str]:
    """What uv quotes of the backend's streams."""
    for number, line in enumerate(output):
        if line.strip() in {"[stderr]", "[stdout]"}:
            return output[number + 1 :]
    return ()
