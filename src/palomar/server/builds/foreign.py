"""Images for other platforms than the hub's own.

Nothing of such an image runs here. Its libraries are chosen by uv, which is told the platform, on the same base for the
hub's own platform; what has no wheel for any platform would have to be compiled there, and is refused.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from palomar.contract.errors import shorten
from palomar.server.builds.bases.values import Base, BasePlatform
from palomar.server.builds.builder import BuildFailure
from palomar.server.builds.image_config import Platform
from palomar.server.builds.python_base import PythonBase
from palomar.server.builds.values import own_platform

# As uv spells them; it knows these and no others.
_MACHINES: Final = {"linux/amd64": "x86_64", "linux/arm64": "aarch64"}
_GLIBC_MINORS: Final = (17, 28, *range(31, 41))
_OTHER_BASE: Final = "Ask the hub's operator for another base image"


def wanted_platforms(base: Base, names: tuple[str, ...]) -> list[BasePlatform]:
    """Those of the base.

    Raises:
        BuildFailure: It lacks one.
    """
    return [_on(base, name) for name in names]


def _on(base: Base, name: str) -> BasePlatform:
    try:
        found = base.on(Platform.parse(name))
    except ValueError:
        found = None
    if found is None:
        there = " and ".join(str(platform.platform) for platform in base.platforms)
        raise BuildFailure(
            f"The base image {base.name} is for {there}, and not for {shorten(name)}.",
            f"Push without --platform {shorten(name)}, or ask the hub's operator for a base image that has it.",
            is_hubs_fault=True,
        )
    return found


def runner_of(base: Base, found: BasePlatform) -> BasePlatform:
    """What runs here on behalf of one platform of a base: itself, or the one for the hub's own.

    Raises:
        BuildFailure: There is none, or its Python is another one.
    """
    own = own_platform()
    if str(found.platform) == own:
        return found
    runner = base.on(Platform.parse(own))
    if runner is None:
        raise BuildFailure(
            f"Building for {found.platform} on this hub takes a base image for {own} too, and {base.name} is none.",
            f"{_OTHER_BASE}.",
            is_hubs_fault=True,
        )
    if runner.version != found.version:
        raise BuildFailure(
            f"The base image {base.name} has Python {found.version} on {found.platform} and Python {runner.version} "
            f"on {own}, where its packages are chosen.",
            f"{_OTHER_BASE}, with one Python on both.",
            is_hubs_fault=True,
        )
    return runner


def python_of(found: BasePlatform, runner: BasePlatform, rootfs: Path) -> PythonBase:
    """``rootfs`` is the runner's.

    Raises:
        BuildFailure: uv cannot choose packages for the platform.
    """
    name = str(found.platform)
    if found == runner:
        return PythonBase(rootfs, found.python, found.version, name, found.libc)
    return PythonBase(
        rootfs,
        runner.python,
        found.version,
        name,
        found.libc,
        uv_platform=uv_platform(name, found.libc),
        runs_on=str(runner.platform),
        image_python=found.python,
    )


def uv_platform(platform: str, libc: str) -> str:
    """How uv calls a platform: with the newest glibc of those it knows that is not newer than the image's.

    Raises:
        BuildFailure: It knows none that fits.
    """
    machine = _MACHINES.get(platform)
    if machine and libc == "musl":
        return f"{machine}-unknown-linux-musl"
    minor = _glibc_minor(libc)
    fitting = [known for known in _GLIBC_MINORS if known <= minor]
    if not machine or not fitting:
        raise BuildFailure(
            f"This hub runs on {own_platform()} and cannot choose packages for {platform} with {libc}.",
            f"Of other platforms it builds for {' and '.join(sorted(_MACHINES))}, with glibc 2.17 or newer.",
            is_hubs_fault=True,
        )
    return f"{machine}-manylinux_2_{fitting[-1]}"


def _glibc_minor(libc: str) -> int:
    name, _, version = libc.partition(" ")
    major, _, minor = version.partition(".")
    return int(minor) if name == "glibc" and major == "2" and minor.isdecimal() else 0
