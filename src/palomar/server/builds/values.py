"""What goes into a build and what is known of one."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from palomar.server.builds.image_config import Platform
from palomar.server.builds.variants import AskedVersions

LAYERED: Final = "layered"
BUILDAH: Final = "buildah"

_MACHINES: Final = {"x86_64": "amd64", "aarch64": "arm64", "arm64": "arm64", "armv7l": "arm/v7"}


@dataclass(frozen=True, slots=True)
class BuildRequest:
    """Who wants an image, and for what. ``platform`` empty means as its push said."""

    versions: AskedVersions = field(default_factory=AskedVersions)
    build_env: Mapping[str, str] = field(default_factory=dict, repr=False)
    no_cache: bool = False
    platform: str = ""
    requested_by: str | None = None


@dataclass(frozen=True, slots=True)
class BaseChoice:
    """What new images stand on."""

    digest: str
    platforms: tuple[str, ...]

    @property
    def default_platform(self) -> str:
        """That of this machine, if the base has it: nothing has to be emulated then."""
        own = own_platform()
        return own if own in self.platforms else self.platforms[0]

    def choose(self, wanted: str) -> tuple[str, ...]:
        """The wanted ones, joined by commas, or the default one. Of those that the base lacks, the build tells."""
        return tuple(sorted({_normal(name) for name in wanted.split(",") if name})) or (self.default_platform,)


def _normal(name: str) -> str:
    try:
        return str(Platform.parse(name))
    except ValueError:
        return name


def own_platform() -> str:
    machine = platform.machine().lower()
    return f"linux/{_MACHINES.get(machine, machine)}"
