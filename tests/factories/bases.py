"""Base images made by hand: a few files, in every form that one can come in."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from palomar.contract.images import DOCKER_LIST, DOCKER_MANIFEST, OCI_CONFIG, OCI_INDEX, OCI_MANIFEST

TAR = "application/vnd.oci.image.layer.v1.tar"
DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
DOCKER_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"

GLIBC = b"\x7fELF\0GNU C Library (Debian GLIBC 2.36-9+deb12u10) stable release version 2.36.\n\0"
SYSTEM: dict[str, Any] = {
    "etc/os-release": b"ID=debian\n",
    "lib": "usr/lib",
    "usr/lib/x86_64-linux-gnu/libc.so.6": GLIBC,
}
PYTHON: dict[str, Any] = {"usr/bin/python3.11": b"#!ELF", "usr/bin/python3": "python3.11"}


def tar(files: Mapping[str, Any], *extra: tarfile.TarInfo) -> bytes:
    """Bytes are a file (an executable one in a bin folder), text is a symbolic link, None is a folder."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, content in files.items():
            archive.addfile(header(name, content), io.BytesIO(content if isinstance(content, bytes) else b""))
        for info in extra:
            archive.addfile(info)
    return buffer.getvalue()


def header(name: str, content: bytes | str | None = b"", **given: Any) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.mode = 0o755 if content is None or "bin/" in name else 0o644
    if content is None:
        info.type = tarfile.DIRTYPE
    elif isinstance(content, str):
        info.type, info.linkname = tarfile.SYMTYPE, content
    else:
        info.size = len(content)
    for key, value in given.items():
        setattr(info, key, value)
    return info


def sha256(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


def config_of(layers: Sequence[bytes], *, architecture: str = "amd64", os: str = "linux", **root: Any) -> bytes:
    """``layers`` are tars."""
    told = {
        "architecture": architecture,
        "os": os,
        "config": {"Env": ["PATH=/usr/bin"], "Cmd": ["python3"]},
        "rootfs": {"type": "layers", "diff_ids": [sha256(layer) for layer in layers]},
        **root,
    }
    return json.dumps(told).encode()


@dataclass
class Layout:
    """The blobs of an OCI layout, and what its index.json lists; changed by tests at will before it is written."""

    blobs: dict[str, bytes] = field(default_factory=dict)
    manifests: list[dict[str, Any]] = field(default_factory=list)

    def blob(self, content: bytes, media_type: str, **more: Any) -> dict[str, Any]:
        digest = sha256(content)
        self.blobs[digest] = content
        return {"mediaType": media_type, "digest": digest, "size": len(content), **more}

    def image(
        self,
        *layers: bytes,
        config: bytes | None = None,
        layer_type: str = f"{TAR}+gzip",
        manifest_type: str = OCI_MANIFEST,
        **more: Any,
    ) -> dict[str, Any]:
        """The descriptor of a manifest for these tars."""
        is_docker = manifest_type == DOCKER_MANIFEST
        packed = [gzip.compress(layer, mtime=1) if "gzip" in layer_type else layer for layer in layers]
        told = {
            "schemaVersion": 2,
            "mediaType": manifest_type,
            "config": self.blob(config or config_of(layers), DOCKER_CONFIG if is_docker else OCI_CONFIG),
            "layers": [self.blob(layer, layer_type) for layer in packed],
        }
        return self.blob(json.dumps(told).encode(), manifest_type, **more)

    def index(self, *children: dict[str, Any], is_docker: bool = False, **more: Any) -> dict[str, Any]:
        media_type = DOCKER_LIST if is_docker else OCI_INDEX
        told = {"schemaVersion": 2, "mediaType": media_type, "manifests": list(children)}
        return self.blob(json.dumps(told).encode(), media_type, **more)

    def files(self) -> dict[str, bytes]:
        index = {"schemaVersion": 2, "manifests": self.manifests}
        blobs = {f"blobs/{digest.replace(':', '/')}": content for digest, content in self.blobs.items()}
        return {"oci-layout": b'{"imageLayoutVersion":"1.0.0"}', "index.json": json.dumps(index).encode(), **blobs}

    def write(self, folder: Path) -> Path:
        for name, content in self.files().items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        return folder

    def archive(self, path: Path) -> Path:
        path.write_bytes(tar(self.files()))
        return path


def tiny_layout(name: str | None = "python:3.11-tiny", python: str = "3.11", **image: Any) -> Layout:
    """A base for linux/amd64 in two layers, whose Python is none."""
    layout = Layout()
    pythons = {key.replace("3.11", python): value for key, value in PYTHON.items()}
    link = {"usr/bin/python3": f"python{python}"}
    annotations = {"annotations": {"org.opencontainers.image.ref.name": name}} if name else {}
    layout.manifests.append(layout.image(tar(SYSTEM), tar({**pythons, **link}), **image, **annotations))
    return layout


def docker_archive(path: Path, *layers: bytes, tags: Sequence[str] = ("python:3.11-tiny",), **manifest: Any) -> Path:
    """As `docker save` wrote it before it wrote layouts: plain layers, in folders of their own."""
    config = config_of(layers)
    names = [f"{sha256(layer)[7:]}/layer.tar" for layer in layers]
    told = [{"Config": f"{sha256(config)[7:]}.json", "RepoTags": list(tags), "Layers": names, **manifest}]
    files: dict[str, Any] = {f"{sha256(config)[7:]}.json": config, **dict(zip(names, layers, strict=True))}
    path.write_bytes(tar({**files, "manifest.json": json.dumps(told).encode()}))
    return path
