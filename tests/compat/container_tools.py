"""skopeo, podman and buildah as a person has them: with a home, a login and a storage of their own."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import shutil
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path

from palomar.contract.images import OCI_CONFIG, OCI_LAYER_GZIP, OCI_MANIFEST
from tests.fixtures.environment import lacking
from tools.live_hub import LiveHub

# As root in a container there may be no right to raise limits.
CONFIGURATION = """
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
[engine]
runtime = "runc"
"""
POLICY = {"default": [{"type": "insecureAcceptAnything"}]}


@dataclass(frozen=True)
class Tools:
    """Of one person at one machine."""

    hub: LiveHub
    home: Path
    # podman allows it no more than 50 characters.
    run_root: Path

    def __post_init__(self) -> None:
        (self.home / "bin").mkdir(parents=True)
        (self.home / ".config" / "containers").mkdir(parents=True)
        (self.home / ".config" / "containers" / "policy.json").write_text(json.dumps(POLICY))
        (self.home / "containers.conf").write_text(CONFIGURATION)

    @property
    def host(self) -> str:
        return self.hub.url.removeprefix("http://")

    @property
    def auth_file(self) -> Path:
        return self.home / "auth.json"

    def run(self, *command: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        environ = {
            "HOME": str(self.home),
            "PATH": f"{self.home / 'bin'}{os.pathsep}{os.defpath}{os.pathsep}/usr/sbin{os.pathsep}/sbin",
            "REGISTRY_AUTH_FILE": str(self.auth_file),
            "CONTAINERS_CONF": str(self.home / "containers.conf"),
            "XDG_RUNTIME_DIR": str(self.home),
        }
        return subprocess.run(
            command, env=environ, input=stdin, cwd=self.home, capture_output=True, text=True, timeout=120, check=False
        )

    def do(self, *command: str, stdin: str = "") -> str:
        """What the command prints; it must end well."""
        done = self.run(*command, stdin=stdin)
        assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return done.stdout

    def fail(self, *command: str, stdin: str = "") -> str:
        """What a person sees when the command fails, which it must."""
        done = self.run(*command, stdin=stdin)
        assert done.returncode != 0, done.stdout[-3000:]
        return done.stderr[-3000:]

    def login(self, tool: str, token: str, *, user: str = "whoever") -> None:
        self.do(tool, "login", "--tls-verify=false", "-u", user, "--password-stdin", self.host, stdin=token)

    def use_helper(self, username: str, secret: str) -> None:
        """A credential helper that says this, as docker-credential-jina-hubble does of a token."""
        helper = self.home / "bin" / "docker-credential-hub"
        helper.write_text(f"#!/bin/sh\necho '{json.dumps({'Username': username, 'Secret': secret})}'\n")
        helper.chmod(0o755)
        self.auth_file.write_text(json.dumps({"credHelpers": {self.host: "hub"}}))

    def skopeo(self, *arguments: str) -> str:
        return self.do("skopeo", *arguments)

    def copy_in(self, layout: Path, name: str) -> None:
        self.skopeo("copy", "--dest-tls-verify=false", f"oci:{layout}:latest", f"docker://{self.host}/{name}")

    def copy_out(self, name: str, layout: Path) -> None:
        self.skopeo("copy", "--src-tls-verify=false", f"docker://{self.host}/{name}", f"oci:{layout}:latest")

    def storage(self, tool: str) -> list[str]:
        """podman or buildah with a storage that needs no kernel support."""
        return [tool, "--root", str(self.home / "root"), "--runroot", str(self.run_root), "--storage-driver", "vfs"]


def need(*tools: str) -> None:
    for tool in tools:
        if shutil.which(tool) is None:
            lacking(f"{tool} is not installed")


def write_layout(folder: Path, text: str) -> str:
    """An image with one file in one layer, as an OCI layout; the digest of its manifest.

    Another ``text`` in every test: these tools remember blobs beyond a home, and push an equal layer that they know.
    """
    (folder / "blobs" / "sha256").mkdir(parents=True)
    tar = _tar(text.encode())
    layer = _add(folder, OCI_LAYER_GZIP, gzip.compress(tar, mtime=0))
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {"Cmd": ["/file"]},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(tar).hexdigest()}"]},
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": _add(folder, OCI_CONFIG, json.dumps(config).encode()),
        "layers": [layer],
    }
    listed = _add(folder, OCI_MANIFEST, json.dumps(manifest).encode())
    digest = str(listed["digest"])
    named = listed | {"annotations": {"org.opencontainers.image.ref.name": "latest"}}
    (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [named]}))
    (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    return digest


def _tar(data: bytes) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as tar:
        entry = tarfile.TarInfo("file")
        entry.size = len(data)
        tar.addfile(entry, io.BytesIO(data))
    return file.getvalue()


def _add(folder: Path, media_type: str, data: bytes) -> dict[str, object]:
    hexadecimal = hashlib.sha256(data).hexdigest()
    (folder / "blobs" / "sha256" / hexadecimal).write_bytes(data)
    return {"mediaType": media_type, "digest": f"sha256:{hexadecimal}", "size": len(data)}
