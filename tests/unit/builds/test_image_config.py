"""Configs and manifests: what a client reads out of them, and that they depend on their inputs alone."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest

from palomar.contract.images import OCI_CONFIG, OCI_INDEX, OCI_LAYER_GZIP, OCI_MANIFEST, ImageDigest
from palomar.server.builds.image_config import (
    CYCLONEDX,
    EMPTY,
    AddedLayer,
    Document,
    Platform,
    build_attachment,
    build_config,
    build_index,
    build_manifest,
    canonical_json,
)
from palomar.server.builds.layers import WrittenLayer
from palomar.server.registry.document import parse_manifest
from palomar.server.registry.values import Descriptor

OURS = AddedLayer(WrittenLayer("sha256:" + "1" * 64, "sha256:" + "2" * 64, 10, 20), "the package")


def base(**config: Any) -> bytes:
    root = {
        "architecture": "arm64",
        "os": "linux",
        "variant": "v8",
        "created": "2024-01-01T00:00:00Z",
        "author": "somebody",
        "rootfs": {"type": "layers", "diff_ids": ["sha256:" + "0" * 64]},
        "history": [{"created_by": "ADD rootfs"}, {"created_by": "CMD bash", "empty_layer": True}],
        "config": config,
    }
    return json.dumps(root).encode()


def made(config: bytes, **given: Any) -> dict[str, Any]:
    return json.loads(build_config(config, [OURS], labels={}, **given).content)


def test_container_starts_the_executor_in_its_workspace_and_finds_its_libraries() -> None:
    config = made(base(Cmd=["bash"], Entrypoint=["/init"], Env=["PATH=/usr/bin", "LANG=C.UTF-8"]))["config"]
    assert config["Entrypoint"] == ["jina", "executor", "--uses", "config.yml"]
    assert config["WorkingDir"] == "/workspace"
    assert config["Env"] == [
        "PATH=/opt/palomar/site-packages/bin:/usr/bin",
        "LANG=C.UTF-8",
        "PYTHONPATH=/opt/palomar/site-packages",
    ]
    assert "Cmd" not in config


def test_a_base_without_environment_still_has_a_path() -> None:
    env = made(base())["config"]["Env"]
    assert env[0].startswith("PATH=/opt/palomar/site-packages/bin:/usr/local/sbin:")


def test_pythonpath_of_the_base_comes_after_ours() -> None:
    assert (
        "PYTHONPATH=/opt/palomar/site-packages:/opt/base" in made(base(Env=["PYTHONPATH=/opt/base"]))["config"]["Env"]
    )


def test_layers_stand_on_those_of_the_base_in_rootfs_and_history() -> None:
    config = made(base())
    assert config["rootfs"]["diff_ids"] == ["sha256:" + "0" * 64, "sha256:" + "2" * 64]
    assert [entry["created_by"] for entry in config["history"]] == ["ADD rootfs", "CMD bash", "the package"]
    assert (config["os"], config["architecture"], config["variant"]) == ("linux", "arm64", "v8")


@pytest.mark.parametrize("history", [None, [], [{"created_by": "one"}, {"created_by": "two"}], ["text"]])
def test_history_that_does_not_tell_of_every_layer_is_not_kept(history: Any) -> None:
    root = json.loads(base())
    root["history"] = history
    told = made(json.dumps(root).encode())["history"]
    assert [entry["created_by"] for entry in told] == ["base image", "the package"]


def test_what_the_base_says_about_itself_is_not_said_of_the_image() -> None:
    labels = {"org.opencontainers.image.title": "debian", "vendor": "us"}
    document = build_config(
        base(Labels=labels, Healthcheck={"Test": ["x"]}, OnBuild=["RUN x"], User="app"),
        [OURS],
        labels={"org.opencontainers.image.version": "v1"},
    )
    config = json.loads(document.content)
    assert config["config"]["Labels"] == {"vendor": "us", "org.opencontainers.image.version": "v1"}
    assert config["config"]["User"] == "app"
    assert config["config"].keys().isdisjoint({"Healthcheck", "OnBuild"})
    assert config["created"] == "1970-01-01T00:00:00Z"
    assert "author" not in config


def test_equal_inputs_give_equal_bytes_in_whatever_order_they_were_said() -> None:
    one = build_config(base(User="app", StopSignal="TERM"), [OURS], labels={"a": "1", "b": "2"})
    other = build_config(base(StopSignal="TERM", User="app"), [OURS], labels={"b": "2", "a": "1"})
    assert one == other
    assert one.descriptor.digest == "sha256:" + hashlib.sha256(one.content).hexdigest()


def test_manifest_passes_the_registrys_own_checks_and_keeps_the_bases_media_types() -> None:
    zstd = Descriptor("application/vnd.oci.image.layer.v1.tar+zstd", ImageDigest("sha256:" + "3" * 64), 7)
    config = Document(OCI_CONFIG, b"{}").descriptor
    document = build_manifest(config, [zstd, OURS.descriptor], annotations={"k": "v"})
    told = json.loads(document.content)
    assert [layer["mediaType"] for layer in told["layers"]] == [zstd.media_type, OCI_LAYER_GZIP]
    assert told["config"] == config.as_json()
    parse_manifest(document.content, OCI_MANIFEST)


def test_index_lists_platforms_in_order_of_their_names() -> None:
    manifests = [
        (Platform("linux", "arm", "v7"), Document(OCI_MANIFEST, b"1").descriptor),
        (Platform("linux", "amd64"), Document(OCI_MANIFEST, b"2").descriptor),
    ]
    document = build_index(manifests)
    assert document == build_index(manifests[::-1])
    told = [entry["platform"] for entry in json.loads(document.content)["manifests"]]
    assert told == [
        {"os": "linux", "architecture": "amd64"},
        {"os": "linux", "architecture": "arm", "variant": "v7"},
    ]
    parse_manifest(document.content, OCI_INDEX)


def test_attachment_refers_to_the_image_and_says_what_it_is() -> None:
    image = Document(OCI_MANIFEST, b"{}").descriptor
    sbom = Document(CYCLONEDX, b'{"bomFormat":"CycloneDX"}')
    attachment = build_attachment(sbom, image)
    told = json.loads(attachment.content)
    assert told["subject"] == image.as_json()
    assert told["artifactType"] == attachment.descriptor.artifact_type == CYCLONEDX
    assert told["config"] == EMPTY.descriptor.as_json()
    assert told["layers"] == [{"mediaType": CYCLONEDX, "digest": sbom.digest, "size": len(sbom.content)}]
    parse_manifest(attachment.content, OCI_MANIFEST)


def test_canonical_json_refuses_what_is_no_json() -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        canonical_json(float("nan"))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("linux/amd64", "linux/amd64"),
        ("linux/x86_64", "linux/amd64"),
        ("linux/arm64/v8", "linux/arm64"),
        ("linux/arm/v7", "linux/arm/v7"),
    ],
)
def test_platforms_have_one_name(text: str, shown: str) -> None:
    assert str(Platform.parse(text)) == shown


@pytest.mark.parametrize("text", ["", "linux", "linux/amd64/v1/x", "linux/", "/amd64", "linux/a b"])
def test_what_is_no_platform_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a platform"):
        Platform.parse(text)
