"""What is known about a base image."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from palomar.contract.images import ImageDigest
from palomar.server.builds.bases.models import BaseImageRow
from palomar.server.builds.image_config import Platform
from palomar.server.registry.values import Descriptor


@dataclass(frozen=True, slots=True)
class BasePlatform:
    """One platform of a base: an OCI manifest whose layers are gzip or zstd.

    ``python`` is the interpreter's absolute path in the image, ``version`` as '3.11', ``libc`` as 'glibc 2.36'.
    """

    platform: Platform
    manifest: Descriptor
    config: Descriptor
    layers: tuple[Descriptor, ...]
    diff_ids: tuple[str, ...]
    python: str
    version: str
    libc: str

    def to_json(self) -> dict[str, Any]:
        return {
            "platform": str(self.platform),
            "manifest": self.manifest.as_json(),
            "config": self.config.as_json(),
            "layers": [layer.as_json() for layer in self.layers],
            "diff_ids": list(self.diff_ids),
            "python": self.python,
            "version": self.version,
            "libc": self.libc,
        }

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> BasePlatform:
        return cls(
            platform=Platform.parse(told["platform"]),
            manifest=_descriptor(told["manifest"]),
            config=_descriptor(told["config"]),
            layers=tuple(map(_descriptor, told["layers"])),
            diff_ids=tuple(told["diff_ids"]),
            python=told["python"],
            version=told["version"],
            libc=told["libc"],
        )


def _descriptor(told: Mapping[str, Any]) -> Descriptor:
    return Descriptor(told["mediaType"], ImageDigest(told["digest"]), told["size"])


@dataclass(frozen=True, slots=True)
class Base:
    """``digest`` is that of the manifest, or of the index where there are several platforms.

    ``source_digests`` are those that the image has elsewhere, where a conversion or the choice of platforms changed it.
    """

    id: str
    name: str
    repository_id: str
    digest: ImageDigest
    is_default: bool
    python: str
    libc: str
    platforms: tuple[BasePlatform, ...]
    source_digests: frozenset[str]
    created_at: datetime

    def on(self, platform: Platform) -> BasePlatform | None:
        return next((found for found in self.platforms if found.platform == platform.normal), None)

    def has_digest(self, digest: str) -> bool:
        """Whether an image that is asked for by digest is this one."""
        manifests = {platform.manifest.digest for platform in self.platforms}
        return digest == self.digest or digest in self.source_digests or digest in manifests

    @classmethod
    def of_row(cls, row: BaseImageRow) -> Base:
        return cls(
            id=row.id,
            name=row.name,
            repository_id=row.repository_id,
            digest=ImageDigest(row.digest),
            is_default=row.is_default,
            python=row.python,
            libc=row.libc,
            platforms=tuple(map(BasePlatform.from_json, row.facts["platforms"])),
            source_digests=frozenset(row.facts["source_digests"]),
            created_at=row.created_at,
        )


def base_facts(platforms: tuple[BasePlatform, ...], source_digests: frozenset[str]) -> dict[str, Any]:
    return {
        "platforms": [platform.to_json() for platform in platforms],
        "source_digests": sorted(source_digests),
    }
