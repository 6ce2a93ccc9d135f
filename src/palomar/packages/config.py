"""``config.yml`` and the deprecated ``manifest.yml``: what a package says about itself."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Final

from palomar.contract.errors import BadPackage
from palomar.packages.archive import PackageArchive
from palomar.packages.limits import PackageLimits
from palomar.packages.paths import is_inside
from palomar.packages.text import bounded
from palomar.packages.yamltext import load_mapping

#: The first that is there is read; old clients look at the first alone.
CONFIG_NAMES: Final = ("config.yml", "config.yaml")
MANIFEST_NAME: Final = "manifest.yml"

_CLASS_NAME: Final = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)*")
_WEB_ADDRESS: Final = re.compile(r"https?://[^\s<>\"'`\\]+", re.IGNORECASE)
_MAX_TEXT: Final = 10_000


@dataclass(frozen=True, slots=True)
class PackageConfig:
    """``file`` is the config's name, None without one; ``with_`` and ``metas`` hold JSON values and nothing else.

    ``url`` is a web address or None; ``requests`` are endpoints by name with their methods.
    """

    file: str | None = None
    jtype: str | None = None
    py_modules: tuple[str, ...] = ()
    name: str | None = None
    description: str | None = None
    url: str | None = None
    keywords: tuple[str, ...] = ()
    with_: dict[str, Any] = field(default_factory=dict)
    requests: dict[str, str] = field(default_factory=dict)
    metas: dict[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


def read_config(archive: PackageArchive, limits: PackageLimits) -> PackageConfig:
    """What the package says about itself; an empty config where it says nothing. Raises BadPackage."""
    files = [name for name in CONFIG_NAMES if name in archive]
    main = files[0] if files else None
    root = _Section.of_file(archive, main, limits)
    manifest = _Section.of_file(archive, MANIFEST_NAME if MANIFEST_NAME in archive else None, limits)
    metas = root.section("metas")
    reading = _Reading(root, metas, manifest)
    warnings = [f"{name} is not read, because {main} is there" for name in files[1:]]
    return reading.config(main, warnings)


@dataclass(frozen=True, slots=True)
class _Section:
    """A mapping of a file, which its errors name together with the ``path`` to the mapping."""

    file: str
    values: dict[str, Any]
    path: str = ""

    @classmethod
    def of_file(cls, archive: PackageArchive, name: str | None, limits: PackageLimits) -> _Section:
        if name is None:
            return cls(CONFIG_NAMES[0], {})
        data = archive.read(name, limits.max_config_bytes)
        values, tag = load_mapping(data, entry=name, limits=limits)
        if tag is not None and values.setdefault("jtype", tag) != tag:
            raise BadPackage(f"it names two classes, '!{tag}' and jtype {values['jtype']!r}", name)
        return cls(name, values)

    def section(self, key: str) -> _Section:
        value = self.values.get(key)
        if value is not None and not isinstance(value, dict):
            raise self.error(key, "a mapping of names to values")
        return _Section(self.file, value or {}, f"{self.path}{key}.")

    def text(self, key: str) -> str | None:
        value = self.values.get(key)
        if value is None or value == "":
            return None
        if isinstance(value, bool | int | float):
            return str(value)
        if not isinstance(value, str):
            raise self.error(key, "text")
        return bounded(value.strip(), _MAX_TEXT) or None

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of texts; a text alone is a list of one."""
        value = self.values.get(key)
        if value is None or value == "":
            return ()
        listed = value if isinstance(value, list) else [value]
        if not all(isinstance(item, str | int | float) for item in listed):
            raise self.error(key, "a list of texts")
        return tuple(str(item).strip() for item in listed if str(item).strip())

    def error(self, key: str, wanted: str) -> BadPackage:
        return BadPackage(f"'{self.path}{key}' must be {wanted}", self.file)


@dataclass(frozen=True, slots=True)
class _Reading:
    root: _Section
    metas: _Section
    manifest: _Section

    def config(self, file: str | None, warnings: list[str]) -> PackageConfig:
        return PackageConfig(
            file=file,
            jtype=self._jtype(),
            py_modules=self._py_modules(),
            # The clients take the config's name first; everything else of the manifest goes over the config's.
            name=self.metas.text("name") or self.manifest.text("name"),
            description=self.manifest.text("description") or self.metas.text("description"),
            url=self._url(warnings),
            keywords=self._keywords(),
            with_=self.root.section("with").values,
            requests=self._requests(),
            metas={**self.metas.values, **self.manifest.values},
            warnings=tuple(warnings),
        )

    def _jtype(self) -> str | None:
        jtype = self.root.text("jtype")
        if jtype is not None and not _CLASS_NAME.fullmatch(jtype):
            raise self.root.error("jtype", "the name of a class")
        return jtype

    def _py_modules(self) -> tuple[str, ...]:
        at_root, in_metas = self.root.texts("py_modules"), self.metas.texts("py_modules")
        if at_root and in_metas:
            raise BadPackage("'py_modules' must be at the root or under 'metas', not at both", self.root.file)
        modules = tuple(path.removesuffix("/") for path in at_root or in_metas)
        for path in modules:
            if not is_inside(path):
                raise BadPackage(
                    f"'py_modules' names {bounded(path, 80)!r}, which is not in the package", self.root.file
                )
        return modules

    def _url(self, warnings: list[str]) -> str | None:
        """Nothing but a web address, because pages link to it."""
        url = self.manifest.text("url") or self.metas.text("url")
        if url is None or _WEB_ADDRESS.fullmatch(url):
            return url
        warnings.append(f"'url' is not a web address and is not shown: {bounded(url, 80)!r}")
        return None

    def _keywords(self) -> tuple[str, ...]:
        """Without repetition. A text is split at its commas, as ``jina hub new`` does with what is typed."""
        for section in (self.manifest, self.metas):
            if found := section.texts("keywords"):
                parts = [part for text in found for part in (found if len(found) > 1 else text.split(","))]
                return tuple(dict.fromkeys(stripped for part in parts if (stripped := part.strip())))
        return ()

    def _requests(self) -> dict[str, str]:
        section = self.root.section("requests")
        names = {endpoint: section.text(endpoint) for endpoint in section.values}
        return {endpoint: method for endpoint, method in names.items() if method is not None}
