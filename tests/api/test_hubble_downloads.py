"""The address that `artifact.getDownloadUrl` gives: what old clients need of it."""

from __future__ import annotations

from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
import time_machine

from palomar.server.artifacts.models import Version
from palomar.server.settings import Settings
from palomar.server.wiring import Hub
from tests.api.hubble import STREAM, OldClient, old_client
from tests.fixtures.hubs import ClientFactory
from tests.unit.documents.streams import document, random_bytes, stream

# Several chunks of random bytes.
LARGE = stream([document(number, padding=20_000) for number in range(300)])


@pytest.fixture
def small_settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"download_url_ttl_s": 60})


@pytest.fixture
async def alice(small_hub: Hub, client_factory: ClientFactory) -> OldClient:
    return await old_client(small_hub, client_factory, "alice")


@pytest.fixture
async def nobody(small_hub: Hub, client_factory: ClientFactory) -> OldClient:
    return await old_client(small_hub, client_factory, None)


@pytest.mark.parametrize("data", [STREAM, LARGE, stream([])], ids=["small", "large", "none"])
@pytest.mark.parametrize("accepted", ["identity", "gzip, deflate", "gzip;q=1.0, *;q=0.5", "br"])
async def test_exact_length_and_no_encoding(alice: OldClient, data: bytes, accepted: str):
    """docarray compares the Content-Length with the size of its cached file."""
    await alice.push("alice/digits", data)
    answer = await alice.pull("alice/digits", **{"Accept-Encoding": accepted})
    assert answer.status_code == 200
    assert answer.content == data
    assert answer.headers["content-length"] == str(len(data))
    assert "content-encoding" not in answer.headers
    assert "transfer-encoding" not in answer.headers
    assert "set-cookie" not in answer.headers


async def test_it_needs_no_token(alice: OldClient, nobody: OldClient):
    await alice.push("alice/digits", public="False")
    url = await alice.download_url("alice/digits")
    assert (await nobody.client.get(url)).content == STREAM


async def test_head(alice: OldClient):
    await alice.push("alice/digits")
    answer = await alice.client.head(await alice.download_url("alice/digits"))
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-length"] == str(len(STREAM))


@pytest.mark.parametrize(
    ("asked", "start", "stop"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=0-8", 0, 9),
        ("bytes=5-20", 5, 21),
        ("bytes=9-", 9, None),
        ("bytes=-1", -1, None),
        ("bytes=-100000", -100_000, None),
        ("bytes=1000000-2999999", 1_000_000, 3_000_000),
        ("bytes=5000000-99999999", 5_000_000, None),
    ],
)
async def test_ranges(alice: OldClient, asked: str, start: int, stop: int | None):
    await alice.push("alice/digits", LARGE)
    answer = await alice.pull("alice/digits", Range=asked)
    assert answer.status_code == 206
    assert answer.content == LARGE[start:stop]
    begin, end, _ = slice(start, stop).indices(len(LARGE))
    assert answer.headers["content-range"] == f"bytes {begin}-{end - 1}/{len(LARGE)}"
    assert answer.headers["content-length"] == str(end - begin)


async def test_a_range_behind_the_end(alice: OldClient):
    await alice.push("alice/digits")
    answer = await alice.pull("alice/digits", Range=f"bytes={len(STREAM)}-")
    assert answer.status_code == 416
    assert answer.headers["content-range"] == f"bytes */{len(STREAM)}"


@pytest.mark.parametrize("asked", ["bytes=5-2", "lines=1-2", "bytes=0-1,5-6", "bytes=", "nonsense"])
async def test_a_range_that_is_none_gives_the_whole(alice: OldClient, asked: str):
    await alice.push("alice/digits")
    answer = await alice.pull("alice/digits", Range=asked)
    assert (answer.status_code, answer.content) == (200, STREAM)


async def test_a_push_meanwhile_changes_nothing_under_a_pull(alice: OldClient):
    """The address pins one version, from the moment it is given."""
    await alice.push("alice/digits", LARGE)
    url = await alice.download_url("alice/digits")
    async with alice.client.stream("GET", url) as answer:
        pieces = answer.aiter_bytes()
        begun = await anext(pieces)
        await alice.push("alice/digits")
        rest = b"".join([piece async for piece in pieces])
    assert begun + rest == LARGE
    assert (await alice.client.get(url)).content == LARGE
    assert (await alice.pull("alice/digits")).content == STREAM


