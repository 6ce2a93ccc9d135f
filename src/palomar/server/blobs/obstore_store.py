"""Blobs as objects: S3 and what speaks like it, Google Cloud Storage, Azure.

Reads fetch ranges, one request each, and never hold a response open: a slow reader cannot run into the time limit of a
request, a range that fails is retried by itself, and a stream that stops early leaves nothing behind. Writes of more
than one part are multipart uploads.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, PermissionDeniedError, UnauthenticatedError

from palomar.contract.errors import Busy, PalomarError, StorageFull, Unavailable

from . import layout
from .port import BLOCK_BYTES, BlobExists, BlobInfo, BlobMissing, Buffer, check_range

if TYPE_CHECKING:
    from obstore.store import ObjectStore

# S3 takes 10,000 parts of at least 5 MiB: blobs of up to 80 GiB, in 40 MiB of memory for one writer.
PART_BYTES: Final = 8 << 20
PARALLEL_PARTS: Final = 4
_PARALLEL_DELETES: Final = 8
# Shorter than any key, so nothing can lie below it.
_NOWHERE: Final = "ping"


class ObstoreBlobStore:
    """A blob store over an object store of obstore's; see ``BlobStore`` for the methods.

    A put of one part is create-only on the server. A multipart upload is checked just before it is completed, since
    the interface offers no condition there; that finds mistakes, and two writers of one key do not occur otherwise.
    """

    def __init__(self, store: ObjectStore, *, part_bytes: int = PART_BYTES) -> None:
        self._store = store
        self._part_bytes = part_bytes

    # --- write ---------------------------------------------------------------------------------------------------

    async def put(self, key: str, data: Buffer | Sequence[Buffer]) -> None:
        parts = [data] if isinstance(data, bytes | bytearray | memoryview) else data
        async with self.writer(key) as writer:
            for part in parts:
                await writer.write(part)
            await writer.commit()

    @asynccontextmanager
    async def writer(self, key: str) -> AsyncIterator[_ObjectWriter]:
        writer = _ObjectWriter(self._store, key, self._part_bytes)
        try:
            yield writer
        finally:
            await writer.close()

    async def delete(self, key: str) -> None:
        # S3 does not mind a missing object, others do.
        with suppress(BlobMissing), _reading(key):
            await obstore.delete_async(self._store, layout.object_path(key))

    async def delete_many(self, keys: Sequence[str]) -> dict[str, Exception]:
        paths = [layout.object_path(key) for key in keys]
        with suppress(PalomarError, FileNotFoundError), _translated():
            # One request for a thousand of S3, several at a time of others.
            await obstore.delete_async(self._store, paths)
            return {}
        return await self._delete_singly(keys)

    async def _delete_singly(self, keys: Sequence[str]) -> dict[str, Exception]:
        """The answer to many does not say which was refused, and some stores mind one that is missing."""
        limit = asyncio.Semaphore(_PARALLEL_DELETES)

        async def refusal(key: str) -> PalomarError | None:
            async with limit:
                try:
                    await self.delete(key)
                except PalomarError as error:
                    return error
            return None

        refused = zip(keys, await asyncio.gather(*map(refusal, keys)), strict=True)
        return {key: error for key, error in refused if error is not None}

    # --- read ----------------------------------------------------------------------------------------------------

    async def read(self, key: str) -> bytes:
        with _reading(key):
            result = await obstore.get_async(self._store, layout.object_path(key))
            return bytes(await result.bytes_async())

    async def read_range(self, key: str, start: int, length: int) -> bytes:
        check_range(start, length)
        try:
            return await self._fetch(key, start, start + length) if length else await self._nothing(key)
        except Busy:
            # How a range past the end is refused cannot be told from other trouble; the size tells.
            if start < await self.size(key):
                raise
            return b""

    async def _nothing(self, key: str) -> bytes:
        """An empty range, which no server can be asked for; the blob must be there all the same."""
        await self.size(key)
        return b""

    async def stream(
        self, key: str, *, start: int = 0, length: int | None = None, block_bytes: int = BLOCK_BYTES
    ) -> AsyncGenerator[bytes, None]:
        check_range(start, length)
        size = await self.size(key)
        end = size if length is None else min(size, start + length)
        for at in range(start, end, self._part_bytes):
            part = await self._fetch(key, at, min(at + self._part_bytes, end))
            for first in range(0, len(part), block_bytes):
                yield part[first : first + block_bytes]

    async def _fetch(self, key: str, start: int, end: int) -> bytes:
        with _reading(key):
            return bytes(await obstore.get_range_async(self._store, layout.object_path(key), start=start, end=end))

    async def size(self, key: str) -> int:
        with _reading(key):
            return (await obstore.head_async(self._store, layout.object_path(key)))["size"]

    def local_path(self, key: str) -> Path | None:
        layout.folder_of(key)
        return None

    # --- the store itself ----------------------------------------------------------------------------------------

    async def list(self, *, older_than: datetime | None = None) -> AsyncGenerator[BlobInfo, None]:
        pages = obstore.list(self._store, chunk_size=1000)
        while page := await _next_page(pages):
            for found in page:
                key = found["path"].rpartition("/")[2]
                is_old = older_than is None or found["last_modified"] < older_than
                if is_old and layout.is_key(key) and found["path"] == layout.object_path(key):
                    yield BlobInfo(key, found["size"], found["last_modified"])

    async def ping(self) -> None:
        # Not a look at one object: a missing bucket and a missing object answer alike.
        with _translated():
            await obstore.list(self._store, prefix=_NOWHERE).collect_async()

    async def close(self) -> None:
        """Nothing to do: connections end with the last reference to the store."""


async def _next_page(pages: obstore.ListStream[Sequence[obstore.ObjectMeta]]) -> Sequence[obstore.ObjectMeta]:
    with _translated():
        try:
            return await anext(pages)
        except StopAsyncIteration:
            return ()


class _Discarded(Exception):
    """Raised inside the stream of parts, which is how an upload is told to abort."""


class _ObjectWriter:
    """One put if the blob fits in a part, else a multipart upload that is fed part by part.

    The upload reads from ``_handed_over_parts``. Only an error raised there makes obstore abort a multipart upload; a
    task that is cancelled, or obstore's own writer when it is dropped, would leave its parts on the server, unseen.
    """

    def __init__(self, store: ObjectStore, key: str, part_bytes: int) -> None:
        self._store = store
        self._key = key
        self._path = layout.object_path(key)
        self._part_bytes = part_bytes
        self._part = bytearray()
        self._handover: asyncio.Queue[bytes | _Discarded | None] = asyncio.Queue(maxsize=1)
        self._upload: asyncio.Task[object] | None = None

    async def write(self, data: Buffer) -> None:
        view = memoryview(data).cast("B")
        while view:
            room = self._part_bytes - len(self._part)
            self._part += view[:room]
            view = view[room:]
            if len(self._part) == self._part_bytes and view:
                await self._send_part()

    async def commit(self) -> None:
        if self._upload is None:
            with _writing(self._key):
                await obstore.put_async(self._store, self._path, bytes(self._part), mode="create")
            return
        await self._send_part()
        await self._refuse_existing()
        await self._hand_over(None)
        with _writing(self._key):
            await asyncio.shield(self._upload)

    async def close(self) -> None:
        """Abort the upload unless it has ended."""
        if self._upload is None:
            return
        # What went wrong was said before; parts that cannot be removed now are the lifecycle rule's.
        with suppress(PalomarError):
            await self._hand_over(_Discarded())
        # Not awaited itself: that would hand on a cancellation, and a cancelled upload is not aborted.
        await asyncio.wait([self._upload])
        self._upload.exception()

    async def _send_part(self) -> None:
        if self._upload is None:
            self._upload = asyncio.create_task(self._run_upload())
        part, self._part = bytes(self._part), bytearray()
        await self._hand_over(part)

    async def _run_upload(self) -> object:
        return await obstore.put_async(
            self._store,
            self._path,
            self._handed_over_parts(),
            use_multipart=True,
            chunk_size=self._part_bytes,
            max_concurrency=PARALLEL_PARTS,
        )

    async def _handed_over_parts(self) -> AsyncIterator[bytes]:
        while (item := await self._handover.get()) is not None:
            if isinstance(item, _Discarded):
                raise item
            yield item

    async def _hand_over(self, item: bytes | _Discarded | None) -> None:
        """Give the upload its next part, unless it ended: then nobody would ever take it."""
        assert self._upload is not None  # noqa: S101 -- started before the first part
        handing = asyncio.create_task(self._handover.put(item))
        try:
            await asyncio.wait({handing, self._upload}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            handing.cancel()
        if self._upload.done():
            with _writing(self._key):
                self._upload.result()

    async def _refuse_existing(self) -> None:
        with suppress(BlobMissing), _reading(self._key):
            await obstore.head_async(self._store, self._path)
            raise BlobExists(self._key)


@contextmanager
def _reading(key: str) -> Iterator[None]:
    with _translated():
        try:
            yield
        except FileNotFoundError:
            raise BlobMissing(key) from None


@contextmanager
def _writing(key: str) -> Iterator[None]:
    with _translated():
        try:
            yield
        except AlreadyExistsError:
            raise BlobExists(key) from None
        except FileNotFoundError as error:
            # Nothing but the bucket can be missing.
            raise Unavailable from error


@contextmanager
def _translated() -> Iterator[None]:
    """The store's trouble as the domain's; the cause stays attached, for the log."""
    try:
        yield
    except (PermissionDeniedError, UnauthenticatedError) as error:
        raise Unavailable from error
    except BaseError as error:
        # How MinIO and others say it; obstore has no class of its own, and only the text to tell.
        if "507 Insufficient Storage" in str(error):
            raise StorageFull from error
        raise Busy("The blob store does not answer as it should") from error
