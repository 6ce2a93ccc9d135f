"""Native pushes over the API: round trips, what may be left out, what is refused."""

from __future__ import annotations

import gzip
from base64 import b64encode
from datetime import timedelta
from hashlib import sha256
from typing import Any

import pytest
from sqlalchemy import func, select, update

from palomar.documents.chunking import MAX_CHUNK_BYTES
from palomar.documents.chunks import chunk_digest, encode_zstd, join
from palomar.documents.facts import ChunkFacts, Encoding, SealedChunk
from palomar.documents.kinds import DocumentKind
from palomar.documents.manifest import Manifest, ManifestChunk
from palomar.server.artifacts.models import Version
from palomar.server.artifacts.native_push import PushChunk, PushRow, expire_pushes
from palomar.server.blobs.leases import BlobLease
from palomar.server.blobs.models import BlobRow
from palomar.server.db.columns import utc_now
from palomar.server.namespaces.models import NamespaceRow
from palomar.server.wiring import Hub
from tests.api.native import Actor, LocalArray, World, array_of, make_world, read_stream, same_refusal
from tests.fixtures.hubs import ClientFactory
from tests.unit.documents.streams import document, frame


@pytest.fixture
async def world(small_hub: Hub, client_factory: ClientFactory) -> World:
    return await make_world(small_hub, client_factory)


async def rows(hub: Hub, table: type) -> int:
    async with hub.database.read() as session:
        return await session.scalar(select(func.count()).select_from(table)) or 0


def raw_chunk(*documents: bytes, encoding: Encoding = Encoding.ZSTD) -> SealedChunk:
    """What a client could send that cuts as it likes."""
    raw = join(documents)
    stored = encode_zstd(raw) if encoding is Encoding.ZSTD else join([gzip.compress(one, mtime=0) for one in documents])
    facts = ChunkFacts(chunk_digest(raw), len(raw), len(documents), encoding, len(stored), len(stored), b"")
    return SealedChunk(facts, stored)


def manifest_of(*chunks: SealedChunk, kind: DocumentKind = DocumentKind.V1) -> bytes:
    listed = [ManifestChunk(one.facts.digest, one.facts.raw_bytes, one.facts.documents) for one in chunks]
    return Manifest.of(kind, listed).encode()


# --- round trips ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", list(DocumentKind))
async def test_round_trip_and_the_old_clients_pull(world: World, kind: DocumentKind) -> None:
    array = LocalArray([document(number, padding=90_000, kind=kind) for number in range(40)], kind)
    assert len(array.chunks) > 2
    receipt = await world.alice.push("alice/birds", array, message="hello", metadata={"a": 1})
    assert (receipt["version"], receipt["documents"], receipt["kind"]) == (1, 40, kind)
    assert receipt["digest"] == sha256(array.manifest).hexdigest()
    url = (await world.nobody.get("/arrays/alice/birds/versions/1/download?redirect=false"))["url"]
    download = await world.nobody.client.get(url)
    assert read_stream(download.content) == array.documents
    assert len(download.content) == receipt["stream_bytes"]


async def test_array_without_documents(world: World) -> None:
    receipt = await world.alice.push("alice/nothing", LocalArray([]))
    assert (receipt["documents"], receipt["raw_bytes"]) == (0, 0)
    url = (await world.nobody.get("/arrays/alice/nothing/versions/1/download?redirect=false"))["url"]
    assert read_stream((await world.nobody.client.get(url)).content) == []


async def test_repeated_chunks_are_one(world: World) -> None:
    chunk = raw_chunk(document(0, padding=MAX_CHUNK_BYTES - 1000))
    gz = raw_chunk(document(0, padding=MAX_CHUNK_BYTES - 1000), encoding=Encoding.GZIP_MEMBERS)
    push_id = await world.alice.open("alice/twice")
    await world.alice.send(push_id, chunk, status=422)
    await world.alice.send(push_id, gz)
    receipt = await world.alice.commit(push_id, manifest_of(gz, gz, gz))
    assert receipt["documents"] == 3
    listed = await world.nobody.call("GET", "/arrays/alice/twice/versions/1/index")
    assert len(listed.content) == 60


