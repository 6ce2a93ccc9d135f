"""A base image with Python for hubs of tests, the demo and benchmarks: Debian as debootstrap makes it.

It is made once, as root, and kept as an OCI layout in ``~/.cache/palomar-tests``, beside the old clients.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import platform
import shutil
import subprocess
from pathlib import Path
from typing import Any

from tools.old_clients import CACHE, locked

NAME = "palomar-tests/debian:bookworm"
_SUITE = "bookworm"
_PACKAGES = "python3,python3-distutils,ca-certificates"
_DEBOOTSTRAP_S = 900
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
# What apt and its users want, and an image does not.
_LEFT_OUT = ("./dev/*", "./proc/*", "./sys/*", "./var/cache/apt/*", "./var/lib/apt/lists/*", "./usr/share/doc/*")
_OCI = "application/vnd.oci.image"


class BaseMissing(RuntimeError):
    """There is no base image, and this machine cannot make one; the message says why."""


def base_layout(cache: Path = CACHE) -> Path:
    """The folder of an OCI layout that holds the image, made if need be. Raises BaseMissing."""
    layout = cache / f"{_SUITE}-oci"
    with locked(cache / f"{_SUITE}-oci.lock"):
        if not layout.exists():
            unfinished = cache / f"{_SUITE}-oci.tmp"
            shutil.rmtree(unfinished, ignore_errors=True)
            _write_layout(_rootfs(cache), unfinished)
            unfinished.rename(layout)
    return layout


def _rootfs(cache: Path) -> Path:
    folder = cache / f"{_SUITE}-rootfs"
    with locked(cache / f"{_SUITE}-rootfs.lock"):
        if not folder.exists():
            _debootstrap(folder)
    return folder


def _debootstrap(folder: Path) -> None:
    program = shutil.which("debootstrap", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin")
    if program is None or os.geteuid():
        why = "debootstrap is not installed" if program is None else "only root can make one"
        raise BaseMissing(f"there is no base image: {why}")
    unfinished = folder.with_name(f"{folder.name}.tmp")
    shutil.rmtree(unfinished, ignore_errors=True)
    command = [program, "--variant=minbase", f"--include={_PACKAGES}", _SUITE, str(unfinished)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=_DEBOOTSTRAP_S, check=False)
    if done.returncode:
        raise BaseMissing(f"there is no base image: debootstrap failed: {done.stdout.strip()[-500:]}")
    unfinished.rename(folder)


def _write_layout(rootfs: Path, layout: Path) -> None:
    (layout / "blobs" / "sha256").mkdir(parents=True)
    diff_id, layer = _write_layer(rootfs, layout)
    architecture = _ARCHITECTURES.get(platform.machine(), platform.machine())
    config = _put(
        layout,
        {
            "architecture": architecture,
            "os": "linux",
            "config": {"Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"], "Cmd": ["bash"]},
            "rootfs": {"type": "layers", "diff_ids": [diff_id]},
            # buildah builds on no image whose history does not name every layer.
            "history": [{"created": "1970-01-01T00:00:00Z", "created_by": "debootstrap"}],
        },
    )
    manifest = _put(
        layout,
        {
            "schemaVersion": 2,
            "mediaType": f"{_OCI}.manifest.v1+json",
            "config": {"mediaType": f"{_OCI}.config.v1+json", **config},
            "layers": [layer],
        },
    )
    described = {
        "mediaType": f"{_OCI}.manifest.v1+json",
        **manifest,
        "platform": {"architecture": architecture, "os": "linux"},
        "annotations": {"org.opencontainers.image.ref.name": NAME},
    }
    (layout / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [described]}))
    (layout / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')


def _write_layer(rootfs: Path, layout: Path) -> tuple[str, dict[str, Any]]:
    """The digest of the layer's tar, and what a manifest says of the compressed one."""
    tar, packed = layout / "layer.tar", layout / "layer.tar.gz"
    excluded = [f"--exclude={name}" for name in _LEFT_OUT]
    command = ["tar", "-C", str(rootfs), "--numeric-owner", "--sort=name", *excluded, "-cf", str(tar), "."]
    subprocess.run(command, check=True)
    with tar.open("rb") as source, gzip.GzipFile(packed, "wb", compresslevel=3, mtime=0) as target:
        shutil.copyfileobj(source, target, 1024 * 1024)
    diff_id, digest = _digest(tar), _digest(packed)
    size = packed.stat().st_size
    tar.unlink()
    packed.rename(layout / "blobs" / "sha256" / digest)
    return f"sha256:{diff_id}", {
        "mediaType": f"{_OCI}.layer.v1.tar+gzip",
        "digest": f"sha256:{digest}",
        "size": size,
    }


def _put(layout: Path, document: dict[str, Any]) -> dict[str, Any]:
    content = json.dumps(document).encode()
    digest = hashlib.sha256(content).hexdigest()
    (layout / "blobs" / "sha256" / digest).write_bytes(content)
    return {"digest": f"sha256:{digest}", "size": len(content)}


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
