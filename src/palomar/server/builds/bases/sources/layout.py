"""An OCI layout (image-spec, image-layout.md), in a folder or in an archive."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

from palomar.server.builds.bases.reference import Reference
from palomar.server.builds.bases.sources.files import Files
from palomar.server.builds.bases.sources.graph import Found, find_images
from palomar.server.builds.bases.sources.images import (
    MAX_JSON_BYTES,
    SourceImage,
    json_object,
    one_per_platform,
    refused,
)
from palomar.server.builds.image_config import Platform
from palomar.server.builds.layer_reader import Readable

INDEX: Final = "index.json"
LAYOUT: Final = "oci-layout"
# Where tools note what the image is called: the first holds a whole reference, the second may hold a tag alone.
_NAMES: Final = ("io.containerd.image.name", "org.opencontainers.image.ref.name")


class LayoutSource:
    def __init__(self, files: Files) -> None:
        """Raises BadParameter for what is no layout."""
        self._files = files
        self._index = json_object(self._read_file(INDEX), INDEX)

    @property
    def name(self) -> Reference | None:
        names = {reference for told in self._manifests() if (reference := _name_of(told))}
        return names.pop() if len(names) == 1 else None

    def images(self, wanted: Sequence[Platform]) -> list[SourceImage]:
        roots = [Found.of_json(told, f"an entry of {INDEX}") for told in self._manifests()]
        return one_per_platform(list(find_images(roots, self, wanted)), wanted)

    def read(self, found: Found) -> bytes:
        return self._read_file(_path_of(found))

    @contextmanager
    def open(self, found: Found) -> Iterator[Readable]:
        try:
            with self._files.open(_path_of(found)) as file:
                yield file
        except KeyError:
            raise refused(f"it lacks the layer {found.digest}") from None

    def _manifests(self) -> list[Any]:
        manifests = self._index.get("manifests")
        if not isinstance(manifests, list):
            raise refused(f"its {INDEX} lists no manifests")
        return manifests

    def _read_file(self, name: str) -> bytes:
        try:
            return self._files.read(name, MAX_JSON_BYTES)
        except KeyError:
            raise refused(f"it lacks the file {name}") from None


def _path_of(found: Found) -> str:
    """The digest was checked to be one, so this leads nowhere else."""
    algorithm, _, hexadecimal = found.digest.partition(":")
    return f"blobs/{algorithm}/{hexadecimal}"


def _name_of(told: Any) -> Reference | None:
    annotations = told.get("annotations") if isinstance(told, dict) else None
    for key in _NAMES:
        name = annotations.get(key) if isinstance(annotations, dict) else None
        # Without these it is as likely a tag as a name.
        if isinstance(name, str) and (":" in name or "/" in name):
            return reference_or_none(name)
    return None


def reference_or_none(text: str) -> Reference | None:
    try:
        return Reference.parse(text)
    except ValueError:
        return None