async def test_commit_twice_is_one_version(world: World) -> None:
    array = array_of(1, 2)
    push_id = await world.alice.open("alice/birds")
    await world.alice.send(push_id, array.chunks[0])
    first = await world.alice.commit(push_id, array.manifest)
    again = await world.alice.commit(push_id, array.manifest)
    assert first == again
    assert await rows(world.hub, Version) == 1
    assert await rows(world.hub, PushChunk) == 0
    assert await rows(world.hub, BlobLease) == 0


# --- what may be left out ------------------------------------------------------------------------------------------


async def test_own_chunks_need_not_be_sent_again(world: World) -> None:
    array = LocalArray([document(number, padding=50_000) for number in range(100)])
    await world.alice.push("alice/birds", array)
    changed = LocalArray([*array.documents[:99], document(1000)])
    push_id = await world.alice.open("alice/other")
    missing = await world.alice.missing(push_id, [chunk.facts.digest for chunk in changed.chunks])
    assert missing == [changed.chunks[-1].facts.digest]
    await world.alice.send(push_id, changed.chunks[-1])
    receipt = await world.alice.commit(push_id, changed.manifest)
    small = len(changed.chunks[-1].stored) + len(changed.manifest) + len(changed.index)
    assert receipt["new_bytes"] == small
    index = await world.nobody.call("GET", "/arrays/alice/other/versions/1/index")
    assert index.content == changed.index
    documents = await world.nobody.call("GET", "/arrays/alice/other/versions/1/documents")
    assert documents.content == join(changed.documents)


async def test_knowing_a_digest_opens_nothing(world: World) -> None:
    """Neither for the question, nor in a manifest, nor as a recipe: a stranger's chunk must be sent."""
    secret = array_of(1, 2, 3, padding=500)
    await world.alice.push("alice/secret", secret, is_public=False)
    digest = secret.chunks[0].facts.digest
    push_id = await world.bob.open("bob/stolen")
    assert await world.bob.missing(push_id, [digest]) == [digest]
    refusal = await world.bob.commit(push_id, secret.manifest, status=400)
    assert refusal["fields"]["parameter"] == "manifest"
    part = {"array": "alice/secret", "version": 1, "start": 0, "stop": 3}
    path = f"/pushes/{push_id}/chunks/{digest}/recipe"
    hidden = await world.bob.call("PUT", path, json={"parts": [part]}, status=404)
    part["array"] = "alice/absent"
    absent = await world.bob.call("PUT", path, json={"parts": [part]}, status=404)
    assert same_refusal(hidden, absent, names=("alice/secret", "alice/absent"))
    await world.bob.call("GET", "/arrays/bob/stolen", status=404)


async def test_equal_chunk_of_a_stranger_is_stored_once_and_no_receipt_tells(world: World) -> None:
    array = array_of(1, 2, 3, padding=500)
    first = await world.alice.push("alice/secret", array, is_public=False)
    stored = await rows(world.hub, BlobRow)
    second = await world.bob.push("bob/mine", array)
    assert await rows(world.hub, BlobRow) == stored
    assert second["new_bytes"] == first["new_bytes"] > 0
    again = await world.bob.push("bob/mine", array)
    assert again["new_bytes"] == 0


async def test_chunk_of_the_other_generation_does_not_count(world: World) -> None:
    """It was checked as documents of one kind, and would be unchecked as the other."""
    array = array_of(1, 2)
    await world.alice.push("alice/birds", array)
    push_id = await world.alice.open("alice/birds2", DocumentKind.V2)
    digest = array.chunks[0].facts.digest
    assert await world.alice.missing(push_id, [digest]) == [digest]
    manifest = manifest_of(*array.chunks, kind=DocumentKind.V2)
    await world.alice.commit(push_id, manifest, status=400)


async def test_deleted_arrays_chunks_still_count_until_they_are_purged(world: World) -> None:
    array = array_of(1, 2)
    await world.alice.push("alice/birds", array)
    await world.alice.call("DELETE", "/arrays/alice/birds", status=204)
    receipt = await world.alice.push("alice/birds", array)
    assert receipt["version"] == 2


