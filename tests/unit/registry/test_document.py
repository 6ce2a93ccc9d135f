"""Manifests as documents: what is accepted says one thing only, whoever reads it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from palomar.contract.errors import ManifestInvalid
from palomar.contract.images import (
    DOCKER_LIST,
    DOCKER_MANIFEST,
    OCI_CONFIG,
    OCI_EMPTY,
    OCI_INDEX,
    OCI_LAYER_GZIP,
    OCI_MANIFEST,
)
from palomar.server.registry.document import parse_manifest
from tests.factories.images import CONFIG, LAYER, descriptor, digest_of, encode, image, index

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)


def layer(**more: Any) -> bytes:
    """An image whose one layer's descriptor is another than it should be."""
    return image(layers=[{key: value for key, value in {**descriptor(LAYER), **more}.items() if value is not None}])


def test_an_image_names_its_config_and_layers():
    parsed = parse_manifest(image(LAYER, b"more"), OCI_MANIFEST)
    assert [blob.digest for blob in parsed.blobs] == [digest_of(CONFIG), digest_of(LAYER), digest_of(b"more")]
    assert [blob.size_bytes for blob in parsed.blobs] == [len(CONFIG), len(LAYER), 4]
    assert parsed.children == ()
    assert (parsed.media_type, parsed.artifact_type, parsed.subject) == (OCI_MANIFEST, OCI_CONFIG, None)


def test_an_index_names_manifests_and_other_content_apart():
    attached = descriptor(b"readme", "text/markdown")
    document = index(manifests=[descriptor(image(), OCI_MANIFEST), attached])
    parsed = parse_manifest(document, OCI_INDEX)
    assert [child.digest for child in parsed.children] == [digest_of(image())]
    assert [blob.digest for blob in parsed.blobs] == [digest_of(b"readme")]
    assert parsed.artifact_type is None


@pytest.mark.parametrize(
    ("inside", "announced", "expected"),
    [
        (OCI_MANIFEST, OCI_MANIFEST, OCI_MANIFEST),
        (OCI_MANIFEST, None, OCI_MANIFEST),
        (None, OCI_MANIFEST, OCI_MANIFEST),
        (None, f"{OCI_MANIFEST}; charset=utf-8", OCI_MANIFEST),
        (None, None, OCI_MANIFEST),
        (None, "", OCI_MANIFEST),
        (DOCKER_MANIFEST, DOCKER_MANIFEST, DOCKER_MANIFEST),
    ],
)
def test_the_type_is_what_header_and_document_agree_on(inside: str | None, announced: str | None, expected: str):
    assert parse_manifest(image(mediaType=inside), announced).media_type == expected


def test_an_index_without_any_type_is_known_by_its_list():
    assert parse_manifest(index(mediaType=None), None).media_type == OCI_INDEX
    assert parse_manifest(index(mediaType=DOCKER_LIST), DOCKER_LIST).media_type == DOCKER_LIST


@pytest.mark.parametrize(
    ("inside", "announced"),
    [
        (OCI_MANIFEST, DOCKER_MANIFEST),
        (OCI_MANIFEST, OCI_INDEX),
        (OCI_INDEX, OCI_MANIFEST),
        (None, "application/json"),
        (None, "application/vnd.docker.distribution.manifest.v1+prettyjws"),
        ("application/vnd.oci.artifact.manifest.v1+json", None),
        (OCI_MANIFEST.upper(), OCI_MANIFEST),
        (7, OCI_MANIFEST),
        (["x"], None),
    ],
)
def test_types_that_disagree_or_are_unknown_are_refused(inside: Any, announced: str | None):
    with pytest.raises(ManifestInvalid):
        parse_manifest(image(mediaType=inside), announced)


def test_what_only_an_artifact_has_is_read():
    subject = descriptor(b"an image", OCI_MANIFEST)
    content = image(
        config=descriptor(b"{}", OCI_EMPTY), artifactType="text/plain", subject=subject, annotations={"a": "b"}
    )
    parsed = parse_manifest(content, OCI_MANIFEST)
    assert parsed.artifact_type == "text/plain"
    assert parsed.annotations == {"a": "b"}
    assert parsed.subject is not None
    assert parsed.subject.digest == subject["digest"]
    assert [blob.digest for blob in parsed.blobs] == [digest_of(b"{}"), digest_of(LAYER)]


def test_an_empty_artifact_type_is_none():
    assert parse_manifest(image(artifactType=""), OCI_MANIFEST).artifact_type == OCI_CONFIG


def test_unknown_keys_are_no_harm():
    assert parse_manifest(image(newSpecKey={"a": [1, None]}), OCI_MANIFEST).children == ()


