from __future__ import annotations

from hashlib import sha256
from statistics import mean

import pytest

from palomar.documents.chunking import (
    MAX_CHUNK_BYTES,
    MAX_CHUNK_DOCUMENTS,
    MAX_DOCUMENT_BYTES,
    MEAN_CHUNK_BYTES,
    MIN_CHUNK_BYTES,
    RULE,
    cut,
    ends_chunk,
)

FROZEN_COUNTS = [89, 146, 260, 278, 452, 97, 128, 480, 272, 518, 207, 597, 513, 461, 217, 257, 28]
NEVER, ALWAYS = b"\xff" * 32, bytes(32)


def hashed(number: int) -> bytes:
    return sha256(number.to_bytes(8)).digest()


@pytest.mark.parametrize("size", [100, 2048, 30_000, 200_000])
def test_mean_does_not_depend_on_the_size_of_documents(size: int) -> None:
    documents = min(400 * MEAN_CHUNK_BYTES // size, 1_000_000)
    counts = list(cut((size - 4, hashed(number)) for number in range(documents)))
    assert sum(counts) == documents
    assert 0.85 * MEAN_CHUNK_BYTES < mean(count * size for count in counts) < 1.2 * MEAN_CHUNK_BYTES


def test_no_boundary_below_the_minimum() -> None:
    size = 1024
    assert list(cut([(size - 4, ALWAYS)] * 512)) == [MIN_CHUNK_BYTES // size] * 2


def test_no_chunk_above_the_maximum() -> None:
    size = 1024
    full = MAX_CHUNK_BYTES // size
    assert list(cut([(size - 4, NEVER)] * (full + 1))) == [full, 1]


def test_documents_of_a_chunk_are_limited() -> None:
    assert list(cut([(0, NEVER)] * (MAX_CHUNK_DOCUMENTS + 3))) == [MAX_CHUNK_DOCUMENTS, 3]


def test_large_document_is_alone() -> None:
    small, large = (100, NEVER), (MAX_DOCUMENT_BYTES + 1, NEVER)
    assert list(cut([small, small, large, large, small])) == [2, 1, 1, 1]


def test_empty_array_has_no_chunk() -> None:
    assert list(cut([])) == []


def test_rule_is_frozen() -> None:
    """Stored chunks were cut by these numbers: another outcome is another rule."""
    counts = list(cut((number * 7919 % 6000, hashed(number)) for number in range(5000)))
    assert RULE == 1
    assert counts == FROZEN_COUNTS


def test_threshold_is_frozen() -> None:
    threshold = 2048 * (2**64 // (768 * 1024))
    assert ends_chunk(MIN_CHUNK_BYTES, 1, 2048, (threshold - 1).to_bytes(8))
    assert not ends_chunk(MIN_CHUNK_BYTES, 1, 2048, threshold.to_bytes(8))
    assert not ends_chunk(MIN_CHUNK_BYTES - 1, 1, 2048, ALWAYS)
