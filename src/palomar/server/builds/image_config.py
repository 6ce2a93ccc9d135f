"""What makes an image of layers: config, manifest, index, and the manifests of what is attached to an image.

All of it is canonical JSON of its inputs: no time, no name of a machine. Two builds of equal inputs give one digest.
The forms are those of the OCI image specification (config.md, manifest.md, image-index.md), version 1.1.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from palomar.contract.images import OCI_CONFIG, OCI_EMPTY, OCI_INDEX, OCI_MANIFEST, ImageDigest
from palomar.server.builds.layers import WrittenLayer
from palomar.server.registry.values import Descriptor

WORKSPACE: Final = "/workspace"
SITE_PACKAGES: Final = "/opt/palomar/site-packages"
# What the old clients' container run appends its arguments to.
ENTRYPOINT: Final = ("jina", "executor", "--uses", "config.yml")
# The time of an image would make every build of it another image.
CREATED: Final = "1970-01-01T00:00:00Z"
_DEFAULT_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_PLATFORM_PART: Final = re.compile(r"[A-Za-z0-9_]{1,32}", re.ASCII)
_LABELS: Final = "org.opencontainers.image."

CYCLONEDX: Final = "application/vnd.cyclonedx+json"
IN_TOTO: Final = "application/vnd.in-toto+json"
LOCK: Final = "application/vnd.palomar.lock.v1+text"


@dataclass(frozen=True, slots=True)
class Document:
    """Bytes that are stored under their digest, and how a manifest refers to them."""

    media_type: str
    content: bytes = field(repr=False)
    artifact_type: str | None = None

    @property
    def digest(self) -> ImageDigest:
        return ImageDigest.of_sha256(hashlib.sha256(self.content).hexdigest())

    @property
    def descriptor(self) -> Descriptor:
        return Descriptor(self.media_type, self.digest, len(self.content), artifact_type=self.artifact_type)


@dataclass(frozen=True, slots=True)
class Platform:
    """As Go names them: 'linux', 'amd64', and '' or 'v7', 'v8'..."""

    os: str
    architecture: str
    variant: str = ""

    def __str__(self) -> str:
        return "/".join(filter(None, (self.os, self.architecture, self.variant)))

    @classmethod
    def parse(cls, text: str) -> Platform:
        """Raises ValueError."""
        parts = text.split("/")
        if len(parts) not in {2, 3} or not all(map(_PLATFORM_PART.fullmatch, parts)):
            raise ValueError(f"{text!a} is not a platform such as linux/amd64")
        return cls(*parts).normal

    @property
    def normal(self) -> Platform:
        """With the names that registries use, and without the variant that goes without saying."""
        architecture = {"x86_64": "amd64", "aarch64": "arm64"}.get(self.architecture, self.architecture)
        variant = "" if (architecture, self.variant) in {("arm64", "v8"), ("amd64", "v1")} else self.variant
        return Platform(self.os, architecture, variant)

    def as_json(self) -> dict[str, str]:
        shown = {"architecture": self.architecture, "os": self.os}
        return {**shown, "variant": self.variant} if self.variant else shown


@dataclass(frozen=True, slots=True)
class AddedLayer:
    """``origin`` is what `docker history` shows for the layer."""

    layer: WrittenLayer
    origin: str

    @property
    def descriptor(self) -> Descriptor:
        return Descriptor(self.layer.media_type, ImageDigest(self.layer.digest), self.layer.size_bytes)


def canonical_json(value: Any) -> bytes:
    """One text for one value."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


# --- config ------------------------------------------------------------------------------------------------------


def build_config(
    base: bytes, layers: Sequence[AddedLayer], *, labels: Mapping[str, str], env: Mapping[str, str] | None = None
) -> Document:
    """The base's config, with our layers on top and an Executor's way to start.

    ``base`` is the config of a base that was added, hence checked. ``env`` comes on top of what the base sets.
    """
    root = json.loads(base)
    config = {
        **{name: root[name] for name in ("architecture", "os", "variant", "os.version", "os.features") if name in root},
        "created": CREATED,
        "config": _run_config(root.get("config") or {}, labels, env or {}),
        "rootfs": {"type": "layers", "diff_ids": [*root["rootfs"]["diff_ids"], *(a.layer.diff_id for a in layers)]},
        "history": [*_history(root), *(_told(added.origin) for added in layers)],
    }
    return Document(OCI_CONFIG, canonical_json(config))


