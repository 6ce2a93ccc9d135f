"""Pulling (distribution-spec 1.1, "Pull"): end-1, end-2 and end-3."""

from __future__ import annotations

import httpx2
import pytest

from palomar.contract.images import DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST
from palomar.server.wiring import Hub
from tests.api.oci import ABSENT_DIGEST, Image, People, Registry, encode, index_of, sha256, sha512
from tests.fixtures.hubs import ClientFactory
from tests.unit.documents.streams import random_bytes

LARGE = random_bytes(7, 3_000_000)
SMALL = b"the bytes of a layer"


@pytest.fixture
def people(small_hub: Hub, client_factory: ClientFactory) -> People:
    return People(small_hub, client_factory)


@pytest.fixture
async def alice(people: People) -> Registry:
    return await people.registry("alice")


# --- end-1 ---------------------------------------------------------------------------------------------------------


async def test_end_1_says_that_the_api_is_there(alice: Registry):
    answer = await alice.get("/v2/")
    assert answer.json() == {}
    assert answer.headers["docker-distribution-api-version"] == "registry/2.0"


# --- end-2: blobs --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("data", [SMALL, LARGE, b""], ids=["small", "large", "empty"])
async def test_end_2_get_gives_the_blob_with_its_digest_and_length(alice: Registry, data: bytes):
    digest = await alice.push_blob(data)
    answer = await alice.get(f"blobs/{digest}")
    assert answer.content == data
    assert answer.headers["docker-content-digest"] == digest
    assert answer.headers["content-length"] == str(len(data))
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["etag"] == f'"{digest}"'
    assert answer.headers["accept-ranges"] == "bytes"


@pytest.mark.parametrize("data", [SMALL, LARGE, b""], ids=["small", "large", "empty"])
async def test_end_2_head_says_the_same_without_a_body(alice: Registry, data: bytes):
    digest = await alice.push_blob(data)
    got = await alice.get(f"blobs/{digest}")
    head = await alice.call("HEAD", f"blobs/{digest}", status=200)
    assert head.content == b""
    named = ("docker-content-digest", "content-length", "content-type", "etag", "accept-ranges")
    assert [head.headers[name] for name in named] == [got.headers[name] for name in named]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_end_2_404_for_a_blob_that_the_repository_lacks(alice: Registry, method: str):
    await alice.push_blob(SMALL)
    answer = await alice.call(method, f"blobs/{ABSENT_DIGEST}", status=404, code="BLOB_UNKNOWN")
    if method == "HEAD":
        assert answer.content == b""


async def test_end_2_a_blob_is_in_the_repository_that_it_was_pushed_to_and_in_no_other(alice: Registry):
    digest = await alice.push_blob(SMALL)
    other = alice.at("alice/other")
    await other.push_blob(b"something else")
    await other.call("GET", f"blobs/{digest}", status=404, code="BLOB_UNKNOWN")


@pytest.mark.parametrize(
    "text", ["sha256:short", "sha256:" + "AB" * 32, "md5:" + "0" * 32, "nonsense", "sha512:" + "a" * 64]
)
async def test_end_2_400_for_what_is_no_digest(alice: Registry, text: str):
    await alice.push_blob(SMALL)
    await alice.call("GET", f"blobs/{text}", status=400, code="DIGEST_INVALID")


async def test_end_2_a_blob_under_its_sha512(alice: Registry):
    await alice.push_blob(SMALL, sha512(SMALL))
    answer = await alice.get(f"blobs/{sha512(SMALL)}")
    assert (answer.content, answer.headers["docker-content-digest"]) == (SMALL, sha512(SMALL))


