"""Base images that are broken or hostile: each is refused with one sentence, and leaves nothing behind."""

from __future__ import annotations

import gzip
import json
import os
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from palomar.contract.errors import BadParameter
from palomar.server.builds.bases.administration import WantedBase, copy_base
from palomar.server.builds.bases.finding import list_bases
from palomar.server.builds.bases.sources import files, images
from palomar.server.wiring import Hub
from tests.factories.bases import PYTHON, SYSTEM, Layout, config_of, docker_archive, header, sha256, tar, tiny_layout

GZIP_LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"


async def refusal(hub: Hub, source: Path | str, name: str | None = "python:3") -> str:
    scratch = hub.settings.data / "builds" / "bases"
    with pytest.raises(BadParameter) as caught:
        await copy_base(hub.registry.writer, WantedBase(str(source), name), scratch=scratch)
    assert not scratch.exists() or not list(scratch.iterdir())
    async with hub.database.read() as session:
        assert not await list_bases(session)
    return caught.value.detail


def with_layers(*layers: bytes, **image: Any) -> Layout:
    layout = Layout()
    layout.manifests.append(layout.image(*layers, **image))
    return layout


def changed_blob(layout: Layout, kind: str) -> Layout:
    """Swaps a byte of the first blob whose descriptor has this place in the manifest."""
    manifest = json.loads(layout.blobs[layout.manifests[0]["digest"]])
    digest = {"manifest": layout.manifests[0], "config": manifest["config"], "layer": manifest["layers"][0]}[kind]
    content = bytearray(layout.blobs[digest["digest"]])
    content[-1] ^= 1
    layout.blobs[digest["digest"]] = bytes(content)
    return layout


@pytest.mark.parametrize("kind", ["manifest", "config", "layer"])
async def test_damaged_content_is_refused(small_hub: Hub, tmp_path: Path, kind: str) -> None:
    said = await refusal(small_hub, changed_blob(tiny_layout(), kind).write(tmp_path / "layout"))
    assert "is damaged" in said


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda content: content[:-5], "is cut off"),
        (lambda content: content + b"more", "is larger than"),
    ],
)
async def test_a_layer_of_another_size_is_refused(
    small_hub: Hub, tmp_path: Path, change: Callable[[bytes], bytes], words: str
) -> None:
    layout = tiny_layout()
    digest = json.loads(layout.blobs[layout.manifests[0]["digest"]])["layers"][1]["digest"]
    layout.blobs[digest] = change(layout.blobs[digest])
    assert words in await refusal(small_hub, layout.write(tmp_path / "layout"))


async def test_a_layer_that_the_config_does_not_name_is_refused(small_hub: Hub, tmp_path: Path) -> None:
    layout = with_layers(tar(SYSTEM), tar(PYTHON), config=config_of([tar(SYSTEM), tar({})]))
    assert "not the one that the image's config names" in await refusal(small_hub, layout.write(tmp_path / "layout"))


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        (tar({"../../etc/cron.d/x": b""}), "leads out of the image"),
        (tar({"a/../../x": b""}), "leads out of the image"),
        (tar({"a/" * 300 + "x": b""}), "is too long"),
        (tar({"a": "b", "b": "a", "a/x": b""}), "go round"),
        (tar({}, header("usr/x", type=tarfile.LNKTYPE, linkname="../../etc/passwd")), "leads out of the image"),
        (b"no tar at all" * 100, "is no tar archive"),
        (b"", "is no tar archive"),
        (tar(SYSTEM)[:700], "is no tar archive"),
    ],
)
async def test_a_layer_that_is_no_safe_tar_is_refused(small_hub: Hub, tmp_path: Path, layer: bytes, words: str) -> None:
    assert words in await refusal(small_hub, with_layers(tar(PYTHON), layer).write(tmp_path / "layout"))


async def test_a_layer_that_is_not_gzip_is_refused(small_hub: Hub, tmp_path: Path) -> None:
    layout, layer = Layout(), tar(SYSTEM)
    config = layout.blob(config_of([layer]), "application/vnd.oci.image.config.v1+json")
    told = {"schemaVersion": 2, "config": config, "layers": [layout.blob(layer, GZIP_LAYER)]}
    layout.manifests.append(layout.blob(json.dumps(told).encode(), "application/vnd.oci.image.manifest.v1+json"))
    assert "cannot be used" in await refusal(small_hub, layout.write(tmp_path / "layout"))


