"""Blobs as files: what is committed survives a power cut, what is not leaves nothing.

A blob is written to a temporary file on the same file system, synchronised, given its name by a call that never
replaces a file, and the folder with the name is synchronised; only then is it reported as stored. Blocking calls run in
the store's own threads, so that waiting for a disk does not hold up name look-ups or password hashes.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, ParamSpec, TypeVar

from palomar.contract.errors import Busy

from . import layout
from .disk import Disk, full_disk_refused
from .port import BLOCK_BYTES, BlobExists, BlobInfo, BlobMissing, Buffer, check_range
from .scratch import Scratch, TemporaryFile

P = ParamSpec("P")
T = TypeVar("T")

_HEX: Final = "0123456789abcdef"
# Half of them, so that pushes and pulls find one.
_DELETING_THREADS: Final = 4


class LocalBlobStore:
    """A blob store in a folder, which is made if need be; see ``BlobStore`` for the methods.

    Making one does blocking work (folders, left-overs of crashes): do it at start.
    """

    def __init__(self, root: Path, *, threads: int = 8, disk: Disk | None = None) -> None:
        self._root = root.absolute()
        self._objects = self._root / layout.OBJECTS
        self._disk = disk or Disk()
        with full_disk_refused():
            self._disk.make_durable_folder(self._objects)
            self._scratch = Scratch(self._root / layout.SCRATCH, self._disk)
        self._durable_folders: set[Path] = set()
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="blobs")

    # --- write ---------------------------------------------------------------------------------------------------

    async def put(self, key: str, data: Buffer | Sequence[Buffer]) -> None:
        target = self.local_path(key)
        parts = [data] if isinstance(data, bytes | bytearray | memoryview) else data
        await self._run(self._put, key, target, parts)

    def _put(self, key: str, target: Path, parts: Sequence[Buffer]) -> None:
        with full_disk_refused(), self._scratch.open() as file:
            file.write(parts)
            self._commit(key, target, file)

    @asynccontextmanager
    async def writer(self, key: str) -> AsyncIterator[_LocalWriter]:
        writer = _LocalWriter(self, key, self.local_path(key))
        try:
            yield writer
        finally:
            await self._run(writer.close)

    def _commit(self, key: str, target: Path, file: TemporaryFile) -> None:
        file.sync()
        self._prepare_folder(target.parent)
        try:
            file.publish(target)
        except FileExistsError:
            raise BlobExists(key) from None
        self._sync_name(target)

    def _sync_name(self, target: Path) -> None:
        try:
            self._disk.sync_folder(target.parent)
        except BaseException:
            # Not durable means not stored: the caller is told so, and must not find it later.
            self._disk.remove(target)
            raise

    def _prepare_folder(self, folder: Path) -> None:
        """The folder exists durably; known after the first time, so the steady state costs nothing.

        A folder that is there already is synchronised all the same: the process that made it may not have come so far.
        Two threads may do it at once, which is harmless. Folders are never removed.
        """
        for path in (folder.parent, folder):
            if path not in self._durable_folders:
                self._disk.make_folder(path)
                self._disk.sync_folder(path.parent)
                self._durable_folders.add(path)

    async def delete(self, key: str) -> None:
        await self._run(self._disk.remove, self.local_path(key))

    async def delete_many(self, keys: Sequence[str]) -> dict[str, Exception]:
        paths = [(key, self.local_path(key)) for key in keys]
        # A trip to a thread takes as long as several deletions.
        parts = (paths[first::_DELETING_THREADS] for first in range(_DELETING_THREADS))
        refused = await asyncio.gather(*(self._run(self._remove_all, part) for part in parts if part))
        return {key: error for part in refused for key, error in part.items()}

    def _remove_all(self, paths: Sequence[tuple[str, Path]]) -> dict[str, Exception]:
        refused: dict[str, Exception] = {}
        for key, path in paths:
            try:
                self._disk.remove(path)
            except OSError as error:
                refused[key] = error
        return refused

    # --- read ----------------------------------------------------------------------------------------------------

    async def read(self, key: str) -> bytes:
        return await self._run(_read_all, key, self.local_path(key))

    async def read_range(self, key: str, start: int, length: int) -> bytes:
        check_range(start, length)
        return await self._run(_read_range, key, self.local_path(key), start, length)

    async def stream(
        self, key: str, *, start: int = 0, length: int | None = None, block_bytes: int = BLOCK_BYTES
    ) -> AsyncGenerator[bytes, None]:
        check_range(start, length)
        file = _OpenBlob(key, self.local_path(key))
        try:
            at, end = await self._run(file.span, start, length)
            while at < end:
                block = await self._run(file.read, at, min(block_bytes, end - at))
                if not block:
                    return  # somebody cut the file; the reader's checksum says so
                yield block
                at += len(block)
        finally:
            file.close()

    async def size(self, key: str) -> int:
        return await self._run(_size, key, self.local_path(key))

    def local_path(self, key: str) -> Path:
        outer, inner = layout.folder_of(key)
        return self._objects / outer / inner / key

    # --- the store itself ----------------------------------------------------------------------------------------

    async def list(self, *, older_than: datetime | None = None) -> AsyncGenerator[BlobInfo, None]:
        for folder in _folders(self._objects):
            for blob in await self._run(_blobs_in, folder):
                if older_than is None or blob.modified_at < older_than:
                    yield blob

    async def ping(self) -> None:
        if not await self._run(os.access, self._objects, os.R_OK | os.W_OK | os.X_OK):
            raise Busy(f"The blob folder {self._objects} cannot be read and written")

    async def close(self) -> None:
        await self._run(self._scratch.close)
        self._threads.shutdown(wait=True)

    async def _run(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call in a thread; a cancelled caller leaves only when the thread has finished.

        Otherwise a file could be closed, and its number given to another one, while the thread still writes to it.
        """
        future = asyncio.get_running_loop().run_in_executor(self._threads, lambda: function(*args, **kwargs))
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            await _wait_through(future)
            raise


