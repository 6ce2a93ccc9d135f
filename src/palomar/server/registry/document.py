"""Manifests and indexes as documents: read and checked as a whole, before anybody asks what the repository has.

Two readers of one document must never see two things in it. So a document that could be an image and an index at once,
that names a key twice, or that says another type than its request, is refused.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from palomar.contract.errors import BadDigest, ManifestInvalid
from palomar.contract.images import INDEX_TYPES, MANIFEST_TYPES, OCI_INDEX, OCI_MANIFEST, ImageDigest
from palomar.server.db.columns import can_be_stored
from palomar.server.registry.values import Descriptor

_SCHEMA_VERSION: Final = 2
_MAX_SIZE: Final = 2**63 - 1
# RFC 6838, section 4.2, with room for the parameters that some tools write after the type.
_MEDIA_TYPE: Final = re.compile(r"[A-Za-z0-9][!#$&^_.+A-Za-z0-9-]{0,126}/[!-~][ -~]{0,126}", re.ASCII)
# Layers that a registry need not have: image-spec 1.1, "Non-Distributable Layers", and Docker's foreign layers.
_FOREIGN: Final = re.compile(r"\.nondistributable\.|\.foreign\.", re.ASCII)


@dataclass(frozen=True, slots=True)
class ParsedManifest:
    """``blobs`` and ``children`` must be in the repository; ``subject`` need not, nor what is foreign."""

    media_type: str
    blobs: tuple[Descriptor, ...]
    children: tuple[Descriptor, ...]
    subject: Descriptor | None
    # As the list of referrers shows it.
    artifact_type: str | None
    annotations: dict[str, str] | None


def parse_manifest(content: bytes, media_type: str | None) -> ParsedManifest:
    """``media_type`` is what the request's Content-Type says, if it says anything. Raises ManifestInvalid."""
    document = _load(content)
    if document.get("schemaVersion") != _SCHEMA_VERSION or isinstance(document["schemaVersion"], bool):
        _refuse("its schemaVersion is not 2")
    found_type = _media_type(document, media_type)
    if found_type in INDEX_TYPES:
        return _index(document, found_type)
    return _image(document, found_type)


def _refuse(reason: str) -> NoReturn:
    raise ManifestInvalid(reason)


# --- JSON --------------------------------------------------------------------------------------------------------


def _load(content: bytes) -> dict[str, Any]:
    try:
        document = json.loads(content.decode(), object_pairs_hook=_without_doubles, parse_constant=_no_constant)
    except RecursionError:
        raise ManifestInvalid("it is nested too deeply") from None
    except ManifestInvalid:
        raise
    except ValueError:
        raise ManifestInvalid("it is not JSON in UTF-8") from None
    if not isinstance(document, dict):
        _refuse("it is not a JSON object")
    return document


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        _refuse("it has the same key twice in one object")
    return found


def _no_constant(name: str) -> NoReturn:
    _refuse(f"{name} is not JSON")


# --- types -------------------------------------------------------------------------------------------------------


def _media_type(document: dict[str, Any], announced: str | None) -> str:
    """Distribution-spec 1.1, "Pushing Manifests": the header's parameters are ignored, the two types must agree."""
    header = (announced or "").partition(";")[0].strip()
    inside = document.get("mediaType")
    if inside is not None and not isinstance(inside, str):
        _refuse("its mediaType is not text")
    if header and inside and header != inside:
        _refuse("its mediaType is not the Content-Type of the request")
    media_type = header or inside or (OCI_INDEX if "manifests" in document else OCI_MANIFEST)
    if media_type not in MANIFEST_TYPES:
        _refuse(f"its type is not one of {', '.join(sorted(MANIFEST_TYPES))}")
    return media_type


def _image(document: dict[str, Any], media_type: str) -> ParsedManifest:
    if "manifests" in document or "fsLayers" in document:
        _refuse("an image has no 'manifests' and no 'fsLayers'")
    config = _descriptor(document.get("config"), "config")
    layers = _descriptors(document, "layers")
    return ParsedManifest(
        media_type=media_type,
        blobs=(config, *(layer for layer in layers if not _may_be_absent(layer))),
        children=(),
        subject=_subject(document),
        artifact_type=_artifact_type(document) or config.media_type,
        annotations=_annotations(document),
    )


def _index(document: dict[str, Any], media_type: str) -> ParsedManifest:
    if not document.keys().isdisjoint({"config", "layers", "fsLayers"}):
        _refuse("an index has no 'config', no 'layers' and no 'fsLayers'")
    entries = _descriptors(document, "manifests")
    return ParsedManifest(
        media_type=media_type,
        # Image-spec 1.1, "Image Index": an entry of another type is content like any blob.
        blobs=tuple(entry for entry in entries if entry.media_type not in MANIFEST_TYPES and not entry.has_urls),
        children=tuple(entry for entry in entries if entry.media_type in MANIFEST_TYPES),
        subject=_subject(document),
        artifact_type=_artifact_type(document),
        annotations=_annotations(document),
    )


def _may_be_absent(layer: Descriptor) -> bool:
    return layer.has_urls or _FOREIGN.search(layer.media_type) is not None


# --- descriptors -------------------------------------------------------------------------------------------------


def _descriptors(document: dict[str, Any], key: str) -> list[Descriptor]:
    found = document.get(key)
    if not isinstance(found, list):
        _refuse(f"its {key!r} is not a list")
    return [_descriptor(entry, f"{key}[{number}]") for number, entry in enumerate(found)]


def _descriptor(found: object, where: str) -> Descriptor:
    if not isinstance(found, dict):
        _refuse(f"its {where} is not a descriptor")
    urls = found.get("urls")
    if urls is not None and not (isinstance(urls, list) and all(isinstance(url, str) for url in urls)):
        _refuse(f"the urls of {where} are not a list of text")
    return Descriptor(
        media_type=_typed(found, "mediaType", where) or _refuse(f"{where} has no mediaType"),
        digest=_digest(found, where),
        size_bytes=_size(found, where),
        has_urls=bool(urls),
    )


def _digest(found: dict[str, Any], where: str) -> ImageDigest:
    try:
        return ImageDigest.parse(str(found.get("digest")))
    except BadDigest:
        _refuse(f"the digest of {where} is not sha256 or sha512")


def _size(found: dict[str, Any], where: str) -> int:
    size = found.get("size")
    if not isinstance(size, int) or isinstance(size, bool) or not 0 <= size <= _MAX_SIZE:
        _refuse(f"the size of {where} is not a number of bytes")
    return size


def _typed(found: dict[str, Any], key: str, where: str) -> str | None:
    """A media type; an empty one is as good as none."""
    value = found.get(key)
    if value is None or value == "":
        return None
    if not isinstance(value, str) or not _MEDIA_TYPE.fullmatch(value):
        _refuse(f"the {key} of {where} is not a media type")
    return value


def _artifact_type(document: dict[str, Any]) -> str | None:
    return _typed(document, "artifactType", "the document")


def _subject(document: dict[str, Any]) -> Descriptor | None:
    subject = document.get("subject")
    return None if subject is None else _descriptor(subject, "subject")


def _annotations(document: dict[str, Any]) -> dict[str, str] | None:
    found = document.get("annotations")
    if found is None:
        return None
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        _refuse("its annotations are not text by key")
    if not all(can_be_stored(key) and can_be_stored(value) for key, value in found.items()):
        _refuse("its annotations are not Unicode, or have a NUL in them")
    return found
