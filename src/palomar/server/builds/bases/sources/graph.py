"""Manifests and indexes of a source, followed down to its images. Each is what its digest says, or refused."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Protocol

from palomar.contract.images import DOCKER_MANIFEST, IMAGE_TYPES, INDEX_TYPES, OCI_CONFIG, OCI_MANIFEST
from palomar.server.builds.bases.sources.images import (
    DIGEST,
    MAX_JSON_BYTES,
    MAX_LAYERS,
    TAR,
    SourceImage,
    SourceLayer,
    digest_of,
    json_object,
    refused,
)
from palomar.server.builds.image_config import Platform
from palomar.server.builds.layer_reader import Readable

_DOCKER_CONFIG: Final = "application/vnd.docker.container.image.v1+json"
_CONFIGS: Final = frozenset({OCI_CONFIG, _DOCKER_CONFIG})
# Docker's names of the layers that OCI has names of its own for.
_LAYERS: Final = {
    TAR: TAR,
    f"{TAR}+gzip": f"{TAR}+gzip",
    f"{TAR}+zstd": f"{TAR}+zstd",
    "application/vnd.docker.image.rootfs.diff.tar": TAR,
    "application/vnd.docker.image.rootfs.diff.tar.gzip": f"{TAR}+gzip",
    "application/vnd.docker.image.rootfs.diff.tar.zstd": f"{TAR}+zstd",
}
_MAX_DEPTH: Final = 4
_MAX_MANIFESTS: Final = 200


@dataclass(frozen=True, slots=True)
class Found:
    """A descriptor of the source, with what was said about the platform."""

    media_type: str
    digest: str
    size_bytes: int
    platform: Any = None

    @classmethod
    def of_json(cls, told: Any, what: str) -> Found:
        """Raises BadParameter."""
        if not isinstance(told, dict):
            raise refused(f"{what} is no descriptor")
        media_type, digest, size = told.get("mediaType"), told.get("digest"), told.get("size")
        if not isinstance(media_type, str) or not isinstance(digest, str) or not DIGEST.fullmatch(digest):
            raise refused(f"{what} has no media type, or no digest that is known here")
        if not isinstance(size, int) or isinstance(size, bool) or size < 0:
            raise refused(f"{what} has no size")
        return cls(media_type, digest, size, told.get("platform"))

    def may_be(self, wanted: Sequence[Platform]) -> bool:
        """Whether it is worth looking at; what it really is says the image's config."""
        told = self.platform if isinstance(self.platform, dict) else {}
        if told.get("os", "linux") != "linux":
            return False
        architecture = told.get("architecture")
        return not wanted or architecture is None or any(architecture == item.architecture for item in wanted)


class Blobs(Protocol):
    """Content by digest, not checked."""

    def read(self, found: Found) -> bytes:
        """Of a manifest or a config. Raises BadParameter."""

    def open(self, found: Found) -> AbstractContextManager[Readable]:
        """Of a layer. Raises BadParameter."""


def find_images(roots: Iterable[Found], blobs: Blobs, wanted: Sequence[Platform]) -> Iterator[SourceImage]:
    """Every image below the roots but those that are said to be of other platforms. Raises BadParameter."""
    return _Walk(blobs, wanted).images(roots, depth=0, above=frozenset())


class _Walk:
    def __init__(self, blobs: Blobs, wanted: Sequence[Platform]) -> None:
        self._blobs = blobs
        self._wanted = wanted
        self._seen: set[str] = set()

    def images(self, roots: Iterable[Found], *, depth: int, above: frozenset[str]) -> Iterator[SourceImage]:
        for found in roots:
            if found.digest in self._seen or not found.may_be(self._wanted):
                continue
            self._seen.add(found.digest)
            if len(self._seen) > _MAX_MANIFESTS or depth > _MAX_DEPTH:
                raise refused("it has too many manifests, or too many indexes within indexes")
            yield from self._images_of(found, depth=depth, above=above)

    def _images_of(self, found: Found, *, depth: int, above: frozenset[str]) -> Iterator[SourceImage]:
        content = read_checked(self._blobs, found, "manifest")
        root, digests = json_object(content, f"the manifest {found.digest}"), above | {found.digest}
        if found.media_type in INDEX_TYPES:
            children = [Found.of_json(child, "a manifest of the index") for child in _list(root, "manifests")]
            yield from self.images(children, depth=depth + 1, above=digests)
        elif found.media_type in IMAGE_TYPES:
            image = self._image(found, content, root, digests)
            if image is not None:
                yield image

    def _image(self, found: Found, content: bytes, root: dict[str, Any], digests: frozenset[str]) -> SourceImage | None:
        """None for what has the form of an image and is something else, as a signature or an attestation."""
        config = Found.of_json(root.get("config"), "the image's config")
        if config.media_type not in _CONFIGS or root.get("artifactType") or root.get("subject"):
            return None
        if "layers" not in root and found.media_type == DOCKER_MANIFEST:
            raise refused("it is an image of Docker's first format, which nothing makes any more")
        layers = [self._layer(told) for told in _list(root, "layers")]
        if layers and all(layer is None for layer in layers):
            return None
        if None in layers or len(layers) > MAX_LAYERS:
            raise refused("the image has layers of an unknown or foreign type, or too many of them")
        kept = tuple(layer for layer in layers if layer is not None)
        is_kept = found.media_type == OCI_MANIFEST and config.media_type == OCI_CONFIG and _is_plain(root, kept)
        manifest = content if is_kept else None
        return SourceImage(read_checked(self._blobs, config, "config"), kept, manifest, digests)

    def _layer(self, told: Any) -> SourceLayer | None:
        found = Found.of_json(told, "a layer of the image")
        media_type = _LAYERS.get(found.media_type)
        if media_type is None:
            return None
        return SourceLayer(media_type, partial(self._blobs.open, found), found.digest, found.size_bytes)


def _is_plain(root: dict[str, Any], layers: Sequence[SourceLayer]) -> bool:
    """Whether the hub would write the same descriptors: OCI's types, packed layers, SHA-256 throughout."""
    told = [root["config"], *root["layers"]]
    same_types = all(layer.media_type == item["mediaType"] for layer, item in zip(layers, root["layers"], strict=True))
    is_packed = all(layer.media_type != TAR for layer in layers)
    return same_types and is_packed and all(item["digest"].startswith("sha256:") for item in told)


def read_checked(blobs: Blobs, found: Found, what: str) -> bytes:
    """Raises BadParameter for what does not have its digest and size, or is too large."""
    if found.size_bytes > MAX_JSON_BYTES:
        raise refused(f"the {what} {found.digest} is larger than {MAX_JSON_BYTES:,} bytes")
    content = blobs.read(found)
    if len(content) != found.size_bytes or digest_of(content, found.digest.partition(":")[0]) != found.digest:
        raise refused(f"the {what} {found.digest} is damaged: it has another size or digest")
    return content


def _list(root: dict[str, Any], key: str) -> list[Any]:
    value = root.get(key)
    if not isinstance(value, list):
        raise refused(f"a manifest has no list of {key}")
    return value
