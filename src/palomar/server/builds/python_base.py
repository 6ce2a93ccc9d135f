"""The Python that an image is made for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from palomar.server.builds.builder import BuildFailure
from palomar.server.builds.package_index import uv_of
from palomar.server.builds.package_rules import PackageRules
from palomar.server.builds.sandbox import Sandbox, find_trouble


@dataclass(frozen=True, slots=True)
class PythonBase:
    """``rootfs`` is an unpacked base image, ``python`` the interpreter's path within it; ``version`` as 3.11.
    ``platform``, as linux/amd64, and ``libc``, as glibc 2.36, are those of the image that is made.

    An image for another platform than the hub's is made on the same base for the hub's own: then ``uv_platform`` is how
    uv calls the image's, ``runs_on`` is the hub's, and ``image_python`` the interpreter's path in the image.
    """

    rootfs: Path
    python: str
    version: str
    platform: str
    libc: str
    uv_platform: str = ""
    runs_on: str = ""
    image_python: str = ""

    @property
    def is_foreign(self) -> bool:
        return bool(self.uv_platform)

    def uv_target(self) -> tuple[str, ...]:
        """What uv has to be told of the image. The version is the interpreter's own, to the last digit."""
        return ("--python-platform", self.uv_platform) if self.uv_platform else ()


async def sandbox_for(base: PythonBase, rules: PackageRules) -> Sandbox:
    """What runs programs on a base.

    Raises:
        BuildFailure: This machine cannot isolate builds, or has no uv.
    """
    bwrap = rules.find_bwrap()
    trouble = await find_trouble(bwrap)
    if trouble or bwrap is None:
        raise BuildFailure(trouble or "", "Ask the hub's operator.", is_hubs_fault=True)
    uv_of(rules)
    return Sandbox(bwrap, base.rootfs, base.python, rules.limits)