@pytest.mark.parametrize(
    ("asked", "start", "stop"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=500-1499", 500, 1500),
        ("bytes=500-", 500, None),
        ("bytes=-500", -500, None),
        ("bytes=1000000-2999999", 1_000_000, 3_000_000),
        ("bytes=2999000-99999999", 2_999_000, None),
        ("bytes=-99999999", 0, None),
        ("bytes=0-", 0, None),
    ],
)
async def test_end_2_range_should_be_supported(alice: Registry, asked: str, start: int, stop: int | None):
    digest = await alice.push_blob(LARGE)
    answer = await alice.call("GET", f"blobs/{digest}", status=206, headers={"Range": asked})
    assert answer.content == LARGE[start:stop]
    begin, end, _ = slice(start, stop).indices(len(LARGE))
    assert answer.headers["content-range"] == f"bytes {begin}-{end - 1}/{len(LARGE)}"
    assert answer.headers["content-length"] == str(end - begin)
    assert answer.headers["docker-content-digest"] == digest


@pytest.mark.parametrize("asked", ["bytes=3000000-", "bytes=5000000-6000000", "bytes=500-0", "bytes=-0"])
async def test_end_2_416_for_a_range_that_is_not_there(alice: Registry, asked: str):
    digest = await alice.push_blob(LARGE)
    answer = await alice.call("GET", f"blobs/{digest}", status=416, headers={"Range": asked})
    assert answer.headers["content-range"] == f"bytes */{len(LARGE)}"


@pytest.mark.parametrize("asked", ["lines=1-2", "bytes=0-1,5-6", "bytes=", "nonsense"])
async def test_end_2_what_is_no_single_range_gives_the_whole(alice: Registry, asked: str):
    digest = await alice.push_blob(SMALL)
    answer = await alice.call("GET", f"blobs/{digest}", status=200, headers={"Range": asked})
    assert answer.content == SMALL


async def test_end_2_a_range_of_what_has_changed_gives_the_whole(alice: Registry):
    digest = await alice.push_blob(SMALL)
    for tag, status in ((f'"{digest}"', 206), ('"another"', 200), ("Tue, 24 Nov 2026 14:00:00 GMT", 200)):
        headers = {"Range": "bytes=0-3", "If-Range": tag}
        await alice.call("GET", f"blobs/{digest}", status=status, headers=headers)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_end_2_304_for_who_has_it_already(alice: Registry, method: str):
    digest = await alice.push_blob(SMALL)
    for known, status in (
        (f'"{digest}"', 304),
        (f'W/"{digest}"', 304),
        (f'"x", "{digest}"', 304),
        ("*", 304),
        ('"another"', 200),
        (digest, 200),
    ):
        headers = {"If-None-Match": known}
        answer = await alice.call(method, f"blobs/{digest}", status=status, headers=headers)
        assert answer.headers["etag"] == f'"{digest}"'


async def test_a_blob_is_never_a_page_of_the_hub(alice: Registry):
    digest = await alice.push_blob(b"<script>alert(1)</script>")
    headers = (await alice.get(f"blobs/{digest}")).headers
    assert headers["content-type"] == "application/octet-stream"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["content-disposition"].startswith("attachment")
    assert "sandbox" in headers["content-security-policy"]


async def test_what_may_be_cached_is_cached_by_its_reader_alone(alice: Registry):
    image = await alice.push(Image(), "latest")
    for path, is_fixed in (
        (f"blobs/{sha256(image.blobs[0])}", True),
        (f"manifests/{image.digest}", True),
        ("manifests/latest", False),
        ("tags/list", False),
    ):
        headers = (await alice.get(path)).headers
        assert headers["cache-control"].startswith("private")
        assert ("immutable" in headers["cache-control"]) is is_fixed
        assert headers["vary"] == "Authorization"


# --- end-3: manifests ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("by", ["tag", "digest"])
async def test_end_3_get_gives_the_exact_bytes(alice: Registry, by: str):
    image = await alice.push(Image(), "v1")
    answer = await alice.get(f"manifests/{'v1' if by == 'tag' else image.digest}")
    assert answer.content == image.manifest
    assert answer.headers["docker-content-digest"] == image.digest
    assert answer.headers["content-type"] == OCI_MANIFEST
    assert answer.headers["content-length"] == str(len(image.manifest))
    assert answer.headers["etag"] == f'"{image.digest}"'