def pythonless() -> list[bytes]:
    return [
        tar(SYSTEM),
        tar({**SYSTEM, "usr/bin/python3.7": b"old"}),
        tar({**SYSTEM, "usr/bin/python3": "python3.11"}),
        tar({**SYSTEM, "usr/bin/python3.11": "nowhere"}),
        tar({**SYSTEM, "usr/bin/python3.11": "python3.11"}),
        tar({**SYSTEM}, header("usr/bin/python3.11", mode=0o644)),
        tar({**SYSTEM, "opt/bin/python3.11": b"elsewhere"}),
    ]


@pytest.mark.parametrize("layer", pythonless())
async def test_a_base_without_a_usable_python_is_refused(small_hub: Hub, tmp_path: Path, layer: bytes) -> None:
    assert "has no Python 3.8 or newer" in await refusal(small_hub, with_layers(layer).write(tmp_path / "layout"))


async def test_a_base_whose_python_a_later_layer_takes_away_is_refused(small_hub: Hub, tmp_path: Path) -> None:
    layout = with_layers(tar({**SYSTEM, **PYTHON}), tar({"usr/bin/.wh.python3.11": b""}))
    assert "has no Python" in await refusal(small_hub, layout.write(tmp_path / "layout"))


async def test_a_base_without_a_c_library_is_refused(small_hub: Hub, tmp_path: Path) -> None:
    assert "neither glibc nor musl" in await refusal(small_hub, with_layers(tar(PYTHON)).write(tmp_path / "layout"))


@pytest.mark.parametrize(
    ("index", "words"),
    [
        (b"{", "is not JSON"),
        (b"[]", "is not a JSON object"),
        (b"[" * 100_000, "is not JSON"),
        (b"{}", "lists no manifests"),
        (b'{"manifests": []}', "no image for Linux"),
        (b'{"manifests": [1]}', "is no descriptor"),
        (b'{"manifests": [{"mediaType": "a", "digest": "sha256:../../../etc/passwd", "size": 1}]}', "no digest"),
        (b'{"manifests": [{"mediaType": "a", "digest": "sha256:%s", "size": -1}]}' % (b"0" * 64), "no size"),
    ],
)
async def test_a_broken_index_is_refused(small_hub: Hub, tmp_path: Path, index: bytes, words: str) -> None:
    (tmp_path / "layout").mkdir()
    (tmp_path / "layout" / "index.json").write_bytes(index)
    assert words in await refusal(small_hub, tmp_path / "layout")


async def test_missing_content_is_named(small_hub: Hub, tmp_path: Path) -> None:
    layout = tiny_layout()
    layers = json.loads(layout.blobs[layout.manifests[0]["digest"]])["layers"]
    del layout.blobs[layers[1]["digest"]]
    assert f"lacks the layer {layers[1]['digest']}" in await refusal(small_hub, layout.write(tmp_path / "layout"))
    layout.blobs.clear()
    assert "lacks the file blobs/sha256/" in await refusal(small_hub, layout.write(tmp_path / "empty"))


async def test_links_and_pipes_in_the_place_of_content_are_not_opened(small_hub: Hub, tmp_path: Path) -> None:
    layout = tiny_layout().write(tmp_path / "layout")
    blobs = sorted((layout / "blobs" / "sha256").iterdir())
    for path in blobs:
        path.unlink()
        os.mkfifo(path)
    assert "lacks the file" in await refusal(small_hub, layout)
    for path in blobs:
        path.unlink()
        path.symlink_to("/etc/passwd")
    assert "lacks the file" in await refusal(small_hub, layout)


async def test_several_images_for_one_platform_are_refused(small_hub: Hub, tmp_path: Path) -> None:
    layout = tiny_layout()
    layout.manifests += tiny_layout(python="3.12").manifests
    layout.blobs |= tiny_layout(python="3.12").blobs
    said = await refusal(small_hub, layout.write(tmp_path / "layout"))
    assert "several images for linux/amd64" in said


async def test_an_index_within_itself_ends(small_hub: Hub, tmp_path: Path) -> None:
    layout = Layout()
    child = layout.image(tar(SYSTEM), config=config_of([tar(SYSTEM)], os="windows"))
    for number in range(8):
        child = layout.index(child, annotations={"n": str(number)})
    layout.manifests.append(child)
    assert "indexes within indexes" in await refusal(small_hub, layout.write(tmp_path / "layout"))


async def test_foreign_layers_are_refused(small_hub: Hub, tmp_path: Path) -> None:
    layout, layer = Layout(), tar({**SYSTEM, **PYTHON})
    foreign = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
    config = layout.blob(config_of([layer, layer]), "application/vnd.oci.image.config.v1+json")
    layers = [layout.blob(gzip.compress(layer), GZIP_LAYER), layout.blob(gzip.compress(layer), foreign)]
    told = {"schemaVersion": 2, "config": config, "layers": layers}
    layout.manifests.append(layout.blob(json.dumps(told).encode(), "application/vnd.oci.image.manifest.v1+json"))
    assert "unknown or foreign type" in await refusal(small_hub, layout.write(tmp_path / "layout"))


