"""What every kind of source gives: images of one platform each, whose bytes have yet to be read and checked."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, TypeAlias

from palomar.contract.errors import BadParameter
from palomar.server.builds.bases.reference import Reference
from palomar.server.builds.image_config import Platform
from palomar.server.builds.layer_reader import Readable

# Of the distribution specification, for manifests; configs of real images have a few KiB.
MAX_JSON_BYTES: Final = 4 * 1024**2
MAX_LAYERS: Final = 500

TAR: Final = "application/vnd.oci.image.layer.v1.tar"
DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}", re.ASCII)

Opener: TypeAlias = Callable[[], AbstractContextManager[Readable]]


@dataclass(frozen=True, slots=True)
class SourceLayer:
    """``digest`` and ``size_bytes`` are None where the source does not say; ``media_type`` is the OCI one."""

    media_type: str
    open: Opener
    digest: str | None = None
    size_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class SourceImage:
    """``manifest`` is the source's own where it is an OCI manifest, to be kept byte for byte if nothing is changed.

    ``digests`` are those by which the source itself knows the image.
    """

    config: bytes = field(repr=False)
    layers: tuple[SourceLayer, ...]
    manifest: bytes | None = field(default=None, repr=False)
    digests: frozenset[str] = frozenset()

    @property
    def platform(self) -> Platform:
        """Raises BadParameter."""
        root = json_object(self.config, "the image's config")
        names = (root.get("os"), root.get("architecture"), root.get("variant") or "")
        if not all(isinstance(name, str) for name in names):
            raise refused("the image's config names no platform")
        try:
            return Platform.parse("/".join(filter(None, map(str, names))))
        except ValueError as error:
            raise refused(str(error)) from None


class Source(Protocol):
    """``name`` is what the source calls the image, if it says."""

    @property
    def name(self) -> Reference | None: ...

    def images(self, wanted: Sequence[Platform]) -> list[SourceImage]:
        """One per platform: those of Linux that there are, or the ``wanted`` ones. Raises BadParameter."""


def refused(reason: str) -> BadParameter:
    return BadParameter("SOURCE", reason.removesuffix("."))


def json_object(content: bytes, what: str) -> dict[str, Any]:
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        raise refused(f"{what} is not JSON") from None
    if not isinstance(value, dict):
        raise refused(f"{what} is not a JSON object")
    return value


def digest_of(content: bytes, algorithm: str = "sha256") -> str:
    return f"{algorithm}:{hashlib.new(algorithm, content).hexdigest()}"


def one_per_platform(images: Sequence[SourceImage], wanted: Sequence[Platform]) -> list[SourceImage]:
    """Those of Linux, or those wanted. Raises BadParameter where there are none, or two for one platform."""
    found: dict[Platform, SourceImage] = {}
    for image in images:
        platform = image.platform
        if platform.os != "linux" or (wanted and platform not in wanted):
            continue
        if platform in found:
            raise refused(f"it holds several images for {platform}; give one that holds the wanted image alone")
        found[platform] = image
    if absent := [str(platform) for platform in wanted if platform not in found]:
        raise refused(f"it has no image for {', '.join(absent)}")
    if not found:
        raise refused("it has no image for Linux")
    return [found[platform] for platform in sorted(found, key=str)]
