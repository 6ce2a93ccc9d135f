from __future__ import annotations

from hashlib import sha256

import pytest

from palomar.contract.errors import MalformedStream
from palomar.documents.index import DocumentIndex, IndexDiff, IndexEntry, diff


def index_of(*documents: bytes) -> DocumentIndex:
    return DocumentIndex(b"".join(len(one).to_bytes(4) + sha256(one).digest()[:16] for one in documents))


def test_entries() -> None:
    index = index_of(b"a", b"bcd")
    assert index.count == len(index) == 2
    assert index.entry(1) == IndexEntry(3, sha256(b"bcd").digest()[:16])
    assert list(index) == [index.entry(0), index.entry(1)]


@pytest.mark.parametrize("position", [-1, 2])
def test_entry_that_is_not_there(position: int) -> None:
    with pytest.raises(IndexError, match="among 2"):
        index_of(b"a", b"b").entry(position)


def test_foreign_bytes_are_refused() -> None:
    with pytest.raises(MalformedStream, match="20 bytes per document"):
        DocumentIndex(b"x" * 21)


def test_diff_tells_what_went_and_came() -> None:
    old, new = index_of(b"a", b"b", b"c", b"c", b"d"), index_of(b"d", b"x", b"a", b"c", b"y")
    assert diff(old, new) == IndexDiff(removed=(1, 3), added=(1, 4))
    assert diff(old, old) == IndexDiff((), ())
    assert diff(index_of(), new) == IndexDiff((), (0, 1, 2, 3, 4))
