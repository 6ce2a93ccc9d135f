"""Pushing and deleting manifests, tags and blobs (distribution-spec 1.1): end-7, end-9 and end-10."""

from __future__ import annotations

import json
from typing import Any

import pytest
from sqlalchemy import select

from palomar.contract.images import DOCKER_LIST, OCI_EMPTY, OCI_INDEX, OCI_MANIFEST, ImageDigest, ImageTag
from palomar.server.registry.models import Repository
from palomar.server.wiring import Hub
from tests.api.oci import (
    ABSENT_DIGEST,
    Image,
    People,
    Registry,
    codes_of,
    descriptor,
    encode,
    index_of,
    sha256,
    sha512,
)
from tests.fixtures.hubs import ClientFactory

MAX_BYTES = 4 * 1024 * 1024


@pytest.fixture
def people(small_hub: Hub, client_factory: ClientFactory) -> People:
    return People(small_hub, client_factory)


@pytest.fixture
async def alice(people: People) -> Registry:
    return await people.registry("alice")


@pytest.fixture
async def image(alice: Registry) -> Image:
    """Whose blobs are there, and whose manifest is not."""
    image = Image()
    for blob in image.blobs:
        await alice.push_blob(blob)
    return image


def changed(image: Image, **fields: Any) -> bytes:
    """The manifest with other fields; None leaves one out."""
    document = json.loads(image.manifest) | fields
    return encode({key: value for key, value in document.items() if value is not None})


# --- end-7 ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("by", ["tag", "digest"])
async def test_end_7_201_with_a_location_and_the_digest(alice: Registry, image: Image, by: str):
    answer = await alice.put("v1" if by == "tag" else image.digest, image.manifest)
    assert answer.headers["location"] == f"/v2/alice/birds/manifests/{image.digest}"
    assert answer.headers["docker-content-digest"] == image.digest
    assert answer.headers["content-length"] == "0"
    assert "oci-subject" not in answer.headers
    assert "oci-tag" not in answer.headers
    assert (await alice.get(answer.headers["location"])).content == image.manifest


async def test_end_7_the_exact_bytes_are_kept(alice: Registry, image: Image):
    manifest = json.dumps(json.loads(image.manifest), indent=7, sort_keys=True).encode() + b"\n \t"
    await alice.put("odd", manifest)
    assert (await alice.get("manifests/odd")).content == manifest


async def test_end_7_a_tag_moves(alice: Registry, image: Image):
    await alice.put("latest", image.manifest)
    new = await alice.push(Image("new"), "latest")
    assert (await alice.get("manifests/latest")).content == new.manifest
    assert (await alice.get(f"manifests/{image.digest}")).content == image.manifest


@pytest.mark.parametrize("said", [f"{OCI_MANIFEST}; charset=utf-8", f"{OCI_MANIFEST};x=y", None])
async def test_end_7_parameters_of_the_content_type_are_ignored(alice: Registry, image: Image, said: str | None):
    headers = {"Content-Type": said} if said else {}
    await alice.call("PUT", "manifests/v1", status=201, content=image.manifest, headers=headers)
    assert (await alice.get("manifests/v1")).headers["content-type"] == OCI_MANIFEST


async def test_end_7_a_manifest_without_layers_and_one_with_an_empty_config(alice: Registry):
    await alice.push(Image("no layers", layers=0), "none")
    await alice.push(Image("artifact", config_type=OCI_EMPTY, artifact_type="application/vnd.example+json"), "artifact")
    assert await alice.tags() == ["artifact", "none"]


async def test_end_7_under_sha512(alice: Registry, image: Image):
    digest = sha512(image.manifest)
    answer = await alice.put(digest, image.manifest)
    assert answer.headers["docker-content-digest"] == digest
    assert (await alice.get(f"manifests/{digest}")).headers["docker-content-digest"] == digest


async def test_end_7_413_above_4_mib_and_201_at_it(alice: Registry, image: Image):
    rest = MAX_BYTES - len(changed(image, annotations={"words": ""}))
    await alice.put("largest", changed(image, annotations={"words": "x" * rest}))
    answer = await alice.put("larger", changed(image, annotations={"words": "x" * (rest + 1)}), status=413)
    assert codes_of(answer) == ["SIZE_INVALID"]


async def test_end_7_400_for_another_digest(alice: Registry, image: Image):
    for digest in (ABSENT_DIGEST, sha512(b"other"), "sha256:baddigeststring"):
        answer = await alice.put(digest, image.manifest, status=400)
        assert codes_of(answer) == ["DIGEST_INVALID"]
    await alice.call("GET", f"manifests/{image.digest}", status=404)