async def test_no_two_versions_have_the_same_length(alice: OldClient, small_hub: Hub):
    """Old clients trust a cached file of equal length, whatever is in it."""
    streams = [stream([document(1), document(2, padding=50)], count=2) for _ in range(3)]
    streams += [stream([document(1), document(3, padding=50)])]
    assert len({len(data) for data in streams}) == 1, "these would not show anything"
    lengths, contents = [], []
    for data in streams:
        await alice.push("alice/digits", data)
        answer = await alice.pull("alice/digits")
        assert answer.headers["content-length"] == str(len(answer.content))
        lengths.append(len(answer.content))
        contents.append(answer.content)
    assert len(set(lengths)) == len(streams)
    assert contents[0] == streams[0]
    async with small_hub.database.read() as session:
        versions = (await session.scalars(Version.__table__.select())).all()
    assert len(versions) == len(streams)


async def test_ranges_of_a_padded_version_are_parts_of_its_whole(alice: OldClient):
    for number in range(4):
        await alice.push("alice/digits", stream([document(number, padding=30_000)]))
    whole = (await alice.pull("alice/digits")).content
    for start in range(0, 200, 7):
        answer = await alice.pull("alice/digits", Range=f"bytes={start}-{start + 40}")
        assert answer.content == whole[start : start + 41]


@pytest.mark.parametrize("change", ["signature", "expires", "version", "nothing given"])
async def test_an_address_that_was_not_given_opens_nothing(alice: OldClient, nobody: OldClient, change: str):
    await alice.push("alice/digits", public="False")
    await alice.push("alice/other")
    parts = urlsplit(await alice.download_url("alice/digits"))
    other = urlsplit(await alice.download_url("alice/other"))
    query = {key: values[0] for key, values in parse_qs(parts.query).items()}
    path, wrong = parts.path, dict(query)
    if change == "version":
        path = other.path
    elif change == "nothing given":
        wrong = {}
    else:
        wrong[change] = query[change][:-1] + ("1" if query[change][-1] != "1" else "2")
    answer = await nobody.client.get(f"{path}?{urlencode(wrong)}")
    assert answer.status_code == 404


async def test_an_address_expires(alice: OldClient):
    await alice.push("alice/digits")
    with time_machine.travel(0, tick=False) as moment:
        url = await alice.download_url("alice/digits")
        moment.shift(59)
        assert (await alice.client.get(url)).status_code == 200
        moment.shift(2)
        assert (await alice.client.get(url)).status_code == 404


async def test_what_was_deleted_is_not_downloaded_any_more(alice: OldClient):
    await alice.push("alice/digits")
    url = await alice.download_url("alice/digits")
    await alice.post("artifact.delete", data={"name": "alice/digits"})
    assert (await alice.client.get(url)).status_code == 404


async def test_a_large_file_of_the_sdk(alice: OldClient):
    data = random_bytes(1, 3_000_000)
    artifact_id = (await alice.upload(data))["_id"]
    url = (await alice.post("artifact.getDownloadUrl", data={"id": artifact_id}))["data"]["download"]
    answer = await alice.client.get(url, headers={"Accept-Encoding": "gzip"})
    assert answer.content == data
    assert answer.headers["content-length"] == str(len(data))
    part = await alice.client.get(url, headers={"Range": "bytes=1000000-1999999"})
    assert part.content == data[1_000_000:2_000_000]


async def test_it_is_never_a_page_of_the_hub(alice: OldClient):
    artifact_id = (await alice.upload(b"<script>alert(1)</script>"))["_id"]
    url = (await alice.post("artifact.getDownloadUrl", data={"id": artifact_id}))["data"]["download"]
    headers = (await alice.client.get(url)).headers
    assert headers["content-type"] == "application/octet-stream"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["content-disposition"].startswith("attachment")
    assert "sandbox" in headers["content-security-policy"]
