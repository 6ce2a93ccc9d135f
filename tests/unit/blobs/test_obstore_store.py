"""The object store adapter on obstore's store in memory: quick, and not what anybody runs."""

from __future__ import annotations

import pytest
from obstore.store import MemoryStore

from palomar.server.blobs.layout import new_key
from palomar.server.blobs.obstore_store import ObstoreBlobStore
from palomar.server.blobs.port import BlobStore
from tests.suites.blob_store import BlobStoreSuite


@pytest.fixture
def store() -> BlobStore:
    return ObstoreBlobStore(MemoryStore(), part_bytes=1 << 20)


class TestObstoreBlobStore(BlobStoreSuite):
    pass


def test_an_object_store_keeps_no_files(store: BlobStore):
    assert store.local_path(new_key()) is None