@pytest.mark.parametrize(
    ("manifest", "words"),
    [
        ({"Layers": ["absent/layer.tar"]}, "lacks the layer"),
        ({"Layers": ["../../etc/passwd"]}, "leads out"),
        ({"Config": "../config.json"}, "leads out"),
        ({"Config": 7}, "lacks the file"),
        ({"Layers": 7}, "lists no layers"),
        ({"Layers": []}, "does not list its layers"),
    ],
)
async def test_a_broken_docker_archive_is_refused(
    small_hub: Hub, tmp_path: Path, manifest: dict[str, Any], words: str
) -> None:
    path = docker_archive(tmp_path / "image.tar", tar(SYSTEM), tar(PYTHON), **manifest)
    assert words in await refusal(small_hub, path)


async def test_links_within_an_archive_lead_to_its_own_files_alone(small_hub: Hub, tmp_path: Path) -> None:
    layer = tar({**SYSTEM, **PYTHON})
    config = config_of([layer])
    told = [{"Config": "config.json", "RepoTags": ["a:1"], "Layers": ["b/layer.tar"]}]
    content = {"config.json": config, "manifest.json": json.dumps(told).encode(), "a/layer.tar": layer}
    for target in ("/etc/passwd", "../../etc/passwd", "layer.tar"):
        (tmp_path / "image.tar").write_bytes(tar({**content, "b/layer.tar": target}))
        assert "lacks the layer" in await refusal(small_hub, tmp_path / "image.tar")
    (tmp_path / "image.tar").write_bytes(tar({**content, "b/layer.tar": "../a/layer.tar"}))
    added = await copy_base(
        small_hub.registry.writer, WantedBase(str(tmp_path / "image.tar")), scratch=tmp_path / "scratch"
    )
    assert added.base.name == "docker.io/library/a:1"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "cannot be read"),
        (b"PK\x03\x04" * 400, "cannot be read"),
        (tar({"readme": b""}), "neither index.json nor manifest.json"),
        (gzip.compress(tar({"readme": b""}), mtime=1)[:-4], "is damaged"),
        (tar({"manifest.json": b"{}"}), "no JSON list"),
        (tar({"manifest.json": b"[{}, {}]"}), "holds 2 images"),
    ],
)
async def test_a_file_that_is_no_image_is_refused(small_hub: Hub, tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "image.tar").write_bytes(content)
    assert words in await refusal(small_hub, tmp_path / "image.tar")


async def test_gzipped_archives_are_read(small_hub: Hub, tmp_path: Path) -> None:
    path = tmp_path / "image.tar.gz"
    path.write_bytes(gzip.compress(tar(tiny_layout().files())))
    added = await copy_base(small_hub.registry.writer, WantedBase(str(path)), scratch=tmp_path / "scratch")
    assert added.base.python == "3.11"


@pytest.mark.parametrize("source", ["/absent/image", "./absent", "absent.tar"])
async def test_a_path_that_is_not_there_is_no_reference(small_hub: Hub, source: str) -> None:
    assert "there is no file or folder" in await refusal(small_hub, source)


async def test_a_name_is_asked_for_where_the_source_has_none(small_hub: Hub, tmp_path: Path) -> None:
    assert "--name" in await refusal(small_hub, tiny_layout(None).write(tmp_path / "layout"), name=None)
    assert "--name" in await refusal(small_hub, tiny_layout("3.11").write(tmp_path / "tag"), name=None)


@pytest.mark.parametrize(
    "name", ["", "Python", "python:", "python@sha256:abc", f"python@{sha256(b'')}", "a b", "a" * 600]
)
async def test_a_bad_name_is_refused(small_hub: Hub, tmp_path: Path, name: str) -> None:
    assert "NAME" in await refusal(small_hub, tiny_layout().write(tmp_path / "layout"), name=name)


async def test_documents_and_archives_are_bounded(
    small_hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    layout = tiny_layout()
    layout.manifests[0]["size"] = images.MAX_JSON_BYTES + 1
    assert "is larger than" in await refusal(small_hub, layout.write(tmp_path / "layout"))
    monkeypatch.setattr(files, "_MAX_ARCHIVE_BYTES", 10_000)
    bomb = tmp_path / "bomb.tar.gz"
    bomb.write_bytes(gzip.compress(tar({"index.json": bytes(20_000)})))
    assert "unpacks to more than" in await refusal(small_hub, bomb)
