"""Everything that a package tells without being run."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import BinaryIO, Final, NamedTuple

from palomar.contract.errors import BadPackage
from palomar.packages.archive import PackageArchive, open_package
from palomar.packages.config import PackageConfig, read_config
from palomar.packages.limits import PackageLimits
from palomar.packages.paths import is_inside
from palomar.packages.requirements import Requirements, read_requirements
from palomar.packages.schema import ExecutorSchema, schema_of
from palomar.packages.source import ExecutorClass, find_executor
from palomar.packages.text import bounded, decode

_README_NAMES: Final = ("readme.md", "readme.rst", "readme.txt", "readme")
_DOCKERFILE: Final = "Dockerfile"


class PackageFile(NamedTuple):
    name: str
    size: int


@dataclass(frozen=True, slots=True)
class Package:
    """``size`` counts the archive's bytes. ``readme`` is text as its author wrote it, so a page must sanitise it.

    ``needed_env`` are the variables that a build must be given; ``warnings`` are for the person who pushes.
    """

    files: tuple[PackageFile, ...]
    config: PackageConfig
    executor: ExecutorClass
    schema: ExecutorSchema
    requirements: Requirements
    readme: str | None
    dockerfile: str | None
    needed_env: tuple[str, ...]
    size: int
    md5: str
    sha256: str
    warnings: tuple[str, ...]


def read_package(file: BinaryIO, limits: PackageLimits | None = None, *, dockerfile: str | None = None) -> Package:
    """Checks and reads a package; equal bytes give equal results. Raises BadPackage.

    ``file`` is a seekable zip, which stays open. ``dockerfile`` names the one to use, relative to the package.
    """
    limits = limits or PackageLimits()
    archive = open_package(file, limits)
    config = read_config(archive, limits)
    found = find_executor(archive, config, limits)
    requirements = read_requirements(archive, limits)
    return Package(
        files=tuple(PackageFile(entry.name, entry.size) for entry in archive.entries if not entry.is_folder),
        config=config,
        executor=found.executor,
        schema=schema_of(found.executor, config),
        requirements=requirements,
        readme=_readme(archive, limits),
        dockerfile=_dockerfile(archive, dockerfile, limits),
        needed_env=requirements.variables,
        size=archive.size,
        md5=archive.md5,
        sha256=archive.sha256,
        warnings=tuple(chain(config.warnings, found.warnings, requirements.warnings)),
    )


def _readme(archive: PackageArchive, limits: PackageLimits) -> str | None:
    by_name = {name.lower(): name for name in archive.names if "/" not in name}
    for wanted in _README_NAMES:
        if name := by_name.get(wanted):
            return decode(archive.read_start(name, limits.max_readme_bytes))
    return None


def _dockerfile(archive: PackageArchive, given: str | None, limits: PackageLimits) -> str | None:
    name = _DOCKERFILE if given is None else given.removeprefix("./")
    if given is not None and (not is_inside(given) or name not in archive):
        raise BadPackage(f"there is no {bounded(given, 80)!r} in it, which was to be its Dockerfile")
    return decode(archive.read(name, limits.max_dockerfile_bytes)) if name in archive else None
