"""The document index: per document its length and the first 16 bytes of its SHA-256, 20 bytes each, in order.

The index of a version is the concatenation of its chunks' ``ChunkFacts.index``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

from palomar.contract.errors import MalformedStream
from palomar.documents.facts import INDEX_DIGEST_BYTES, LENGTH

ENTRY_BYTES: Final = LENGTH.size + INDEX_DIGEST_BYTES


class IndexEntry(NamedTuple):
    """``length`` of the canonical document and the first bytes of its SHA-256."""

    length: int
    digest: bytes


@dataclass(frozen=True, slots=True)
class IndexDiff:
    """``removed`` are positions in the old array, ``added`` in the new one, both ascending.

    A document that changed in place is in both; one that only moved is in neither.
    """

    removed: tuple[int, ...]
    added: tuple[int, ...]


class DocumentIndex:
    """Reads an index; raises MalformedStream for bytes that are none."""

    def __init__(self, data: bytes) -> None:
        if len(data) % ENTRY_BYTES:
            raise MalformedStream(f"a document index has {ENTRY_BYTES} bytes per document")
        self._data = data

    def __len__(self) -> int:
        return len(self._data) // ENTRY_BYTES

    def __iter__(self) -> Iterator[IndexEntry]:
        return map(self.entry, range(len(self)))

    @property
    def count(self) -> int:
        return len(self)

    def entry(self, position: int) -> IndexEntry:
        """Raises IndexError when there is no such document."""
        packed = self.packed(position)
        return IndexEntry(LENGTH.unpack_from(packed)[0], packed[LENGTH.size :])

    def packed(self, position: int) -> bytes:
        """The 20 bytes of one entry."""
        if not 0 <= position < len(self):
            raise IndexError(f"there is no document {position} among {len(self)}")
        return self._data[position * ENTRY_BYTES : (position + 1) * ENTRY_BYTES]


def diff(old: DocumentIndex, new: DocumentIndex) -> IndexDiff:
    """Which documents were removed and added, as multisets; takes linear time."""
    return IndexDiff(removed=_unmatched(old, new), added=_unmatched(new, old))


def _unmatched(index: DocumentIndex, other: DocumentIndex) -> tuple[int, ...]:
    """The positions in ``index`` of what ``other`` does not have, or has fewer times."""
    left = Counter(map(other.packed, range(len(other))))
    unmatched = []
    for position in range(len(index)):
        entry = index.packed(position)
        if left[entry] > 0:
            left[entry] -= 1
        else:
            unmatched.append(position)
    return tuple(unmatched)
