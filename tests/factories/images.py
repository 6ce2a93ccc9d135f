"""Manifests and their blobs as documents, made small."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable
from hashlib import new
from typing import Any

from palomar.contract.images import OCI_CONFIG, OCI_INDEX, OCI_LAYER_GZIP, OCI_MANIFEST, ImageDigest

CONFIG = b'{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]}}'
LAYER = b"the first layer"


def digest_of(data: bytes, algorithm: str = "sha256") -> ImageDigest:
    return ImageDigest(f"{algorithm}:{new(algorithm, data).hexdigest()}")


def descriptor(data: bytes, media_type: str = OCI_LAYER_GZIP, *, algorithm: str = "sha256", **more: Any) -> Any:
    return {"mediaType": media_type, "digest": digest_of(data, algorithm), "size": len(data), **more}


def image(*layers: bytes, config: bytes | dict[str, Any] = CONFIG, algorithm: str = "sha256", **more: Any) -> bytes:
    """The bytes of an OCI manifest; ``more`` is added, or taken away with None."""
    document = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": descriptor(config, OCI_CONFIG, algorithm=algorithm) if isinstance(config, bytes) else config,
        "layers": [descriptor(layer, algorithm=algorithm) for layer in layers or (LAYER,)],
        **more,
    }
    return encode(document)


def index(*manifests: bytes, media_type: str = OCI_MANIFEST, **more: Any) -> bytes:
    entries = [descriptor(manifest, media_type) for manifest in manifests]
    return encode({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries, **more})


def encode(document: dict[str, Any]) -> bytes:
    return json.dumps({key: value for key, value in document.items() if value is not None}).encode()


async def body_of(*pieces: bytes, then: BaseException | None = None) -> AsyncIterator[bytes]:
    """A request's body in these pieces; ``then`` is how it breaks off."""
    for piece in pieces:
        yield piece
    if then is not None:
        raise then


def cut(data: bytes, size: int) -> Iterable[bytes]:
    return (data[start : start + size] for start in range(0, len(data), size))
