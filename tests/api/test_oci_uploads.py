"""Pushing blobs (distribution-spec 1.1, "Push"): end-4, end-5, end-6, end-11, end-13 and end-14."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator

import pytest

from palomar.server.wiring import Hub
from tests.api.oci import ABSENT_DIGEST, People, Registry, bearer, codes_of, sha256, sha512
from tests.fixtures.hubs import ClientFactory
from tests.unit.documents.streams import random_bytes

DATA = random_bytes(3, 300_000)
FIRST, SECOND, THIRD = DATA[:100_000], DATA[100_000:200_000], DATA[200_000:]
DIGEST = sha256(DATA)


@pytest.fixture
def people(small_hub: Hub, client_factory: ClientFactory) -> People:
    return People(small_hub, client_factory)


@pytest.fixture
async def alice(people: People) -> Registry:
    return await people.registry("alice")


async def has(registry: Registry, digest: str, data: bytes = DATA) -> bool:
    response = await registry.client.get(registry.path(f"blobs/{digest}"))
    assert response.status_code in {200, 404}
    return response.status_code == 200 and response.content == data


# --- end-4a, end-6: POST, then PUT ---------------------------------------------------------------------------------


async def test_end_4a_a_session_has_a_location_with_a_uuid(alice: Registry):
    answer = await alice.call("POST", "blobs/uploads/", status=202)
    assert re.fullmatch(r"/v2/alice/birds/blobs/uploads/[0-9a-f]{32}", answer.headers["location"])
    assert answer.headers["content-length"] == "0"
    assert answer.headers["range"] == "0-0"
    assert answer.headers["docker-upload-uuid"] in answer.headers["location"]
    assert "oci-chunk-min-length" not in answer.headers


async def test_end_4a_every_session_is_another_one(alice: Registry):
    assert len({await alice.start() for _ in range(5)}) == 5


async def test_end_4a_without_the_slash_at_the_end(alice: Registry):
    await alice.call("POST", "blobs/uploads", status=202)


async def test_end_6_put_with_the_whole_blob(alice: Registry):
    answer = await alice.close(await alice.start(), DIGEST, DATA)
    assert answer.headers["location"] == f"/v2/alice/birds/blobs/{DIGEST}"
    assert answer.headers["docker-content-digest"] == DIGEST
    assert (await alice.get(answer.headers["location"])).content == DATA


async def test_end_6_a_blob_without_a_byte(alice: Registry):
    await alice.close(await alice.start(), sha256(b""))
    assert await has(alice, sha256(b""), b"")


async def test_end_6_pushing_again_what_is_there(alice: Registry):
    for _ in range(2):
        await alice.close(await alice.start(), DIGEST, DATA)
    assert await has(alice, DIGEST)


@pytest.mark.parametrize("digest", [ABSENT_DIGEST, sha512(b"other")])
async def test_end_6_400_for_bytes_of_another_digest(alice: Registry, digest: str):
    location = await alice.start()
    answer = await alice.close(location, digest, DATA, status=400)
    assert codes_of(answer) == ["DIGEST_INVALID"]
    assert not await has(alice, digest)
    await alice.call("GET", location, status=404, code="BLOB_UPLOAD_UNKNOWN")


@pytest.mark.parametrize("query", ["", "?digest=", "?digest=nonsense", "?digest=md5:" + "0" * 32, "?digest=sha256:ab"])
async def test_end_6_400_for_what_is_no_digest_and_the_session_lives_on(alice: Registry, query: str):
    location = await alice.start()
    await alice.call("PUT", location + query, status=400, code="DIGEST_INVALID", content=DATA)
    await alice.close(location, DIGEST, DATA)


async def test_end_6_404_for_a_session_that_is_closed(alice: Registry):
    location = await alice.start()
    await alice.close(location, DIGEST, DATA)
    for method in ("GET", "PATCH", "PUT", "DELETE"):
        path = f"{location}?digest={DIGEST}" if method == "PUT" else location
        await alice.call(method, path, status=404, code="BLOB_UPLOAD_UNKNOWN")


# --- end-4b: one POST ----------------------------------------------------------------------------------------------


async def test_end_4b_post_with_a_digest_and_the_whole_blob(alice: Registry):
    answer = await alice.call("POST", f"blobs/uploads/?digest={DIGEST}", status=201, content=DATA)
    assert answer.headers["location"] == f"/v2/alice/birds/blobs/{DIGEST}"
    assert await has(alice, DIGEST)


async def test_end_4b_400_for_bytes_of_another_digest(alice: Registry):
    path = f"blobs/uploads/?digest={ABSENT_DIGEST}"
    await alice.call("POST", path, status=400, code="DIGEST_INVALID", content=DATA)
    await alice.start()
    assert not await has(alice, ABSENT_DIGEST)


async def test_end_4b_400_for_what_is_no_digest(alice: Registry):
    await alice.call("POST", "blobs/uploads/?digest=nonsense", status=400, code="DIGEST_INVALID", content=DATA)


# --- end-4c: other digests -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
async def test_end_4c_the_digest_s_algorithm_may_be_said_at_the_start(alice: Registry, algorithm: str):
    location = await alice.start(f"?digest-algorithm={algorithm}")
    digest = {"sha256": sha256, "sha512": sha512}[algorithm](DATA)
    await alice.patch(location, FIRST, at=0)
    await alice.patch(location, SECOND + THIRD, at=len(FIRST))
    answer = await alice.close(location, digest)
    assert answer.headers["docker-content-digest"] == digest
    assert await has(alice, digest)


async def test_end_4c_400_for_an_algorithm_that_is_not_supported(alice: Registry):
    await alice.call("POST", "blobs/uploads/?digest-algorithm=md5", status=400, code="DIGEST_INVALID")


@pytest.mark.parametrize("way", ["put", "post", "patch"])
async def test_sha512_in_every_way(alice: Registry, way: str):
    digest = sha512(DATA)
    if way == "post":
        await alice.call("POST", f"blobs/uploads/?digest={digest}", status=201, content=DATA)
    elif way == "put":
        await alice.push_blob(DATA, digest)
    else:
        location = await alice.start()
        await alice.patch(location, DATA)
        await alice.close(location, digest)
    assert await has(alice, digest)
    assert not await has(alice, DIGEST)


# --- end-5: PATCH --------------------------------------------------------------------------------------------------


async def test_end_5_chunks_in_order_and_the_last_with_put(alice: Registry):
    location = await alice.start()
    answer = await alice.patch(location, FIRST, at=0)
    assert answer.headers["range"] == "0-99999"
    assert answer.headers["content-length"] == "0"
    answer = await alice.patch(answer.headers["location"], SECOND, at=100_000)
    assert answer.headers["range"] == "0-199999"
    await alice.close(answer.headers["location"], DIGEST, THIRD, **{"Content-Range": "200000-299999"})
    assert await has(alice, DIGEST)


async def test_end_5_chunks_in_order_and_put_without_a_body(alice: Registry):
    location = await alice.start()
    for at, chunk in ((0, FIRST), (100_000, SECOND), (200_000, THIRD)):
        location = (await alice.patch(location, chunk, at=at)).headers["location"]
    await alice.close(location, DIGEST, **{"Content-Length": "0"})
    assert await has(alice, DIGEST)


async def test_end_5_a_stream_without_a_range_or_a_length(alice: Registry):
    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(DATA), 10_000):
            yield DATA[start : start + 10_000]

    location = await alice.start()
    answer = await alice.call("PATCH", location, status=202, content=pieces())
    assert answer.headers["range"] == "0-299999"
    await alice.close(answer.headers["location"], DIGEST)
    assert await has(alice, DIGEST)


async def test_end_5_a_stream_goes_on_where_the_upload_stands(alice: Registry):
    location = await alice.start()
    for chunk in (FIRST, SECOND, THIRD):
        await alice.patch(location, chunk)
    await alice.close(location, DIGEST)
    assert await has(alice, DIGEST)


async def test_end_5_one_byte(alice: Registry):
    location = await alice.start()
    assert (await alice.patch(location, b"x", at=0)).headers["range"] == "0-0"
    await alice.close(location, sha256(b"x"))


@pytest.mark.parametrize("written", ["bytes 0-99999/*", "bytes=0-99999", "bytes 0-99999/300000"])
async def test_end_5_a_range_as_http_writes_it_is_understood(alice: Registry, written: str):
    location = await alice.start()
    headers = {"Content-Range": written}
    answer = await alice.call("PATCH", location, status=202, content=FIRST, headers=headers)
    assert answer.headers["range"] == "0-99999"


@pytest.mark.parametrize("at", [0, 50_000, 99_999, 100_001, 200_000])
@pytest.mark.parametrize("method", ["PATCH", "PUT"])
async def test_end_5_end_6_416_for_a_chunk_out_of_order(alice: Registry, method: str, at: int):
    """Repeated, overlapping or too far on; the answer says where to go on, and nothing is lost."""
    location = await alice.start()
    await alice.patch(location, FIRST, at=0)
    headers = {"Content-Range": f"{at}-{at + len(SECOND) - 1}"}
    path = f"{location}?digest={DIGEST}" if method == "PUT" else location
    answer = await alice.call(method, path, status=416, code="BLOB_UPLOAD_INVALID", content=SECOND, headers=headers)
    assert answer.headers["range"] == "0-99999"
    assert answer.headers["location"] == location
    await alice.patch(location, SECOND, at=100_000)
    await alice.close(location, DIGEST, THIRD)
    assert await has(alice, DIGEST)


async def test_end_5_416_for_a_first_chunk_that_does_not_begin_at_0(alice: Registry):
    answer = await alice.patch(await alice.start(), SECOND, at=100_000, status=416)
    assert answer.headers["range"] == "0-0"


async def test_end_5_416_for_a_range_that_ends_before_it_begins(alice: Registry):
    location = await alice.start()
    headers = {"Content-Range": "5-2"}
    await alice.call("PATCH", location, status=416, content=b"abc", headers=headers)


@pytest.mark.parametrize("written", ["nonsense", "0-", "-5", "a-b", "0-99999,100000-199999", "0--1"])
async def test_end_5_400_for_what_is_no_range(alice: Registry, written: str):
    headers = {"Content-Range": written}
    location = await alice.start()
    await alice.call("PATCH", location, status=400, code="BLOB_UPLOAD_INVALID", content=FIRST, headers=headers)


@pytest.mark.parametrize("last", [99_998, 100_000])
async def test_end_5_400_for_a_range_that_is_not_as_long_as_the_body(alice: Registry, last: int):
    location = await alice.start()
    headers = {"Content-Range": f"0-{last}"}
    await alice.call("PATCH", location, status=400, code="SIZE_INVALID", content=FIRST, headers=headers)
    await alice.patch(location, FIRST, at=0)


@pytest.mark.parametrize("last", [99_998, 100_000])
async def test_end_5_400_for_a_stream_that_is_not_as_long_as_its_range(alice: Registry, last: int):
    async def pieces() -> AsyncIterator[bytes]:
        yield FIRST

    location = await alice.start()
    headers = {"Content-Range": f"0-{last}"}
    await alice.call("PATCH", location, status=400, code="SIZE_INVALID", content=pieces(), headers=headers)
    await alice.patch(location, FIRST, at=0)


async def test_end_5_of_two_chunks_at_once_one_wins(alice: Registry):
    location = await alice.start()
    path, headers = location, {"Content-Range": f"0-{len(FIRST) - 1}"}
    sent = (alice.client.patch(path, content=FIRST, headers=headers) for _ in range(2))
    assert sorted(answer.status_code for answer in await asyncio.gather(*sent)) == [202, 416]
    await alice.close(location, DIGEST, SECOND + THIRD)


async def test_end_6_400_for_another_digest_after_chunks_and_the_session_is_over(alice: Registry):
    location = await alice.start()
    await alice.patch(location, FIRST)
    await alice.patch(location, SECOND)
    answer = await alice.close(location, ABSENT_DIGEST, THIRD, status=400)
    assert codes_of(answer) == ["DIGEST_INVALID"]
    await alice.call("GET", location, status=404, code="BLOB_UPLOAD_UNKNOWN")


# --- end-13, end-14 ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_end_13_204_says_how_far_an_upload_is(alice: Registry, method: str):
    location = await alice.start()
    assert (await alice.call(method, location, status=204)).headers["range"] == "0-0"
    await alice.patch(location, FIRST)
    answer = await alice.call(method, location, status=204)
    assert answer.headers["range"] == "0-99999"
    assert answer.headers["location"] == location
    assert answer.content == b""


@pytest.mark.parametrize("upload_id", ["0" * 32, "nonsense", "..", "%2e%2e", "0" * 400])
async def test_end_13_404_for_an_upload_that_is_none(alice: Registry, upload_id: str):
    await alice.start()
    path = f"/v2/alice/birds/blobs/uploads/{upload_id}"
    if ".." not in upload_id:
        await alice.call("GET", path, status=404, code="BLOB_UPLOAD_UNKNOWN")
    assert (await alice.client.get(path)).status_code in {404, 405}


async def test_end_13_404_for_an_upload_of_another_repository_or_caller(alice: Registry, people: People):
    location = await alice.start()
    upload_id = location.rpartition("/")[2]
    other = alice.at("alice/other")
    await other.start()
    await other.call("GET", f"blobs/uploads/{upload_id}", status=404, code="BLOB_UPLOAD_UNKNOWN")
    bob = await people.registry("bob", "bob/birds")
    await bob.start()
    await bob.call("GET", f"blobs/uploads/{upload_id}", status=404, code="BLOB_UPLOAD_UNKNOWN")
    await bob.call("GET", location, status=403, code="DENIED")


async def test_end_14_204_and_the_upload_is_gone(alice: Registry):
    location = await alice.start()
    await alice.patch(location, FIRST)
    answer = await alice.call("DELETE", location, status=204)
    assert answer.content == b""
    await alice.call("GET", location, status=404, code="BLOB_UPLOAD_UNKNOWN")
    await alice.call("DELETE", location, status=404, code="BLOB_UPLOAD_UNKNOWN")


# --- end-11: mounts ------------------------------------------------------------------------------------------------


async def test_end_11_201_for_a_blob_of_a_repository_that_one_may_read(alice: Registry, people: People):
    await alice.push_blob(DATA)
    bob = await people.registry("bob", "bob/copy")
    answer = await bob.call("POST", f"blobs/uploads/?mount={DIGEST}&from=alice/birds", status=201)
    assert answer.headers["location"] == f"/v2/bob/copy/blobs/{DIGEST}"
    assert answer.headers["docker-content-digest"] == DIGEST
    assert await has(bob, DIGEST)


@pytest.mark.parametrize("source", ["alice/birds", "alice/absent", "nobody/absent", "Not/Valid", "x", ""])
async def test_end_11_202_when_there_is_nothing_to_mount(alice: Registry, source: str):
    await alice.push_blob(b"something else")
    other = alice.at("alice/other")
    location = await other.start(f"?mount={DIGEST}&from={source}")
    await other.close(location, DIGEST, DATA)


async def test_end_11_without_from_one_s_own_repositories_are_looked_through(alice: Registry):
    await alice.push_blob(DATA)
    other = alice.at("alice/other")
    await other.call("POST", f"blobs/uploads/?mount={DIGEST}", status=201)
    assert await has(other, DIGEST)


async def test_end_11_without_from_nobody_else_s_are(alice: Registry, people: People):
    await alice.push_blob(DATA)
    bob = await people.registry("bob", "bob/copy")
    await bob.start(f"?mount={DIGEST}")
    assert not await has(bob, DIGEST)


async def test_end_11_400_for_what_is_no_digest(alice: Registry):
    await alice.call("POST", "blobs/uploads/?mount=nonsense&from=alice/x", status=400, code="DIGEST_INVALID")


async def test_end_11_a_registry_token_mounts_from_where_it_is_good_for(alice: Registry, people: People):
    """A token of one repository opens no other, not even by its blobs."""
    await alice.push_blob(DATA)

    async def with_token(*scopes: str) -> Registry:
        fetched = await alice.client.get("/v2/token", params={"scope": list(scopes)})
        return people.with_headers(bearer(fetched.json()["token"]), "alice/other")

    target, source = "repository:alice/other:pull,push", "repository:alice/birds:pull"
    narrow, wide = await with_token(target), await with_token(target, source)
    for query in (f"?mount={DIGEST}&from=alice/birds", f"?mount={DIGEST}"):
        await narrow.start(query)
        assert not await has(narrow, DIGEST)
    for query in (f"?mount={DIGEST}&from=alice/birds", f"?mount={DIGEST}"):
        await wide.call("POST", f"blobs/uploads/{query}", status=201)
        await wide.call("DELETE", f"blobs/{DIGEST}", status=401)
        await alice.at("alice/other").call("DELETE", f"blobs/{DIGEST}", status=202)