async def test_crashed_push_is_resumed(world: World) -> None:
    array = LocalArray([document(number, padding=90_000) for number in range(40)])
    push_id = await world.alice.open("alice/birds")
    digests = [chunk.facts.digest for chunk in array.chunks]
    await world.alice.send(push_id, array.chunks[0])
    await world.alice.send(push_id, array.chunks[0])
    assert await rows(world.hub, PushChunk) == 1
    assert await world.alice.missing(push_id, digests) == digests[1:]
    for chunk in array.chunks[1:]:
        await world.alice.send(push_id, chunk)
    assert (await world.alice.commit(push_id, array.manifest))["documents"] == 40


# --- recipes -------------------------------------------------------------------------------------------------------


async def cook(actor: Actor, push_id: str, digest: str, *parts: dict[str, Any], status: int = 204) -> Any:
    return await actor.call("PUT", f"/pushes/{push_id}/chunks/{digest}/recipe", json={"parts": parts}, status=status)


def sent(*documents: bytes) -> dict[str, str]:
    return {"documents": b64encode(join(documents)).decode()}


def known(start: int, stop: int, array: str = "alice/birds") -> dict[str, Any]:
    return {"array": array, "version": 1, "start": start, "stop": stop}


async def test_recipe_of_new_and_known_documents(world: World) -> None:
    array = LocalArray([document(number, padding=20_000) for number in range(60)])
    await world.alice.push("alice/birds", array)
    changed = LocalArray([*array.documents[:7], document(700), *array.documents[8:]])
    push_id = await world.alice.open("alice/birds", base_version=1)
    missing = await world.alice.missing(push_id, [chunk.facts.digest for chunk in changed.chunks])
    start = 0
    for chunk in changed.chunks:
        stop = start + chunk.facts.documents
        if chunk.facts.digest in missing:
            assert start <= 7 < stop
            parts = [known(start, 7), sent(document(700)), known(8, stop)]
            await cook(
                world.alice, push_id, chunk.facts.digest, *[part for part in parts if part != known(start, start)]
            )
        start = stop
    assert len(missing) == 1
    await world.alice.commit(push_id, changed.manifest)
    documents = await world.nobody.call("GET", "/arrays/alice/birds/versions/2/documents")
    assert documents.content == join(changed.documents)
    index = await world.nobody.call("GET", "/arrays/alice/birds/versions/2/index")
    assert index.content == changed.index


async def test_recipe_copies_what_the_caller_can_read(world: World) -> None:
    array = array_of(1, 2, 3)
    await world.alice.push("alice/birds", array)
    push_id = await world.bob.open("bob/fork")
    await cook(world.bob, push_id, array.chunks[0].facts.digest, known(0, 3))
    receipt = await world.bob.commit(push_id, array.manifest)
    assert receipt["namespace"] == "bob"
    index = await world.nobody.call("GET", "/arrays/bob/fork/versions/1/index")
    assert index.content == array.index


async def test_recipe_copies_a_large_document_without_reading_it(world: World) -> None:
    array = array_of(1, padding=MAX_CHUNK_BYTES + 1000)
    await world.alice.push("alice/birds", array)
    push_id = await world.bob.open("bob/fork")
    await cook(world.bob, push_id, array.chunks[0].facts.digest, known(0, 1), sent(document(1)), status=413)
    await cook(world.bob, push_id, array.chunks[0].facts.digest, known(0, 1))
    assert (await world.bob.commit(push_id, array.manifest))["documents"] == 1


async def test_recipe_with_another_digest_is_refused(world: World) -> None:
    await world.alice.push("alice/birds", array_of(1, 2, 3))
    push_id = await world.alice.open("alice/other")
    answer = await cook(world.alice, push_id, "0" * 64, known(0, 2), status=422)
    assert answer.json()["code"] == "digest-mismatch"
    assert await world.alice.missing(push_id, ["0" * 64]) == ["0" * 64]


