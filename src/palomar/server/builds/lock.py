"""The result of a resolution: what exactly is installed, and from which files.

It is read from what uv wrote in a sandbox where packages' build code ran too, so nothing in it is believed: a name is a
name, a hash a hash, a file comes from a host that may be reached. Whoever forges it changes their own image alone.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from palomar.server.builds.wanted import VARIABLE_PREFIX

_PIN: Final = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]*)(?:==(\S+)| @ (\S+))(?:\s+;.*)?")
_HASH: Final = re.compile(r"--hash=(sha(?:256|384|512):[0-9a-f]+)")
_VIA: Final = re.compile(r"\s+#\s+(?:via(?:\s+|$))?(\S.*)?")
_SHA256: Final = re.compile(r"[0-9a-f]{64}")
_FETCHED: Final = ("https://", "http://", "git+https://")
_MAX_TEXT: Final = 8 * 1024**2
_MAX_PINS: Final = 5000


class LockUnreadable(ValueError):
    """What the sandbox left is no lock."""


@dataclass(frozen=True, slots=True)
class LockedFile:
    """``url`` is an address, or a bare name of a file in the hub's own folder of packages."""

    name: str
    url: str
    sha256: str

    @property
    def is_wheel(self) -> bool:
        return self.name.endswith(".whl")


@dataclass(frozen=True, slots=True)
class Pin:
    """``url`` is set where the requirement named an address, with ``${NAME}`` for its variables; ``via`` are the names
    of packages that ask for this one. Without a wheel among ``files`` it is built from source.
    """

    name: str
    version: str
    url: str | None = None
    hashes: tuple[str, ...] = ()
    via: tuple[str, ...] = ()
    files: tuple[LockedFile, ...] = ()

    @property
    def is_source(self) -> bool:
        return not any(file.is_wheel for file in self.files)


@dataclass(frozen=True, slots=True)
class Lock:
    """``text`` is a requirements file with hashes that pip understands too. ``runtime`` names the pins that jina and
    docarray need, ``sources`` those that have no wheel. ``is_shareable`` and ``build_constraints`` are as in
    ``Prepared``; ``asked`` says for a name which line asks for it, and ``indexes`` are those that lines name, with
    ``${NAME}`` for variables.
    """

    text: str
    pins: tuple[Pin, ...]
    runtime: frozenset[str]
    is_shareable: bool = True
    build_constraints: tuple[str, ...] = ()
    asked: Mapping[str, str] = field(default_factory=dict)
    indexes: tuple[str, ...] = ()

    def part(self, pins: Iterable[Pin], build_env: Mapping[str, str] | None = None) -> LockPart:
        """Some of the pins, as they are installed."""
        return LockPart(
            tuple(pins), self.is_shareable, self.build_constraints, build_env or {}, self.asked, self.indexes
        )

    @property
    def sources(self) -> tuple[str, ...]:
        return tuple(pin.name for pin in self.pins if pin.is_source)

    def to_json(self) -> str:
        """Equal locks give equal texts: a lock may be kept and used again while what was asked for is the same."""
        return json.dumps({**asdict(self), "runtime": sorted(self.runtime)}, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Lock:
        fields = json.loads(text)
        pins = tuple(_pin_from(entry) for entry in fields["pins"])
        fields |= {"pins": pins, "runtime": frozenset(fields["runtime"])}
        fields |= {name: tuple(fields[name]) for name in ("build_constraints", "indexes")}
        return cls(**fields)


@dataclass(frozen=True, slots=True)
class LockPart:
    """Some pins of a lock, for one layer. ``build_env`` is needed again where an address has variables; ``asked``
    and ``indexes`` are the lock's.
    """

    pins: tuple[Pin, ...]
    is_shareable: bool = True
    build_constraints: tuple[str, ...] = ()
    build_env: Mapping[str, str] = field(default_factory=dict, repr=False)
    asked: Mapping[str, str] = field(default_factory=dict)
    indexes: tuple[str, ...] = ()


def _pin_from(entry: dict[str, Any]) -> Pin:
    files = tuple(LockedFile(**file) for file in entry["files"])
    return Pin(entry["name"], entry["version"], entry["url"], tuple(entry["hashes"]), tuple(entry["via"]), files)


def read_pins(requirements: str, pylock: str) -> tuple[Pin, ...]:
    """From the two forms that uv writes: who asked for what stands in the first, where files are in the second.

    Raises:
        LockUnreadable: They are no such files, or do not fit together.
    """
    if max(len(requirements), len(pylock)) > _MAX_TEXT:
        raise LockUnreadable("the lock is too large")
    packages = _packages(pylock)
    pins = tuple(_with_files(pin, packages) for pin in _parse_requirements(requirements))
    if len(pins) > _MAX_PINS:
        raise LockUnreadable("the lock has too many packages")
    return pins


def _parse_requirements(text: str) -> Iterable[Pin]:
    pin: Pin | None = None
    for line in text.replace(VARIABLE_PREFIX, "").splitlines():
        if line and not line[0].isspace() and not line.startswith(("#", "-")):
            if pin:
                yield pin
            pin = _parse_pin(line.removesuffix("\\").rstrip())
        elif pin and (found := _HASH.search(line)):
            pin = replace(pin, hashes=(*pin.hashes, found[1]))
        elif pin and (via := _VIA.fullmatch(line)) and via[1] and not via[1].startswith("-"):
            pin = replace(pin, via=(*pin.via, _bare(via[1])))
    if pin:
        yield pin


def _bare(text: str) -> str:
    return canonicalize_name(text.partition("[")[0].split()[0])


def _parse_pin(line: str) -> Pin:
    found = _PIN.fullmatch(line)
    if not found:
        raise LockUnreadable(f"{line[:80]!r} is no pin")
    return Pin(canonicalize_name(found[1]), found[2] or "", found[3])


def _packages(pylock: str) -> dict[str, dict[str, Any]]:
    try:
        listed = tomllib.loads(pylock)["packages"]
        return {canonicalize_name(entry["name"]): entry for entry in listed}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise LockUnreadable("the list of files cannot be read") from error


def _with_files(pin: Pin, packages: dict[str, dict[str, Any]]) -> Pin:
    try:
        entry = packages[pin.name]
        files = tuple(_files(entry, pin))
        version = _version(str(entry.get("version") or pin.version or _version_in(files)))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise LockUnreadable(f"the files of {pin.name[:80]} cannot be read") from error
    return replace(pin, version=version, files=files)


def _version(text: str) -> str:
    try:
        return str(Version(text))
    except InvalidVersion:
        # A repository's package has none before it is built.
        return "0"


def _version_in(files: tuple[LockedFile, ...]) -> str:
    stems = [file.name.removesuffix(".tar.gz").removesuffix(".zip").split("-") for file in files]
    return stems[0][1] if stems and len(stems[0]) > 1 else "0"


def _files(entry: dict[str, Any], pin: Pin) -> Iterable[LockedFile]:
    for file in [*entry.get("wheels", ()), *filter(None, (entry.get("sdist"), entry.get("archive")))]:
        url = pin.url or str(file.get("url") or file["path"])
        name = unquote(urlsplit(str(file.get("name") or url)).path.rpartition("/")[2])
        sha256 = file["hashes"]["sha256"]
        if not _SHA256.fullmatch(sha256) or not name or not name.isprintable():
            raise ValueError("no file's name, or no digest")
        yield LockedFile(name, url if url.startswith(_FETCHED) else name, sha256)
