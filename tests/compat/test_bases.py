"""A real base image on its way through the hub, and other tools reading what the hub makes of it."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
from pathlib import Path

import pytest

from palomar.contract.images import ImageDigest
from palomar.server.builds.bases.adding import AddedBase, Outcome
from palomar.server.builds.bases.administration import WantedBase, copy_base
from palomar.server.builds.bases.exporting import export_layout, read_config
from palomar.server.builds.bases.rootfs import unpacked_base
from palomar.server.builds.image_config import AddedLayer, Document, build_config, build_manifest
from palomar.server.builds.layers import LayerFile, write_layer
from palomar.server.wiring import Hub
from tests.fixtures.environment import lacking

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


async def add(hub: Hub, source: Path, name: str | None = None) -> AddedBase:
    scratch = hub.settings.data / "builds" / "bases"
    return await copy_base(hub.registry.writer, WantedBase(str(source), name), scratch=scratch)


def skopeo(*arguments: str) -> str:
    program = shutil.which("skopeo")
    if program is None:
        lacking("skopeo is not installed")
    return run(program, *arguments)


def run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


async def test_python_of_an_unpacked_base_runs(small_hub: Hub, debian_layout: Path, tmp_path: Path) -> None:
    base = (await add(small_hub, debian_layout)).base
    found = base.platforms[0]
    assert (found.python, found.version, found.libc) == ("/usr/bin/python3.11", "3.11", "glibc 2.36")
    bwrap = shutil.which("bwrap")
    if bwrap is None:
        lacking("bubblewrap is not installed")
    async with unpacked_base(small_hub.registry.writer, base, found, tmp_path / "rootfs") as root:
        command = [bwrap, "--ro-bind", str(root), "/", "--proc", "/proc", "--dev", "/dev", found.python]
        script = "import ctypes, hashlib, ssl, sys; print(sys.version_info[:2])"
        assert await asyncio.to_thread(run, *command, "-c", script) == "(3, 11)\n"


async def test_what_other_tools_make_of_an_exported_base_is_the_same_base(
    small_hub: Hub, debian_layout: Path, tmp_path: Path
) -> None:
    base = (await add(small_hub, debian_layout)).base
    await export_layout(small_hub.registry.writer, base, tmp_path / "exported")
    assert json.loads(skopeo("inspect", f"oci:{tmp_path / 'exported'}"))["Digest"] == base.digest
    skopeo("copy", f"oci:{tmp_path / 'exported'}", f"oci-archive:{tmp_path / 'oci.tar'}:python:3.11")
    added = await add(small_hub, tmp_path / "oci.tar")
    assert (added.base.name, added.base.digest) == ("docker.io/library/python:3.11", base.digest)
    # A docker archive holds the layers unpacked, so that they get the hub's own packing; what is in them is the same.
    skopeo("copy", f"oci:{tmp_path / 'exported'}", f"docker-archive:{tmp_path / 'docker.tar'}:python:3.11")
    added = await add(small_hub, tmp_path / "docker.tar")
    assert added.outcome is Outcome.REPLACED
    assert added.base.platforms[0].diff_ids == base.platforms[0].diff_ids
    assert (await add(small_hub, tmp_path / "docker.tar")).outcome is Outcome.UNCHANGED


async def test_an_image_on_a_base_is_read_by_other_tools(small_hub: Hub, debian_layout: Path, tmp_path: Path) -> None:
    writer = small_hub.registry.writer
    base = (await add(small_hub, debian_layout)).base
    found = base.platforms[0]
    await export_layout(writer, base, tmp_path / "image")
    layer = write_layer([LayerFile.of_bytes("workspace/config.yml", b"jtype: X\n")], tmp_path / "layer")
    added = AddedLayer(layer, "the package")
    config = build_config(await read_config(writer, base, found), [added], labels={"a": "b"})
    manifest = build_manifest(config.descriptor, [*found.layers, added.descriptor])
    blobs = tmp_path / "image" / "blobs" / "sha256"
    shutil.copy(tmp_path / "layer", blobs / ImageDigest(layer.digest).hex)
    _save(blobs, config, manifest)
    index = {"schemaVersion": 2, "manifests": [manifest.descriptor.as_json()]}
    (tmp_path / "image" / "index.json").write_text(json.dumps(index))
    # It unpacks every layer on the way and compares it with what the config announces.
    skopeo("copy", f"oci:{tmp_path / 'image'}", f"docker-archive:{tmp_path / 'image.tar'}:image:1")
    told = json.loads(skopeo("inspect", f"docker-archive:{tmp_path / 'image.tar'}"))
    assert len(told["Layers"]) == len(found.layers) + 1
    assert told["Labels"] == {"a": "b"}
    assert "PYTHONPATH=/opt/palomar/site-packages" in told["Env"]


def _save(blobs: Path, *documents: Document) -> None:
    for document in documents:
        (blobs / document.digest.hex).write_bytes(document.content)