@pytest.mark.parametrize(
    ("part", "status"),
    [
        (known(0, 4), 400),
        (known(2, 2), 400),
        (known(0, 1, "alice/absent"), 404),
        (known(0, 1, "a b/c d"), 404),
        ({"documents": "AAAABQ=="}, 422),
        ({"documents": "AAAAAQc="}, 422),
        ({"documents": "!"}, 400),
        ({}, 400),
        ({**known(0, 1), "documents": ""}, 400),
    ],
)
async def test_bad_recipes_are_refused(world: World, part: dict[str, Any], status: int) -> None:
    await world.alice.push("alice/birds", array_of(1, 2, 3))
    push_id = await world.alice.open("alice/other")
    await cook(world.alice, push_id, "0" * 64, part, status=status)


async def test_recipe_may_not_read_the_whole_hub(world: World) -> None:
    array = LocalArray([document(number, padding=700_000) for number in range(80)])
    await world.alice.push("alice/birds", array)
    assert len(array.chunks) > 64 / 2
    push_id = await world.alice.open("alice/other")
    await cook(world.alice, push_id, "0" * 64, known(0, 80), status=413)
    hops = [known(number, number + 1) for number in range(80)]
    await cook(world.alice, push_id, "0" * 64, *hops, status=413)


# --- what is refused -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("order", "status", "code"),
    [
        ({"name": "birds"}, 400, "bare-name"),
        ({"name": "bob/birds"}, 403, "not-allowed"),
        ({"name": "carol/birds"}, 403, "not-allowed"),
        ({"name": "alice/a b"}, 400, "bad-name"),
        ({"name": "alice/birds", "kind": "v3"}, 400, "bad-parameter"),
        ({"name": "alice/birds", "base_version": 5}, 409, "version-conflict"),
        ({"name": "alice/birds", "message": "x" * 501}, 400, "bad-parameter"),
        ({"name": "alice/birds", "surprise": 1}, 400, "bad-parameter"),
    ],
)
async def test_push_is_refused_before_anything_is_sent(
    world: World, order: dict[str, Any], status: int, code: str
) -> None:
    answer = await world.alice.call("POST", "/pushes", json={"kind": "v1", **order}, status=status)
    assert answer.json()["code"] == code
    await world.nobody.call("POST", "/pushes", json={"kind": "v1", **order}, status=401)
    assert await rows(world.hub, PushRow) == 0


@pytest.mark.parametrize("call", ["missing", "chunk", "recipe", "commit", "delete"])
async def test_push_is_its_owners_alone(world: World, call: str) -> None:
    array = array_of(1)
    push_id = await world.alice.open("alice/birds")
    absent_id = "0" * 32
    digest = array.chunks[0].facts.digest

    async def knock(actor: Actor, push: str, status: int) -> Any:
        path = f"/pushes/{push}"
        match call:
            case "missing":
                return await actor.call("POST", f"{path}/missing", json={"digests": [digest]}, status=status)
            case "chunk":
                headers = {"Palomar-Encoding": "zstd"}
                content = array.chunks[0].stored
                return await actor.call(
                    "PUT", f"{path}/chunks/{digest}", content=content, headers=headers, status=status
                )
            case "recipe":
                parts = {"parts": [sent(*array.documents)]}
                return await actor.call("PUT", f"{path}/chunks/{digest}/recipe", json=parts, status=status)
            case "commit":
                body = {"manifest": b64encode(array.manifest).decode()}
                return await actor.call("POST", f"{path}/commit", json=body, status=status)
            case _:
                return await actor.call("DELETE", path, status=status)

    foreign, absent = await knock(world.bob, push_id, 404), await knock(world.bob, absent_id, 404)
    assert same_refusal(foreign, absent, names=(push_id, absent_id))
    await knock(world.nobody, push_id, 401)
    await knock(world.bob, "x", 404)
    assert await rows(world.hub, PushRow) == 1


async def test_digest_must_be_that_of_the_bytes(world: World) -> None:
    array = array_of(1)
    push_id = await world.alice.open("alice/birds")
    answer = await world.alice.send(push_id, array.chunks[0], digest="0" * 64, status=422)
    assert answer.json()["fields"] == {"expected": "0" * 64, "actual": array.chunks[0].facts.digest}
    assert await rows(world.hub, BlobRow) == 0


