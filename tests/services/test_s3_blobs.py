"""The object store adapter against a real S3 server over HTTP, on loopback."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest

from palomar.contract.errors import Busy, Unavailable
from palomar.server.blobs.layout import new_key, object_path
from palomar.server.blobs.open import RemoteOptions, open_store
from palomar.server.blobs.port import BlobStore
from tests.suites.blob_store import BlobStoreSuite, listed_keys, some_bytes, stored, write_blob

pytestmark = pytest.mark.slow

REGION = "us-east-1"
OPTIONS = RemoteOptions(
    access_key_id="alice", secret_access_key="secret", connect_timeout_s=2, max_retries=1, retry_timeout_s=5
)


@pytest.fixture
def s3(s3_endpoint: str) -> Iterator[Any]:
    client = boto3.client(
        "s3",
        endpoint_url=s3_endpoint,
        region_name=REGION,
        aws_access_key_id=OPTIONS.access_key_id,
        aws_secret_access_key=OPTIONS.secret_access_key,
    )
    yield client
    client.close()


@pytest.fixture
def bucket(s3: Any) -> str:
    name = f"palomar-{uuid.uuid4().hex[:12]}"
    s3.create_bucket(Bucket=name)
    return name


def open_s3(endpoint: str, place: str) -> BlobStore:
    return open_store(f"s3://{place}?endpoint={endpoint}&region={REGION}", data_dir=Path("/nowhere"), options=OPTIONS)


@pytest.fixture
def store(s3_endpoint: str, bucket: str) -> BlobStore:
    return open_s3(s3_endpoint, f"{bucket}/some/prefix")


class TestS3BlobStore(BlobStoreSuite):
    # Three parts of 8 MiB.
    large_bytes = 20 * (1 << 20) + 12345


async def test_objects_lie_below_the_prefix(store: BlobStore, s3: Any, bucket: str):
    key = await stored(store, b"data")
    found = s3.list_objects_v2(Bucket=bucket)["Contents"]
    assert [item["Key"] for item in found] == [f"some/prefix/{object_path(key)}"]


async def test_stores_of_other_prefixes_are_separate(s3_endpoint: str, bucket: str):
    first, second = open_s3(s3_endpoint, f"{bucket}/first"), open_s3(s3_endpoint, f"{bucket}/second")
    key = await stored(first, b"data")
    assert await listed_keys(first) == {key}
    assert await listed_keys(second) == set()


async def test_foreign_objects_are_not_listed(store: BlobStore, s3: Any, bucket: str):
    key = await stored(store, b"data")
    s3.put_object(Bucket=bucket, Key="some/prefix/notes.txt", Body=b"mine")
    s3.put_object(Bucket=bucket, Key=f"some/prefix/{new_key()}", Body=b"not in its folder")
    assert await listed_keys(store) == {key}


async def test_a_long_list_is_whole(store: BlobStore, s3: Any, bucket: str):
    """More than one page of a thousand."""
    keys = {new_key() for _ in range(1100)}
    for key in keys:
        s3.put_object(Bucket=bucket, Key=f"some/prefix/{object_path(key)}", Body=b"")
    assert await listed_keys(store) == keys


async def test_a_discarded_large_blob_leaves_no_parts(store: BlobStore, s3: Any, bucket: str):
    async with store.writer(new_key()) as writer:
        await writer.write(some_bytes(20 << 20))
    assert "Uploads" not in s3.list_multipart_uploads(Bucket=bucket)


async def test_a_missing_bucket_is_the_hubs_trouble(s3_endpoint: str):
    store = open_s3(s3_endpoint, "no-such-bucket")
    with pytest.raises(Unavailable):
        await store.ping()
    with pytest.raises(Unavailable):
        await store.put(new_key(), b"data")
    with pytest.raises(Unavailable):
        await write_blob(store, new_key(), [some_bytes(4 << 20)] * 20)


async def test_a_server_that_is_not_there_is_the_hubs_trouble():
    store = open_s3("http://127.0.0.1:9", "bucket")
    with pytest.raises(Busy):
        await store.ping()
    with pytest.raises(Busy):
        await store.read(new_key())
    with pytest.raises(Busy):
        await store.put(new_key(), b"data")
    with pytest.raises(Busy):
        await write_blob(store, new_key(), [some_bytes(4 << 20)] * 20)