@pytest.mark.parametrize("tag", [".hidden", "-x", "a" * 129, "a b", "é"])
async def test_end_7_400_for_what_is_no_tag(alice: Registry, image: Image, tag: str):
    assert codes_of(await alice.put(tag, image.manifest, status=400)) == ["MANIFEST_INVALID"]


async def test_end_7_manifest_blob_unknown_names_each_that_is_missing(alice: Registry):
    image = Image("not pushed")
    await alice.push_blob(image.blobs[0])
    answer = await alice.put("v1", image.manifest, status=400)
    assert set(codes_of(answer)) == {"MANIFEST_BLOB_UNKNOWN"}
    missing = {one["detail"]["digest"] for one in answer.json()["errors"]}
    assert missing == {sha256(layer) for layer in image.blobs[1:]}


async def test_end_7_a_blob_of_another_repository_does_not_count(alice: Registry, image: Image):
    answer = await alice.at("alice/other").put("v1", image.manifest, status=400)
    assert set(codes_of(answer)) == {"MANIFEST_BLOB_UNKNOWN"}


async def test_end_7_an_index_must_list_what_is_there(alice: Registry, image: Image):
    answer = await alice.put("multi", index_of(image), media_type=OCI_INDEX, status=400)
    assert set(codes_of(answer)) == {"MANIFEST_BLOB_UNKNOWN"}


INVALID: dict[str, dict[str, Any]] = {
    "schema version 1": {"schemaVersion": 1},
    "no schema version": {"schemaVersion": None},
    "another media type": {"mediaType": OCI_INDEX},
    "layers and manifests": {"manifests": []},
    "no config": {"config": None},
    "layers that are no list": {"layers": {}},
    "a config that is none": {"config": "sha256:" + "0" * 64},
    "a negative size": {"config": descriptor("a/b", b"x") | {"size": -1}},
    "a digest that is none": {"config": descriptor("a/b", b"x") | {"digest": "md5:0"}},
}


@pytest.mark.parametrize("case", INVALID)
async def test_end_7_400_for_an_invalid_manifest(alice: Registry, image: Image, case: str):
    answer = await alice.put("v1", changed(image, **INVALID[case]), status=400)
    assert codes_of(answer) == ["MANIFEST_INVALID"]
    await alice.call("GET", "manifests/v1", status=404)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b"\xff", b"[" * 100_000, b'{"schemaVersion": NaN}'])
async def test_end_7_400_for_what_is_no_manifest_at_all(alice: Registry, body: bytes):
    assert codes_of(await alice.put("v1", body, status=400)) == ["MANIFEST_INVALID"]


@pytest.mark.parametrize("media_type", ["application/json", "text/html", DOCKER_LIST, "nonsense"])
async def test_end_7_400_for_a_type_that_the_manifest_is_not(alice: Registry, image: Image, media_type: str):
    answer = await alice.put("v1", image.manifest, media_type=media_type, status=400)
    assert codes_of(answer) == ["MANIFEST_INVALID"]


# --- subjects ------------------------------------------------------------------------------------------------------


async def test_oci_subject_says_that_a_subject_was_understood(alice: Registry, image: Image):
    await alice.put("v1", image.manifest)
    for number, subject in enumerate((image.descriptor, descriptor(OCI_MANIFEST, b"one that comes later"))):
        signature = Image(f"signature {number}", subject=subject)
        for blob in signature.blobs:
            await alice.push_blob(blob)
        answer = await alice.put(signature.digest, signature.manifest)
        assert answer.headers["oci-subject"] == subject["digest"]


# --- end-7b: tags beside a digest ----------------------------------------------------------------------------------


@pytest.mark.parametrize("digest_of", [sha256, sha512])
async def test_end_7b_tags_beside_a_digest(alice: Registry, image: Image, digest_of: Any):
    tags = [f"v1.{number}" for number in range(12)]
    digest = digest_of(image.manifest)
    answer = await alice.put(f"{digest}?{'&'.join(f'tag={tag}' for tag in tags)}", image.manifest)
    assert sorted(answer.headers["oci-tag"].split(", ")) == sorted(tags)
    assert await alice.tags() == sorted(tags)
    assert (await alice.get("manifests/v1.7")).headers["docker-content-digest"] == digest


