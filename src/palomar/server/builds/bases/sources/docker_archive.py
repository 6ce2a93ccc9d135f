"""What ``docker save`` and ``podman save`` write when they do not write an OCI layout: manifest.json, plain layers."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Final

from palomar.server.builds.bases.reference import Reference
from palomar.server.builds.bases.sources.files import Files
from palomar.server.builds.bases.sources.images import (
    MAX_JSON_BYTES,
    MAX_LAYERS,
    TAR,
    SourceImage,
    SourceLayer,
    digest_of,
    one_per_platform,
    refused,
)
from palomar.server.builds.bases.sources.layout import reference_or_none
from palomar.server.builds.image_config import Platform
from palomar.server.builds.layer_reader import Readable, plain_path

MANIFEST: Final = "manifest.json"
_GZIP: Final = b"\x1f\x8b"


class DockerArchiveSource:
    def __init__(self, files: Files) -> None:
        """Raises BadParameter for what is no such archive, or holds several images."""
        self._files = files
        listed = _loaded(self._read(MANIFEST))
        if len(listed) != 1 or not isinstance(listed[0], dict):
            raise refused(f"it holds {len(listed)} images; save the wanted one alone")
        self._told = listed[0]

    @property
    def name(self) -> Reference | None:
        tags = self._told.get("RepoTags")
        names = [tag for tag in tags if isinstance(tag, str)] if isinstance(tags, list) else []
        return reference_or_none(names[0]) if names else None

    def images(self, wanted: Sequence[Platform]) -> list[SourceImage]:
        layers = self._told.get("Layers")
        if (
            not isinstance(layers, list)
            or len(layers) > MAX_LAYERS
            or not all(isinstance(name, str) for name in layers)
        ):
            raise refused(f"its {MANIFEST} lists no layers, or too many of them")
        config = self._read(str(self._told.get("Config")))
        # Docker's id of an image is the digest of its config.
        image = SourceImage(config, tuple(map(self._layer, layers)), digests=frozenset({digest_of(config)}))
        return one_per_platform([image], wanted)

    def _layer(self, name: str) -> SourceLayer:
        try:
            with self._files.open(_plain(name)) as file:
                is_packed = file.read(len(_GZIP)) == _GZIP
        except KeyError:
            raise refused(f"it lacks the layer {name[:200]!a}") from None
        return SourceLayer(f"{TAR}+gzip" if is_packed else TAR, partial(self._open, _plain(name)))

    @contextmanager
    def _open(self, name: str) -> Iterator[Readable]:
        with self._files.open(name) as file:
            yield file

    def _read(self, name: str) -> bytes:
        try:
            return self._files.read(_plain(name), MAX_JSON_BYTES)
        except KeyError:
            raise refused(f"it lacks the file {name[:200]!a}") from None


def _plain(name: str) -> str:
    try:
        return plain_path(name)
    except ValueError as error:
        raise refused(str(error)) from None


def _loaded(content: bytes) -> list[Any]:
    try:
        listed = json.loads(content)
    except (ValueError, RecursionError):
        listed = None
    if not isinstance(listed, list):
        raise refused(f"its {MANIFEST} is no JSON list")
    return listed