@pytest.mark.parametrize(
    "more",
    [
        {"media_type": "application/vnd.oci.image.layer.nondistributable.v1.tar"},
        {"media_type": "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"},
        {"media_type": OCI_LAYER_GZIP, "urls": ["https://example.org/a"]},
    ],
)
def test_what_may_be_absent_is_not_asked_for(more: dict[str, Any]):
    media_type = more.pop("media_type")
    parsed = parse_manifest(image(layers=[descriptor(LAYER, media_type, **more)]), OCI_MANIFEST)
    assert [blob.digest for blob in parsed.blobs] == [digest_of(CONFIG)]


NO_MANIFESTS = {
    "nothing": b"",
    "text": b"hello",
    "cut off": image()[:-1],
    "followed by more": image() + b"{}",
    "another encoding": image().decode().encode("utf-16"),
    "no UTF-8": b'{"schemaVersion": 2, "a": "\xff"}',
    "a byte order mark": b"\xef\xbb\xbf" + image(),
    "a list": b"[]",
    "a number": b"2",
    "null": b"null",
    "deep": b'{"schemaVersion": 2, "a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "deep objects": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "a very long number": b'{"schemaVersion": ' + b"2" * 10_000 + b"}",
    "not a number": image()[:-1] + b', "a": NaN}',
    "infinite": image()[:-1] + b', "a": -Infinity}',
    "a key twice": image()[:-1] + b', "config": null}',
    "a key twice below": image(annotations={"x": "y"}).replace(b'{"x": "y"}', b'{"x": "y", "x": "z"}'),
    "no version": image(schemaVersion=None),
    "version 1": image(schemaVersion=1),
    "version true": image(schemaVersion=True),
    "version as text": image(schemaVersion="2"),
    "image and index": image(manifests=[]),
    "image of version 1": image(fsLayers=[]),
    "no config": image().replace(b'"config"', b'"konfig"'),
    "config as text": image(config={}).replace(b"{}", b'"x"'),
    "no layers": image().replace(b'"layers"', b'"lairs"'),
    "layers as object": image(layers={}),
    "a layer as text": image(layers=["x"]),
    "no digest": layer(digest=None),
    "a short digest": layer(digest="sha256:abc"),
    "an upper-case digest": layer(digest=descriptor(LAYER)["digest"].upper()),
    "a digest of md5": layer(digest="md5:" + "0" * 32),
    "a digest as number": layer(digest=7),
    "no size": layer(size=None),
    "a negative size": layer(size=-1),
    "a size as text": layer(size="15"),
    "a fractional size": layer(size=15.0),
    "a size of true": layer(size=True),
    "an enormous size": layer(size=2**63),
    "no media type": layer(mediaType=None),
    "a media type of nothing": layer(mediaType=""),
    "a media type as number": layer(mediaType=1),
    "a media type with a NUL": layer(mediaType="a/b\0"),
    "a media type without a slash": layer(mediaType="layer"),
    "a long media type": layer(mediaType="a/" + "b" * 200),
    "urls as text": layer(urls="https://example.org"),
    "urls of numbers": layer(urls=[1]),
    "an artifact type as number": image(artifactType=1),
    "an artifact type without a slash": image(artifactType="sbom"),
    "a subject as text": image(subject="sha256:abc"),
    "a subject without a size": image(subject={"mediaType": OCI_MANIFEST, "digest": digest_of(b"")}),
    "annotations as list": image(annotations=["a"]),
    "annotations of numbers": image(annotations={"a": 1}),
    "annotations with a NUL": image(annotations={"a": "\0"}),
    "annotations with half a character": image(annotations={"\ud800": "a"}),
}


@pytest.mark.parametrize("content", NO_MANIFESTS.values(), ids=NO_MANIFESTS.keys())
def test_what_is_no_manifest_is_refused(content: bytes):
    with pytest.raises(ManifestInvalid):
        parse_manifest(content, OCI_MANIFEST)


@pytest.mark.parametrize(
    "content",
    [
        index(config=descriptor(CONFIG)),
        index(layers=[]),
        index(manifests={}),
        index(manifests=None),
        index(manifests=[{**descriptor(b""), "size": None}]),
    ],
)
def test_what_is_no_index_is_refused(content: bytes):
    with pytest.raises(ManifestInvalid):
        parse_manifest(content, OCI_INDEX)


@given(st.binary())
def test_any_bytes_are_refused_and_nothing_worse(content: bytes):
    with pytest.raises(ManifestInvalid):
        parse_manifest(content, None)


@given(st.dictionaries(st.sampled_from(["config", "layers", "manifests", "subject", "annotations"]), json_values))
def test_any_json_is_read_or_refused(more: dict[str, Any]):
    document = {"schemaVersion": 2, "config": descriptor(CONFIG), "layers": [], **more}
    for media_type in (OCI_MANIFEST, OCI_INDEX):
        try:
            parsed = parse_manifest(json.dumps(document).encode(), media_type)
        except ManifestInvalid:
            continue
        assert parsed.media_type == media_type


def test_a_descriptor_shows_what_it_has():
    parsed = parse_manifest(image(), OCI_MANIFEST)
    assert encode(parsed.blobs[1].as_json()) == encode(descriptor(LAYER))