def _run_config(base: Mapping[str, Any], labels: Mapping[str, str], env: Mapping[str, str]) -> dict[str, Any]:
    """Ports, volumes, user and stop signal are the base's. Its command and its health check are of its own program."""
    kept = {name: base[name] for name in ("ExposedPorts", "StopSignal", "User", "Volumes") if base.get(name)}
    return {
        **kept,
        "Entrypoint": list(ENTRYPOINT),
        "Env": _environment(base.get("Env") or [], env),
        "Labels": {**_labels_of_others(base.get("Labels") or {}), **labels},
        "WorkingDir": WORKSPACE,
    }


def _environment(base: Iterable[str], env: Mapping[str, str]) -> list[str]:
    values = dict(item.partition("=")[::2] for item in base)
    values["PATH"] = f"{SITE_PACKAGES}/bin:{values.get('PATH') or _DEFAULT_PATH}"
    values["PYTHONPATH"] = ":".join(filter(None, (SITE_PACKAGES, values.get("PYTHONPATH"))))
    return [f"{name}={value}" for name, value in {**values, **env}.items()]


def _labels_of_others(labels: Mapping[str, str]) -> dict[str, str]:
    """Without those that say what the base is: this image is something else."""
    return {name: value for name, value in labels.items() if not name.startswith(_LABELS)}


def _history(root: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The base's own where it tells of every layer; clients show nonsense where the two disagree."""
    told: list[dict[str, Any]] = [entry for entry in root.get("history") or [] if isinstance(entry, dict)]
    layers = len(root["rootfs"]["diff_ids"])
    if sum(not entry.get("empty_layer") for entry in told) == layers:
        return told
    return [_told("base image")] * layers


def _told(origin: str) -> dict[str, Any]:
    return {"created": CREATED, "created_by": origin}


# --- manifests ---------------------------------------------------------------------------------------------------


def build_manifest(
    config: Descriptor, layers: Sequence[Descriptor], *, annotations: Mapping[str, str] | None = None
) -> Document:
    """An image's manifest; ``layers`` begin with those of the base, as its own manifest describes them."""
    return Document(OCI_MANIFEST, canonical_json(_manifest(config, layers, annotations)))


def build_index(
    manifests: Sequence[tuple[Platform, Descriptor]], *, annotations: Mapping[str, str] | None = None
) -> Document:
    """An image for several platforms, in the order of their names."""
    ordered = sorted(manifests, key=lambda pair: str(pair[0]))
    index = {
        "schemaVersion": 2,
        "mediaType": OCI_INDEX,
        "manifests": [{**manifest.as_json(), "platform": platform.as_json()} for platform, manifest in ordered],
        **_annotated(annotations),
    }
    return Document(OCI_INDEX, canonical_json(index))


# An artifact has no config; the specification gives it this one (manifest.md, "Guidance for an Empty Descriptor").
EMPTY: Final = Document(OCI_EMPTY, b"{}")


def build_attachment(
    payload: Document, subject: Descriptor, *, annotations: Mapping[str, str] | None = None
) -> Document:
    """The manifest of something about an image: its SBOM, its provenance, its lock.

    The repository must have the bytes of ``payload`` and of `EMPTY`. ``subject`` is the image's manifest.
    """
    told = {
        **_manifest(EMPTY.descriptor, [Descriptor(payload.media_type, *_identity(payload))], annotations),
        "artifactType": payload.artifact_type or payload.media_type,
        "subject": Descriptor(subject.media_type, subject.digest, subject.size_bytes).as_json(),
    }
    return Document(OCI_MANIFEST, canonical_json(told), told["artifactType"])


def _identity(document: Document) -> tuple[ImageDigest, int]:
    return document.digest, len(document.content)


def _manifest(
    config: Descriptor, layers: Sequence[Descriptor], annotations: Mapping[str, str] | None
) -> dict[str, Any]:
    return {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": config.as_json(),
        "layers": [layer.as_json() for layer in layers],
        **_annotated(annotations),
    }


def _annotated(annotations: Mapping[str, str] | None) -> dict[str, Any]:
    return {"annotations": dict(annotations)} if annotations else {}
