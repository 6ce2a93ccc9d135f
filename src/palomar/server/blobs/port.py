"""What the hub asks of a place that keeps bytes.

A blob is opaque and never changes. Its key comes from ``layout.new_key``, never from a user, and is used once: digests,
names and content types live in the database. The order that keeps everything safe is therefore always the same: put
the blob, then commit the row that names it; delete the row, then the blob. A blob without a row is garbage, which
collection removes after a grace period; a row without a blob cannot happen.

What a store does precisely is said by the contract suite in ``tests/suites/blob_store.py``.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol, TypeAlias

BLOCK_BYTES = 1 << 20

Buffer: TypeAlias = bytes | bytearray | memoryview


class BlobMissing(LookupError):
    """No blob has this key: it was never put, or was collected."""

    def __init__(self, key: str) -> None:
        super().__init__(f"no blob has the key {key!r}")
        self.key = key


class BlobExists(ValueError):
    """The key is in use: keys are used once, so this is a mistake in the program and no race."""

    def __init__(self, key: str) -> None:
        super().__init__(f"a blob with the key {key!r} exists; keys are used once")
        self.key = key


@dataclass(frozen=True, slots=True)
class BlobInfo:
    key: str
    size_bytes: int
    modified_at: datetime


class BlobWriter(Protocol):
    """One blob that is being written; not for use by two tasks at once."""

    async def write(self, data: Buffer) -> None:
        """Append; may return before the bytes have left memory. The buffer may be reused afterwards.

        Raises:
            StorageFull: Here or at the commit; leave the context manager, nothing remains.
        """

    async def commit(self) -> None:
        """Make the blob visible under its key, durable on return. The last call.

        If it is cancelled, the blob may or may not exist; as no row names it, collection removes it.

        Raises:
            BlobExists: The key is in use; the blob there is untouched.
            StorageFull: Nothing remains.
        """


class BlobStore(Protocol):
    """A place for blobs. Several processes may use one place at once.

    Every method that takes a key raises ``ValueError`` for a string that ``layout.new_key`` cannot have made. A store
    that cannot be reached raises ``Busy`` or ``Unavailable``.
    """

    async def put(self, key: str, data: Buffer | Sequence[Buffer]) -> None:
        """Store a whole blob, or the concatenation of a sequence; durable on return.

        Raises:
            BlobExists: The key is in use; the blob there is untouched.
            StorageFull: Nothing remains.
        """

    def writer(self, key: str) -> AbstractAsyncContextManager[BlobWriter]:
        """A blob written in pieces, in bounded memory. Leaving without ``commit`` discards everything."""

    async def read(self, key: str) -> bytes:
        """The whole blob. For large ones use ``stream``."""

    async def read_range(self, key: str, start: int, length: int) -> bytes:
        """The bytes ``start:start + length``; as with a slice, what lies past the end is left out.

        Raises:
            ValueError: A negative number.
        """

    def stream(
        self, key: str, *, start: int = 0, length: int | None = None, block_bytes: int = BLOCK_BYTES
    ) -> AsyncGenerator[bytes, None]:
        """The same range in blocks of at most ``block_bytes``, none of them empty.

        Errors are raised by the first step, not by the call. Use ``contextlib.aclosing`` where it may stop early. On
        the local store a blob that is deleted meanwhile can still be read to its end.
        """

    async def size(self, key: str) -> int:
        """The number of bytes."""

    async def delete(self, key: str) -> None:
        """Remove the blob; no error if there is none. A crash right afterwards may bring it back."""

    async def delete_many(self, keys: Sequence[str]) -> dict[str, Exception]:
        """Remove all of them, as ``delete`` does, in as few calls as the store allows; for hundreds at a time.

        Returns those that were refused, which may still be there, with the reason; the others are gone.
        """

    def list(self, *, older_than: datetime | None = None) -> AsyncGenerator[BlobInfo, None]:
        """Every committed blob, in no order; with ``older_than`` (aware) only those last modified before.

        Blobs that come and go meanwhile may or may not appear.
        """

    async def ping(self) -> None:
        """Raise if the store cannot be reached. A full disk is no failure here: it can still serve pulls."""

    async def close(self) -> None:
        """Give back threads and connections; call once, after the last use."""

    def local_path(self, key: str) -> Path | None:
        """The file that holds the blob, for a web server to send, or None if the store keeps no files.

        The file need not exist; it must only be read.
        """


def check_range(start: int, length: int | None) -> None:
    """Refuse negative numbers, in every store alike."""
    if start < 0 or (length is not None and length < 0):
        raise ValueError(f"a range starts at 0 or later and has no negative length: not {start}, {length}")
