"""The native API's versions: stored bytes, documents, previews, downloads."""

from __future__ import annotations

from hashlib import sha256

import pytest
from structlog.testing import capture_logs

from palomar.documents.chunking import MAX_DOCUMENT_BYTES
from palomar.documents.chunks import walk
from palomar.documents.kinds import DocumentKind
from palomar.server.wiring import Hub
from tests.api.native import LocalArray, World, array_of, make_world, read_stream
from tests.fixtures.hubs import ClientFactory
from tests.unit.documents.streams import document

VERSION = "/arrays/alice/array/versions/1"


@pytest.fixture
async def world(small_hub: Hub, client_factory: ClientFactory) -> World:
    return await make_world(small_hub, client_factory)


@pytest.fixture
async def array(world: World) -> LocalArray:
    """Some chunks, of which two are of different encodings."""
    documents = [document(number, padding=100_000) for number in range(12)]
    documents.append(document(90, padding=600_000))
    array = LocalArray(documents)
    await world.alice.push("alice/array", array, message="the first")
    assert {chunk.facts.encoding for chunk in array.chunks} == {"zstd", "gzip-members"}
    return array


async def test_receipt(world: World, array: LocalArray) -> None:
    told = await world.nobody.get(VERSION)
    assert told["digest"] == sha256(array.manifest).hexdigest()
    assert (told["version"], told["documents"], told["message"]) == (1, 13, "the first")
    assert told["pushed_by"] == "alice"
    assert told["new_bytes"] is None
    assert (await world.alice.get(VERSION))["new_bytes"] > 0
    await world.alice.call("GET", "/arrays/alice/array/versions/2", status=404)
    await world.alice.call("GET", "/arrays/alice/array/versions/0", status=400)


async def test_versions_in_pages(world: World, array: LocalArray) -> None:
    for number in range(3):
        await world.alice.push("alice/array", array_of(number))
    page = await world.nobody.get("/arrays/alice/array/versions?limit=3")
    assert [row["version"] for row in page["versions"]] == [4, 3, 2]
    rest = await world.nobody.get("/arrays/alice/array/versions", params={"cursor": page["next_cursor"]})
    assert [row["version"] for row in rest["versions"]] == [1]
    assert rest["next_cursor"] is None


async def test_manifest(world: World, array: LocalArray) -> None:
    answer = await world.nobody.call("GET", f"{VERSION}/manifest")
    assert answer.content == array.manifest
    assert answer.headers["etag"] == f'"{sha256(array.manifest).hexdigest()}"'
    assert "immutable" in answer.headers["cache-control"]
    again = await world.nobody.call(
        "GET", f"{VERSION}/manifest", headers={"If-None-Match": answer.headers["etag"]}, status=304
    )
    assert again.content == b""


async def test_index_is_what_the_documents_say(world: World, array: LocalArray) -> None:
    answer = await world.nobody.call("GET", f"{VERSION}/index")
    assert answer.content == array.index
    part = await world.nobody.call("GET", f"{VERSION}/index", headers={"Range": "bytes=20-59"}, status=206)
    assert part.content == array.index[20:60]
    assert part.headers["content-range"] == f"bytes 20-59/{len(array.index)}"
    too_far = {"Range": f"bytes={len(array.index)}-"}
    await world.nobody.call("GET", f"{VERSION}/index", headers=too_far, status=416)


async def test_chunks_are_served_as_stored(world: World, array: LocalArray) -> None:
    for chunk in array.chunks:
        answer = await world.nobody.call("GET", f"{VERSION}/chunks/{chunk.facts.digest}")
        assert answer.content == chunk.stored
        assert answer.headers["palomar-encoding"] == chunk.facts.encoding
        assert answer.headers["palomar-stored-digest"] == sha256(chunk.stored).hexdigest()
    digest = array.chunks[0].facts.digest
    part = await world.nobody.call("GET", f"{VERSION}/chunks/{digest}", headers={"Range": "bytes=-7"}, status=206)
    assert part.content == array.chunks[0].stored[-7:]


async def test_chunk_of_another_version_is_not_there(world: World, array: LocalArray) -> None:
    secret = array_of(50, padding=1000)
    await world.bob.push("bob/secret", secret, is_public=False)
    digest = secret.chunks[0].facts.digest
    hidden = await world.alice.call("GET", f"{VERSION}/chunks/{digest}", status=404)
    absent = await world.alice.call("GET", f"{VERSION}/chunks/{'0' * 64}", status=404)
    assert (
        hidden.text.replace(digest, "X").partition("request_id")[0]
        == (absent.text.replace("0" * 64, "X").partition("request_id")[0])
    )
    await world.alice.call("GET", f"{VERSION}/chunks/short", status=400)


