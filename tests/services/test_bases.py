"""Base images: added from every kind of source, found by every form of their name, replaced, exported, removed."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from palomar.contract.errors import BadParameter, NotFound
from palomar.contract.images import DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST
from palomar.server.builds.bases.adding import AddedBase, Outcome, remove_base, set_default
from palomar.server.builds.bases.administration import WantedBase, copy_base
from palomar.server.builds.bases.exporting import export_layout, read_config
from palomar.server.builds.bases.finding import base_by_digest, default_base, find_base, list_bases
from palomar.server.builds.bases.rootfs import remove_unused, unpacked_base
from palomar.server.builds.bases.values import Base
from palomar.server.builds.image_config import Platform
from palomar.server.registry.models import ImageManifest
from palomar.server.wiring import Hub
from tests.factories.bases import (
    DOCKER_LAYER,
    PYTHON,
    SYSTEM,
    TAR,
    Layout,
    config_of,
    docker_archive,
    sha256,
    tar,
    tiny_layout,
)

AMD64 = Platform("linux", "amd64")
NAME = "docker.io/library/python:3.11-tiny"


async def add(hub: Hub, source: Path, **wanted: Any) -> AddedBase:
    scratch = hub.settings.data / "builds" / "bases"
    added = await copy_base(hub.registry.writer, WantedBase(str(source), **wanted), scratch=scratch)
    assert not list(scratch.iterdir())
    return added


async def found(hub: Hub, reference: str) -> Base | None:
    async with hub.database.read() as session:
        return await find_base(session, reference)


async def the_default(hub: Hub) -> str | None:
    async with hub.database.read() as session:
        base = await default_base(session)
    return base.name if base else None


def two_platforms() -> Layout:
    layout, layers = Layout(), [tar(SYSTEM), tar(PYTHON)]
    children = []
    for architecture, os in (("arm64", "linux"), ("amd64", "linux"), ("amd64", "windows")):
        config = config_of(layers, architecture=architecture, os=os)
        platform = {"architecture": architecture, "os": os}
        children.append(layout.image(*layers, config=config, platform=platform))
    attestation = layout.image(tar({"a": b""}), layer_type="application/vnd.in-toto+json")
    children.append({**attestation, "platform": {"architecture": "unknown", "os": "unknown"}})
    layout.manifests.append(layout.index(*children, annotations={"io.containerd.image.name": NAME}))
    return layout


async def test_a_layout_in_a_folder_is_added_and_its_python_and_libc_are_found(hub: Hub, tmp_path: Path) -> None:
    layout = tiny_layout()
    added = await add(hub, layout.write(tmp_path / "layout"))
    assert added.outcome is Outcome.ADDED
    base = added.base
    assert (base.name, base.python, base.libc) == (NAME, "3.11", "glibc 2.36")
    assert base.digest == layout.manifests[0]["digest"], "an OCI manifest stays as it is"
    platform = base.on(AMD64)
    assert platform is not None
    assert platform.python == "/usr/bin/python3.11"
    assert len(platform.layers) == len(platform.diff_ids) == 2
    assert json.loads(await read_config(hub.registry.writer, base, platform))["architecture"] == "amd64"


async def test_an_archive_of_a_layout_gives_the_same_base_as_its_folder(hub: Hub, tmp_path: Path) -> None:
    layout = tiny_layout()
    first = await add(hub, layout.write(tmp_path / "layout"))
    second = await add(hub, layout.archive(tmp_path / "base.tar"))
    assert second.outcome is Outcome.UNCHANGED
    assert second.base == first.base


async def test_the_first_base_is_the_default_and_another_one_only_when_told(small_hub: Hub, tmp_path: Path) -> None:
    assert await the_default(small_hub) is None
    await add(small_hub, tiny_layout("a:1").write(tmp_path / "a"))
    await add(small_hub, tiny_layout("b:1").write(tmp_path / "b"))
    assert await the_default(small_hub) == "docker.io/library/a:1"
    await add(small_hub, tiny_layout("c:1").write(tmp_path / "c"), is_default=True)
    assert await the_default(small_hub) == "docker.io/library/c:1"
    added = await add(small_hub, tmp_path / "b", is_default=True)
    assert (added.outcome, added.base.is_default) == (Outcome.UNCHANGED, True)
    await set_default(small_hub.database, "a:1")
    assert await the_default(small_hub) == "docker.io/library/a:1"


async def test_another_image_of_the_same_name_replaces_the_base(hub: Hub, tmp_path: Path) -> None:
    old = (await add(hub, tiny_layout().write(tmp_path / "old"))).base
    added = await add(hub, tiny_layout(python="3.12").write(tmp_path / "new"))
    assert (added.outcome, added.base.python) == (Outcome.REPLACED, "3.12")
    assert added.base.is_default
    async with hub.database.read() as session:
        assert [base.digest for base in await list_bases(session)] == [added.base.digest]
        assert await base_by_digest(session, old.digest) is None
        assert await base_by_digest(session, added.base.digest) == added.base
        digests = (await session.scalars(select(ImageManifest.digest))).all()
    assert digests == [added.base.digest]


async def test_platforms_of_linux_become_an_index_and_others_are_left_out(hub: Hub, tmp_path: Path) -> None:
    layout = two_platforms()
    base = (await add(hub, layout.write(tmp_path / "layout"))).base
    assert [str(platform.platform) for platform in base.platforms] == ["linux/amd64", "linux/arm64"]
    stored = await hub.registry.writer.read_manifest(base.repository_id, base.digest)
    assert stored.media_type == OCI_INDEX
    assert len(json.loads(stored.content)["manifests"]) == 2
    assert (await add(hub, tmp_path / "layout")).outcome is Outcome.UNCHANGED
    assert await found(hub, f"python@{layout.manifests[0]['digest']}") == base


async def test_one_platform_alone_can_be_taken(small_hub: Hub, tmp_path: Path) -> None:
    base = (await add(small_hub, two_platforms().write(tmp_path / "layout"), platforms=["linux/arm64/v8"])).base
    assert [str(platform.platform) for platform in base.platforms] == ["linux/arm64"]
    with pytest.raises(BadParameter, match="no image for linux/s390x"):
        await add(small_hub, tmp_path / "layout", platforms=["linux/s390x"])


async def test_plain_layers_are_packed_the_same_way_from_every_source(small_hub: Hub, tmp_path: Path) -> None:
    layers = tar(SYSTEM), tar(PYTHON)
    base = (await add(small_hub, docker_archive(tmp_path / "docker.tar", *layers))).base
    layout = Layout()
    layout.manifests.append(layout.image(*layers, layer_type=TAR))
    added = await add(small_hub, layout.write(tmp_path / "layout"), name="python:3.11-tiny")
    assert (added.outcome, added.base.digest) == (Outcome.UNCHANGED, base.digest)
    platform = base.on(AMD64)
    assert platform is not None
    assert {layer.media_type for layer in platform.layers} == {f"{TAR}+gzip"}


async def test_docker_manifests_become_oci_manifests(small_hub: Hub, tmp_path: Path) -> None:
    layout = tiny_layout(layer_type=DOCKER_LAYER, manifest_type=DOCKER_MANIFEST)
    base = (await add(small_hub, layout.write(tmp_path / "layout"))).base
    stored = await small_hub.registry.writer.read_manifest(base.repository_id, base.digest)
    told = json.loads(stored.content)
    assert stored.media_type == told["mediaType"] == OCI_MANIFEST
    assert {layer["mediaType"] for layer in told["layers"]} == {f"{TAR}+gzip"}
    assert await found(small_hub, f"python:3.11-tiny@{layout.manifests[0]['digest']}") == base


async def test_a_layout_within_what_docker_saves_is_preferred(small_hub: Hub, tmp_path: Path) -> None:
    layout = tiny_layout()
    path = tmp_path / "saved.tar"
    path.write_bytes(tar({**layout.files(), "manifest.json": b"[]"}))
    assert (await add(small_hub, path)).base.digest == layout.manifests[0]["digest"]


@pytest.fixture
def references() -> list[str]:
    digest = tiny_layout().manifests[0]["digest"]
    return [
        "python:3.11-tiny",
        "library/python:3.11-tiny",
        "docker.io/python:3.11-tiny",
        "index.docker.io/library/python:3.11-tiny",
        f"python:3.11-tiny@{digest}",
        f"python@{digest}",
    ]


async def test_every_form_of_its_name_finds_a_base(small_hub: Hub, tmp_path: Path, references: list[str]) -> None:
    base = (await add(small_hub, tiny_layout().write(tmp_path / "layout"))).base
    assert [await found(small_hub, reference) for reference in references] == [base] * len(references)
    others = ["python", "python:3.11", f"python@{sha256(b'')}", f"debian@{base.digest}", "host/python:3.11-tiny", "?"]
    assert [await found(small_hub, other) for other in others] == [None] * len(others)


async def test_export_is_a_layout_that_can_be_added_again(hub: Hub, tmp_path: Path) -> None:
    base = (await add(hub, two_platforms().write(tmp_path / "layout"))).base
    await export_layout(hub.registry.writer, base, tmp_path / "exported")
    again = await add(hub, tmp_path / "exported", name="again:1")
    assert again.base.platforms == base.platforms
    await export_layout(hub.registry.writer, base, tmp_path / "one", platform=AMD64)
    assert len(json.loads((tmp_path / "one" / "index.json").read_bytes())["manifests"]) == 1


async def test_removed_base_is_found_no_more(small_hub: Hub, tmp_path: Path) -> None:
    await add(small_hub, tiny_layout().write(tmp_path / "layout"))
    assert (await remove_base(small_hub.database, "python:3.11-tiny")).is_default
    assert await found(small_hub, NAME) is None
    assert await the_default(small_hub) is None
    with pytest.raises(NotFound):
        await remove_base(small_hub.database, "python:3.11-tiny")
    assert (await add(small_hub, tmp_path / "layout")).outcome is Outcome.ADDED


async def test_base_is_unpacked_once_and_the_folder_goes_when_nobody_uses_it(hub: Hub, tmp_path: Path) -> None:
    base = (await add(hub, tiny_layout().write(tmp_path / "layout"))).base
    platform = base.on(AMD64)
    assert platform is not None
    folder = tmp_path / "rootfs"
    async with unpacked_base(hub.registry.writer, base, platform, folder) as root:
        assert (root / "usr" / "bin" / "python3.11").read_bytes() == PYTHON["usr/bin/python3.11"]
        assert remove_unused(folder, keep=()) == 0, "somebody uses it"
        (root / "mark").touch()
    async with unpacked_base(hub.registry.writer, base, platform, folder) as root:
        assert (root / "mark").exists()
    (folder / "unfinished-x").mkdir()
    assert remove_unused(folder, keep=[platform.manifest.digest]) == 1
    assert remove_unused(folder, keep=()) == 1
    assert not [path for path in folder.iterdir() if path.is_dir()]


async def test_builds_that_begin_at_once_unpack_a_base_once(small_hub: Hub, tmp_path: Path) -> None:
    base = (await add(small_hub, tiny_layout().write(tmp_path / "layout"))).base
    inodes: list[int] = []

    async def build() -> None:
        async with unpacked_base(small_hub.registry.writer, base, base.platforms[0], tmp_path / "rootfs") as root:
            inodes.append(root.stat().st_ino)

    await asyncio.gather(*(build() for _ in range(4)))
    assert len(inodes) == 4
    assert len(set(inodes)) == 1


async def test_what_a_killed_hub_left_half_unpacked_is_made_anew(small_hub: Hub, tmp_path: Path) -> None:
    base = (await add(small_hub, tiny_layout().write(tmp_path / "layout"))).base
    found = base.platforms[0]
    half = tmp_path / "rootfs" / f"unfinished-{found.manifest.digest.hex}" / "root"
    half.mkdir(parents=True)
    (half / "half").touch()
    async with unpacked_base(small_hub.registry.writer, base, found, tmp_path / "rootfs") as root:
        assert not (root / "half").exists()
        assert (root / "usr" / "bin" / "python3").is_symlink()
    assert not half.parent.exists()