@pytest.mark.parametrize("by", ["tag", "digest"])
async def test_end_3_head_says_the_same_without_a_body(alice: Registry, by: str):
    image = await alice.push(Image(), "v1")
    path = f"manifests/{'v1' if by == 'tag' else image.digest}"
    got, head = await alice.get(path), await alice.call("HEAD", path, status=200)
    assert head.content == b""
    named = ("docker-content-digest", "content-length", "content-type", "etag")
    assert [head.headers[name] for name in named] == [got.headers[name] for name in named]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    "reference", ["absent", ABSENT_DIGEST, ".INVALID_MANIFEST_NAME", "sha256:baddigeststring", "a" * 129, "é"]
)
async def test_end_3_404_for_a_manifest_that_the_repository_lacks(alice: Registry, method: str, reference: str):
    await alice.push(Image(), "latest")
    answer = await alice.call(method, f"manifests/{reference}", status=404, code="MANIFEST_UNKNOWN")
    if method == "HEAD":
        assert answer.content == b""


@pytest.mark.parametrize(
    "accepted",
    [
        None,
        "*/*",
        OCI_INDEX,
        DOCKER_MANIFEST,
        f"{OCI_INDEX}, {OCI_MANIFEST};q=0.5",
        "application/vnd.docker.distribution.manifest.v1+prettyjws",
    ],
)
async def test_end_3_what_is_stored_is_given_whatever_is_accepted(alice: Registry, accepted: str | None):
    image = await alice.push(Image(), "latest")
    answer = await alice.get("manifests/latest", **({"Accept": accepted} if accepted else {}))
    assert (answer.content, answer.headers["content-type"]) == (image.manifest, OCI_MANIFEST)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_end_3_304_as_long_as_a_tag_has_not_moved(alice: Registry, method: str):
    old = await alice.push(Image("old"), "latest")
    headers = {"If-None-Match": f'"{old.digest}"'}
    await alice.call(method, "manifests/latest", status=304, headers=headers)
    await alice.push(Image("new"), "latest")
    await alice.call(method, "manifests/latest", status=200, headers=headers)


async def test_end_3_an_index_and_what_it_lists(alice: Registry):
    images = [await alice.push(Image("amd64")), await alice.push(Image("arm64"))]
    index = index_of(*images)
    await alice.put("multi", index, media_type=OCI_INDEX)
    answer = await alice.get("manifests/multi")
    assert (answer.content, answer.headers["content-type"]) == (index, OCI_INDEX)
    for listed in answer.json()["manifests"]:
        assert (await alice.get(f"manifests/{listed['digest']}")).status_code == 200


async def test_end_3_a_docker_image_keeps_its_type(alice: Registry):
    image = Image()
    for blob in image.blobs:
        await alice.push_blob(blob)
    manifest = encode(image_document(image) | {"mediaType": DOCKER_MANIFEST})
    await alice.put("docker", manifest, media_type=DOCKER_MANIFEST)
    answer = await alice.get("manifests/docker")
    assert (answer.content, answer.headers["content-type"]) == (manifest, DOCKER_MANIFEST)


def image_document(image: Image) -> dict[str, object]:
    document: dict[str, object] = httpx2.Response(200, content=image.manifest).json()
    return document


async def test_a_repository_with_slashes_and_the_words_of_the_api_in_its_name(alice: Registry):
    """Paths are matched from the right."""
    for name in (
        "alice/a/b/c",
        "alice/manifests/latest",
        "alice/blobs/uploads",
        "alice/tags/list",
        "alice/referrers/x",
    ):
        registry = alice.at(name)
        image = await registry.push(Image(name), "latest")
        assert (await registry.get("manifests/latest")).content == image.manifest
        assert await registry.tags() == ["latest"]
        assert await registry.referrers(image.digest) == []