async def test_end_7b_400_for_too_many_or_bad_ones(alice: Registry, image: Image):
    for query in ("&".join(f"tag=t{number}" for number in range(100)), "tag=-bad"):
        await alice.put(f"{image.digest}?{query}", image.manifest, status=400)
    await alice.call("GET", f"manifests/{image.digest}", status=404)


# --- end-9 ---------------------------------------------------------------------------------------------------------


async def test_end_9_202_for_a_tag_and_its_manifest_stays(alice: Registry):
    image = await alice.push(Image(), "v1", "v2")
    answer = await alice.call("DELETE", "manifests/v1", status=202)
    assert answer.headers["content-length"] == "0"
    await alice.call("GET", "manifests/v1", status=404, code="MANIFEST_UNKNOWN")
    assert (await alice.get("manifests/v2")).content == image.manifest
    assert (await alice.get(f"manifests/{image.digest}")).content == image.manifest


async def test_end_9_202_for_a_manifest_and_its_tags_go_too(alice: Registry):
    image = await alice.push(Image(), "v1", "v2")
    await alice.call("DELETE", f"manifests/{image.digest}", status=202)
    for reference in ("v1", "v2", image.digest):
        await alice.call("GET", f"manifests/{reference}", status=404, code="MANIFEST_UNKNOWN")
    assert await alice.tags() == []


@pytest.mark.parametrize("reference", ["absent", ABSENT_DIGEST, "-bad", "sha256:bad"])
async def test_end_9_404_for_what_is_not_there(alice: Registry, reference: str):
    await alice.push(Image(), "v1")
    await alice.call("DELETE", f"manifests/{reference}", status=404, code="MANIFEST_UNKNOWN")


async def test_end_9_404_in_a_repository_that_does_not_exist(alice: Registry):
    await alice.call("DELETE", f"manifests/{ABSENT_DIGEST}", status=404, code="NAME_UNKNOWN")
    await alice.call("DELETE", f"blobs/{ABSENT_DIGEST}", status=404, code="NAME_UNKNOWN")


# --- end-10 --------------------------------------------------------------------------------------------------------


async def test_end_10_202_and_the_blob_is_gone_from_this_repository_alone(alice: Registry):
    digest = await alice.push_blob(b"bytes")
    other = alice.at("alice/other")
    await other.push_blob(b"bytes")
    answer = await alice.call("DELETE", f"blobs/{digest}", status=202)
    assert answer.headers["content-length"] == "0"
    await alice.call("GET", f"blobs/{digest}", status=404, code="BLOB_UNKNOWN")
    await alice.call("HEAD", f"blobs/{digest}", status=404)
    assert (await other.get(f"blobs/{digest}")).content == b"bytes"


async def test_end_10_404_for_a_blob_that_is_not_there(alice: Registry):
    await alice.push_blob(b"bytes")
    await alice.call("DELETE", f"blobs/{ABSENT_DIGEST}", status=404, code="BLOB_UNKNOWN")


async def test_end_10_400_for_what_is_no_digest(alice: Registry):
    await alice.push_blob(b"bytes")
    await alice.call("DELETE", "blobs/sha256:bad", status=400, code="DIGEST_INVALID")


async def test_end_10_405_for_a_blob_that_a_manifest_needs(alice: Registry):
    image = await alice.push(Image(), "v1")
    for blob in image.blobs:
        await alice.call("DELETE", f"blobs/{sha256(blob)}", status=405, code="DENIED")
    await alice.call("DELETE", f"manifests/{image.digest}", status=202)
    for blob in image.blobs:
        await alice.call("DELETE", f"blobs/{sha256(blob)}", status=202)


# --- tags that never move ------------------------------------------------------------------------------------------


async def test_a_protected_tag_neither_moves_nor_goes(alice: Registry, small_hub: Hub):
    image = await alice.push(Image(), "r1")
    async with small_hub.database.write() as session:
        repository_id = await session.scalar(select(Repository.id))
        assert repository_id is not None
        tag, digest = ImageTag("r1"), ImageDigest(image.digest)
        await small_hub.registry.writer.set_tag(session, repository_id, tag, digest, protected=True)
    new = await alice.push(Image("new"))
    assert codes_of(await alice.put("r1", new.manifest, status=409)) == ["DENIED"]
    for reference in ("r1", image.digest):
        await alice.call("DELETE", f"manifests/{reference}", status=405, code="DENIED")
    assert (await alice.get("manifests/r1")).content == image.manifest