@pytest.mark.parametrize(
    ("content", "encoding"),
    [
        (b"", "zstd"),
        (b"", "gzip-members"),
        (b"nonsense", "zstd"),
        (b"nonsense", "gzip-members"),
        (encode_zstd(join([b"\x07"])), "zstd"),
        (raw_chunk(document(1)).stored[:-3], "zstd"),
        (raw_chunk(document(1)).stored + b"x", "zstd"),
        (raw_chunk(document(1)).stored, "gzip-members"),
        (raw_chunk(document(1), encoding=Encoding.GZIP_MEMBERS).stored, "zstd"),
    ],
    ids=[
        "nothing-zstd",
        "nothing-gzip",
        "text-zstd",
        "text-gzip",
        "no-document",
        "cut-off",
        "longer",
        "zstd-as-gzip",
        "gzip-as-zstd",
    ],
)
async def test_bytes_that_are_no_chunk_are_refused(world: World, content: bytes, encoding: str) -> None:
    push_id = await world.alice.open("alice/birds")
    path = f"/pushes/{push_id}/chunks/{'0' * 64}"
    headers = {"Palomar-Encoding": encoding}
    answer = await world.alice.call("PUT", path, content=content, headers=headers, status=422)
    assert answer.json()["code"] == "malformed-stream"


async def test_encoding_must_be_said(world: World) -> None:
    push_id = await world.alice.open("alice/birds")
    path = f"/pushes/{push_id}/chunks/{'0' * 64}"
    answer = await world.alice.call("PUT", path, content=b"x", status=400)
    assert answer.json()["fields"]["parameter"] == "palomar-encoding"
    await world.alice.call("PUT", path, content=b"x", headers={"Palomar-Encoding": "br"}, status=400)


async def test_zstd_body_above_any_chunk_is_refused(world: World) -> None:
    push_id = await world.alice.open("alice/birds")
    path = f"/pushes/{push_id}/chunks/{'0' * 64}"
    headers = {"Palomar-Encoding": "zstd"}
    await world.alice.call("PUT", path, content=bytes(9 << 20), headers=headers, status=413)


async def test_large_document_streams_in(world: World) -> None:
    array = array_of(1, padding=20 << 20)
    chunk = array.chunks[0]
    assert chunk.facts.stored_bytes > 8 << 20
    push_id = await world.alice.open("alice/birds")
    for wrong in (chunk.stored[:-1], chunk.stored + b"x", frame(bytes(9 << 20))):
        damaged = SealedChunk(chunk.facts, wrong)
        assert (await world.alice.send(push_id, damaged, status=422)).json()["code"] == "malformed-stream"
    answer = await world.alice.send(push_id, chunk, digest="0" * 64, status=422)
    assert answer.json()["code"] == "digest-mismatch"
    assert await rows(world.hub, BlobRow) == 0
    await world.alice.send(push_id, chunk)
    await world.alice.send(push_id, chunk)
    assert await rows(world.hub, BlobRow) == 1
    await world.alice.commit(push_id, array.manifest)
    documents = await world.nobody.call("GET", "/arrays/alice/birds/versions/1/documents")
    assert documents.content == join(array.documents)


async def test_manifest_that_lies_is_refused(world: World) -> None:
    chunk = array_of(1, 2).chunks[0]
    push_id = await world.alice.open("alice/birds")
    await world.alice.send(push_id, chunk)
    facts = chunk.facts
    for raw_bytes, documents in ((facts.raw_bytes + 1, 2), (facts.raw_bytes, 1)):
        lie = Manifest.of(DocumentKind.V1, [ManifestChunk(facts.digest, raw_bytes, documents)]).encode()
        assert (await world.alice.commit(push_id, lie, status=422))["code"] == "malformed-stream"
    assert (await world.alice.commit(push_id, b"nonsense", status=422))["code"] == "malformed-stream"
    other_kind = manifest_of(chunk, kind=DocumentKind.V2)
    assert (await world.alice.commit(push_id, other_kind, status=400))["code"] == "bad-parameter"
    assert await rows(world.hub, Version) == 0