async def _wait_through(future: asyncio.Future[T]) -> None:
    """Wait to the end whatever happens, and take the result out so that nobody complains of it."""
    while not future.done():
        try:
            await asyncio.wait([future])
        except asyncio.CancelledError:
            continue
    future.exception()


class _LocalWriter:
    """Collects small pieces to a block, so that a thread is asked once per block and not once per piece."""

    def __init__(self, store: LocalBlobStore, key: str, target: Path) -> None:
        self._store = store
        self._key = key
        self._target = target
        # Opened by the first thread that needs it: a caller that is cancelled meanwhile can still close it.
        self._file: TemporaryFile | None = None
        self._parts: list[bytes] = []
        self._waiting_bytes = 0

    async def write(self, data: Buffer) -> None:
        part = bytes(data)  # copies nothing if they are bytes already
        self._parts.append(part)
        self._waiting_bytes += len(part)
        if self._waiting_bytes >= BLOCK_BYTES:
            await self._store._run(self._flush)  # noqa: SLF001 -- the store's own other half

    async def commit(self) -> None:
        await self._store._run(self._finish)  # noqa: SLF001

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def _finish(self) -> None:
        with full_disk_refused():
            self._store._commit(self._key, self._target, self._flush())  # noqa: SLF001

    def _flush(self) -> TemporaryFile:
        parts, self._parts, self._waiting_bytes = self._parts, [], 0
        with full_disk_refused():
            if self._file is None:
                self._file = self._store._scratch.open()  # noqa: SLF001
            self._file.write(parts)
        return self._file


class _OpenBlob:
    """A file that is opened by a thread and can be closed by a caller who was cancelled meanwhile."""

    def __init__(self, key: str, path: Path) -> None:
        self._key = key
        self._path = path
        self._descriptor: int | None = None

    def span(self, start: int, length: int | None) -> tuple[int, int]:
        """Open, and say from where to where the range goes in this file."""
        with _missing(self._key):
            self._descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        size = os.fstat(self._descriptor).st_size
        return start, size if length is None else min(size, start + length)

    def read(self, start: int, length: int) -> bytes:
        assert self._descriptor is not None  # noqa: S101 -- span came first
        return os.pread(self._descriptor, length, start)

    def close(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)


@contextmanager
def _missing(key: str) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise BlobMissing(key) from None


def _read_all(key: str, path: Path) -> bytes:
    with _missing(key):
        return path.read_bytes()


def _read_range(key: str, path: Path, start: int, length: int) -> bytes:
    with _missing(key), path.open("rb") as file:
        file.seek(start)
        return file.read(length)


def _size(key: str, path: Path) -> int:
    with _missing(key):
        return path.stat().st_size


def _folders(objects: Path) -> Iterator[Path]:
    return (objects / outer / f"{first}{second}" for outer in _HEX for first in _HEX for second in _HEX)


def _blobs_in(folder: Path) -> list[BlobInfo]:
    """The blobs of one folder; other people's files are none of ours."""
    try:
        with os.scandir(folder) as entries:
            found = [_info(entry) for entry in entries if layout.is_key(entry.name)]
    except FileNotFoundError:
        return []
    return [blob for blob in found if blob is not None]


def _info(entry: os.DirEntry[str]) -> BlobInfo | None:
    try:
        status = entry.stat(follow_symlinks=False)
    except FileNotFoundError:
        return None
    return BlobInfo(entry.name, status.st_size, datetime.fromtimestamp(status.st_mtime, UTC))