async def test_documents(world: World, array: LocalArray) -> None:
    answer = await world.nobody.call("GET", f"{VERSION}/documents")
    assert list(walk(answer.content)) == array.documents
    assert answer.headers["palomar-documents"] == "0-13/13"
    assert int(answer.headers["content-length"]) == len(answer.content)
    part = await world.nobody.call("GET", f"{VERSION}/documents?start=3&stop=9")
    assert list(walk(part.content)) == array.documents[3:9]
    end = await world.nobody.call("GET", f"{VERSION}/documents?start=12&stop=500")
    assert list(walk(end.content)) == array.documents[12:]
    empty = await world.nobody.call("GET", f"{VERSION}/documents?start=99&stop=500")
    assert (empty.content, empty.headers["palomar-documents"]) == (b"", "13-13/13")


@pytest.mark.parametrize("query", ["start=5&stop=4", "start=0&stop=10001", "start=-1", "start=x", f"start={2**63}"])
async def test_bad_slices_are_refused(world: World, array: LocalArray, query: str) -> None:
    answer = await world.nobody.call("GET", f"{VERSION}/documents?{query}", status=400)
    assert answer.json()["code"] == "bad-parameter"


async def test_answer_ends_after_64_mebibytes(world: World) -> None:
    """Zeros compress well, so this costs little: 40 documents of 3 MiB."""
    documents = [document(number) + b"\x12" + _varint(3 << 20) + bytes(3 << 20) for number in range(40)]
    await world.alice.push("alice/array", LocalArray(documents))
    answer = await world.nobody.call("GET", f"{VERSION}/documents")
    held = list(walk(answer.content))
    assert answer.headers["palomar-documents"] == f"0-{len(held)}/40"
    assert held == documents[: len(held)]
    assert len(answer.content) <= 64 << 20 < len(answer.content) + (4 << 20)


async def test_large_document_is_streamed(world: World) -> None:
    large = document(1) + b"\x12" + _varint(20 << 20) + bytes(20 << 20)
    array = LocalArray([document(0), large, document(2)])
    await world.alice.push("alice/array", array)
    answer = await world.nobody.call("GET", f"{VERSION}/documents")
    assert list(walk(answer.content)) == array.documents
    alone = await world.nobody.call("GET", f"{VERSION}/documents?start=1&stop=2")
    assert list(walk(alone.content)) == [large]
    shown = (await world.nobody.get(f"{VERSION}/preview"))["documents"]
    assert [one["document"] is None for one in shown] == [False, True, False]
    assert shown[1]["raw_bytes"] == len(large) > MAX_DOCUMENT_BYTES


@pytest.mark.parametrize("kind", list(DocumentKind))
async def test_preview(world: World, kind: DocumentKind) -> None:
    await world.alice.push("alice/array", array_of(0, 1, 2, kind=kind))
    page = await world.nobody.get(f"{VERSION}/preview?start=1&stop=3")
    assert (page["kind"], page["start"], page["total"]) == (kind, 1, 3)
    assert [one["document"]["id"] for one in page["documents"]] == ["document-1", "document-2"]
    assert [one["position"] for one in page["documents"]] == [1, 2]
    await world.nobody.call("GET", f"{VERSION}/preview?start=0&stop=101", status=400)


async def test_download_is_what_an_old_client_reads(world: World, array: LocalArray) -> None:
    """Through the signed URL, without a credential, also of a private array."""
    await world.alice.call("PATCH", "/arrays/alice/array", json={"visibility": "private"})
    told = await world.alice.get(f"{VERSION}/download?redirect=false")
    download = await world.nobody.client.get(told["url"])
    assert read_stream(download.content) == array.documents
    assert told["stream_bytes"] == len(download.content)
    redirect = await world.alice.call("GET", f"{VERSION}/download", status=307)
    assert (await world.nobody.client.get(redirect.headers["location"])).content == download.content


async def test_damaged_chunk_is_never_served_whole(world: World) -> None:
    array = array_of(1, 2, padding=100)
    await world.alice.push("alice/array", array)
    chunk = array.chunks[0]
    objects = world.hub.settings.data / "blobs"
    stored = next(path for path in objects.rglob("*") if path.is_file() and path.read_bytes() == chunk.stored)
    stored.chmod(0o600)
    stored.write_bytes(bytes([chunk.stored[0] ^ 1]) + chunk.stored[1:])
    for path in ("documents?start=0&stop=1", f"chunks/{chunk.facts.digest}"):
        # A broken connection is all that can still tell a reader so.
        with capture_logs(), pytest.raises(RuntimeError, match="response already started"):
            await world.nobody.client.get(f"/api/v1{VERSION}/{path}")


def _varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes(out) + bytes([value])
