"""From a source to files on this machine that are what they claim to be, ready to be stored.

Every layer is read once to the end: its bytes have the digest that the source announced, its tar has the digest that
the image's config announces, and its names stay inside the image. Layers that are not packed yet are packed, always to
the same bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import Final

from palomar.contract.errors import SourceLost
from palomar.contract.images import OCI_CONFIG, OCI_LAYER_GZIP, OCI_MANIFEST, ImageDigest
from palomar.server.builds.bases.contents import MIN_PYTHON, Contents, Python
from palomar.server.builds.bases.sources.images import (
    TAR,
    SourceImage,
    SourceLayer,
    json_object,
    refused,
)
from palomar.server.builds.bases.values import BasePlatform
from palomar.server.builds.gzipping import GzipWriter
from palomar.server.builds.image_config import Document, Platform, build_index, build_manifest
from palomar.server.builds.layer_reader import BadLayer, LayerLimits, LayerReader, Readable
from palomar.server.registry.values import Descriptor

_PIECE_BYTES: Final = 1 << 20
_ATTEMPTS: Final = 3
_MAX_LAYER_BYTES: Final = 64 * 1024**3
_SHOWN: Final = 19


@dataclass(frozen=True, slots=True)
class Prepared:
    """An image for one platform or more. ``root`` is its manifest, or its index where there are several platforms.

    ``files`` hold the bytes of every layer, ``documents`` everything else that the root leads to, children first.
    """

    root: Document
    platforms: tuple[BasePlatform, ...]
    documents: tuple[Document, ...]
    files: dict[ImageDigest, Path]
    source_digests: frozenset[str]


@dataclass(frozen=True, slots=True)
class _PreparedLayer:
    descriptor: Descriptor
    diff_id: str
    path: Path


@dataclass(slots=True)
class _Preparing:
    """Layers that several platforms, or several places of one image, share are fetched once."""

    scratch: Path
    limits: LayerLimits
    stop: Event
    done: dict[str, _PreparedLayer] = field(default_factory=dict)
    count: int = 0

    def new_path(self) -> Path:
        self.count += 1
        return self.scratch / f"layer-{self.count}"


def prepare(images: Sequence[SourceImage], scratch: Path, stop: Event | None = None) -> Prepared:
    """Blocking, and may take minutes. ``scratch`` is a folder of the caller's that must outlive what is returned.

    ``stop`` is set by a caller who has lost interest. Raises BadParameter, and OSError where there is no room.
    """
    preparing = _Preparing(scratch, LayerLimits(), stop or Event())
    found = [_prepare_image(preparing, image) for image in images]
    platforms = tuple(platform for platform, _ in found)
    documents = [document for _, pair in found for document in pair]
    manifests = [documents[2 * number + 1] for number in range(len(found))]
    digests = frozenset().union(*(image.digests for image in images))
    files = {layer.descriptor.digest: layer.path for layer in preparing.done.values()}
    if len(found) == 1:
        return Prepared(manifests[0], platforms, tuple(documents[:1]), files, digests)
    index = build_index([(platform.platform, platform.manifest) for platform in platforms])
    return Prepared(index, platforms, tuple(documents), files, digests)


def _prepare_image(preparing: _Preparing, image: SourceImage) -> tuple[BasePlatform, tuple[Document, Document]]:
    """With its config and its manifest."""
    diff_ids, contents, layers = _diff_ids(image), Contents(), []
    for layer, diff_id in zip(image.layers, diff_ids, strict=True):
        layers.append(_prepare_layer(preparing, layer, diff_id, contents))
    python, libc = _checked(contents, image.platform)
    config = Document(OCI_CONFIG, image.config)
    descriptors = tuple(layer.descriptor for layer in layers)
    manifest = (
        Document(OCI_MANIFEST, image.manifest) if image.manifest else build_manifest(config.descriptor, descriptors)
    )
    platform = BasePlatform(
        platform=image.platform,
        manifest=manifest.descriptor,
        config=config.descriptor,
        layers=descriptors,
        diff_ids=diff_ids,
        python=python.path,
        version=python.version,
        libc=libc,
    )
    return platform, (config, manifest)


def _diff_ids(image: SourceImage) -> tuple[str, ...]:
    rootfs = json_object(image.config, "the image's config").get("rootfs")
    told = rootfs.get("diff_ids") if isinstance(rootfs, dict) else None
    if not isinstance(told, list) or len(told) != len(image.layers) or not all(isinstance(one, str) for one in told):
        raise refused("the image's config does not list its layers")
    return tuple(told)


def _checked(contents: Contents, platform: Platform) -> tuple[Python, str]:
    python, libc = contents.python(), contents.libc()
    if python is None:
        oldest = ".".join(map(str, MIN_PYTHON))
        raise refused(
            f"the image for {platform} has no Python {oldest} or newer in /usr/local/bin or /usr/bin, so no Executor "
            "could run in it; take one that has, as python:3.11-slim"
        )
    if libc is None:
        raise refused(f"the image for {platform} has neither glibc nor musl, so no package could be chosen for it")
    return python, libc


# --- one layer ---------------------------------------------------------------------------------------------------


def _prepare_layer(preparing: _Preparing, layer: SourceLayer, diff_id: str, contents: Contents) -> _PreparedLayer:
    key = layer.digest or diff_id
    known = preparing.done.get(key)
    if known is not None:
        return _scan(preparing, known.path, known.descriptor.media_type, diff_id, contents)
    path, media_type = _fetched(preparing, layer)
    packed, path = _packed(preparing, path, media_type)
    preparing.done[key] = _scan(preparing, path, packed, diff_id, contents)
    return preparing.done[key]


def _fetched(preparing: _Preparing, layer: SourceLayer) -> tuple[Path, str]:
    for attempt in range(_ATTEMPTS):
        path = preparing.new_path()
        try:
            with layer.open() as file:
                _copy(file, path, layer, preparing.stop)
        except SourceLost:
            path.unlink(missing_ok=True)
            if attempt == _ATTEMPTS - 1:
                raise
            continue
        return path, layer.media_type
    raise AssertionError("unreachable")


def _copy(file: Readable, path: Path, layer: SourceLayer, stop: Event) -> None:
    """The bytes, if they are the announced ones. Raises BadParameter."""
    limit = _MAX_LAYER_BYTES if layer.size_bytes is None else layer.size_bytes
    algorithm = (layer.digest or "sha256:").partition(":")[0]
    digest, size = hashlib.new(algorithm), 0
    with path.open("wb") as target:
        while piece := file.read(_PIECE_BYTES):
            size += len(piece)
            if stop.is_set():
                raise refused("copying it was stopped")
            if size > min(limit, _MAX_LAYER_BYTES):
                raise refused(f"the layer {_shown(layer)} is larger than {limit:,} bytes")
            digest.update(piece)
            target.write(piece)
    if layer.size_bytes not in {None, size}:
        raise refused(f"the layer {_shown(layer)} is cut off: it has {size:,} bytes instead of {layer.size_bytes:,}")
    if layer.digest not in {None, f"{algorithm}:{digest.hexdigest()}"}:
        raise refused(f"the layer {_shown(layer)} is damaged: it does not have its digest")


def _packed(preparing: _Preparing, path: Path, media_type: str) -> tuple[str, Path]:
    if media_type != TAR:
        return media_type, path
    packed = preparing.new_path()
    with path.open("rb") as file, packed.open("wb") as target, GzipWriter(target) as gzip:
        while piece := file.read(_PIECE_BYTES):
            gzip.write(piece)
    path.unlink()
    return OCI_LAYER_GZIP, packed


def _scan(preparing: _Preparing, path: Path, media_type: str, diff_id: str, contents: Contents) -> _PreparedLayer:
    with path.open("rb") as file:
        reader = LayerReader(file, media_type, preparing.limits)
        try:
            contents.add(reader)
        except BadLayer as error:
            raise refused(f"the layer {reader.digest[:_SHOWN]} cannot be used: {error}") from None
    if reader.diff_id != diff_id:
        raise refused(f"the layer {reader.digest[:_SHOWN]} is not the one that the image's config names")
    return _PreparedLayer(Descriptor(media_type, ImageDigest(reader.digest), reader.size_bytes), diff_id, path)


def _shown(layer: SourceLayer) -> str:
    return (layer.digest or "without a name")[:_SHOWN]