async def test_chunks_that_the_rule_cuts_otherwise_are_refused(world: World) -> None:
    """Else equal data would have two digests, and one client's re-push would share nothing with the other's."""
    one, two = raw_chunk(document(1)), raw_chunk(document(2))
    push_id = await world.alice.open("alice/birds")
    await world.alice.send(push_id, one)
    await world.alice.send(push_id, two)
    answer = await world.alice.commit(push_id, manifest_of(one, two), status=422)
    assert "boundary" in answer["detail"]
    many = LocalArray([document(number, padding=90_000) for number in range(40)])
    joined = raw_chunk(*many.documents[: many.chunks[0].facts.documents + 1])
    assert "boundary" in (await world.alice.send(push_id, joined, status=422)).json()["detail"]


async def test_version_conflict(world: World) -> None:
    await world.alice.push("alice/birds", array_of(1))
    push_id = await world.alice.open("alice/birds", base_version=1)
    array = array_of(3)
    await world.alice.send(push_id, array.chunks[0])
    await world.alice.push("alice/birds", array_of(2))
    answer = await world.alice.commit(push_id, array.manifest, status=409)
    assert answer["fields"] == {"name": "alice/birds", "expected": 1, "current": 2}
    assert await rows(world.hub, Version) == 2
    late = await world.alice.open("alice/birds")
    await world.alice.send(late, array.chunks[0])
    assert (await world.alice.commit(late, array.manifest))["version"] == 3


async def test_abandoned_push_is_gone(world: World) -> None:
    array = array_of(1)
    push_id = await world.alice.open("alice/birds")
    await world.alice.send(push_id, array.chunks[0])
    await world.alice.call("DELETE", f"/pushes/{push_id}", status=204)
    await world.alice.commit(push_id, array.manifest, status=404)
    assert await rows(world.hub, PushChunk) == 0
    assert await rows(world.hub, BlobLease) == 0


async def test_push_whose_hour_is_over_is_gone(world: World) -> None:
    array = array_of(1)
    push_id = await world.alice.open("alice/birds")
    await world.alice.send(push_id, array.chunks[0])
    assert await expire_pushes(world.hub.database) == 0
    async with world.hub.database.write() as session:
        await session.execute(update(PushRow).values(expires_at=utc_now() - timedelta(seconds=1)))
    await world.alice.call("POST", f"/pushes/{push_id}/missing", json={"digests": []}, status=404)
    assert await expire_pushes(world.hub.database) == 1
    assert [await rows(world.hub, table) for table in (PushRow, PushChunk, BlobLease)] == [0, 0, 0]


async def test_quota_holds_for_what_is_not_committed_too(world: World) -> None:
    async with world.hub.database.write() as session:
        await session.execute(update(NamespaceRow).where(NamespaceRow.name == "alice").values(quota_bytes=150_000))
    first, second = (array_of(number, padding=100_000).chunks[0] for number in (1, 2))
    push_id = await world.alice.open("alice/birds")
    await world.alice.send(push_id, first)
    answer = await world.alice.send(push_id, second, status=413)
    assert answer.json()["code"] == "quota-exceeded"
    other = await world.alice.open("alice/other")
    await world.alice.send(other, second, status=413)
    assert await rows(world.hub, PushChunk) == 1


async def test_open_pushes_are_limited(world: World) -> None:
    for _ in range(100):
        await world.alice.open("alice/birds")
    answer = await world.alice.call("POST", "/pushes", json={"name": "alice/birds", "kind": "v1"}, status=429)
    assert answer.headers["retry-after"]


async def test_too_many_digests_and_bad_ones_are_refused(world: World) -> None:
    push_id = await world.alice.open("alice/birds")
    for digests in (["0" * 64] * 10_001, ["x"], ["A" * 64]):
        await world.alice.call("POST", f"/pushes/{push_id}/missing", json={"digests": digests}, status=400)
    assert await world.alice.missing(push_id, []) == []
    asked = [f"{number:064x}" for number in range(1200)]
    assert await world.alice.missing(push_id, [*asked, asked[0]]) == asked
