"""The local store: the suite, and what survives a crash, a full disk and a second process."""

from __future__ import annotations

import asyncio
import errno
import os
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import aclosing
from pathlib import Path

import pytest

from palomar.contract.errors import Busy, StorageFull
from palomar.server.blobs.disk import Disk
from palomar.server.blobs.layout import new_key
from palomar.server.blobs.local import LocalBlobStore
from palomar.server.blobs.port import BlobMissing, Buffer
from palomar.server.blobs.scratch import ABANDONED_S
from tests.suites.blob_store import BlobStoreSuite, collect, listed_keys, some_bytes, stored, write_blob

MIB = 1 << 20


def files_below(root: Path) -> set[Path]:
    return {path for path in root.rglob("*") if path.is_file()}


def open_descriptors(below: Path) -> list[str]:
    """The files of the store that this process has open (Linux), its lock aside."""
    targets = []
    for descriptor in Path("/proc/self/fd").iterdir():
        try:
            targets.append(str(descriptor.readlink()))
        except FileNotFoundError:
            continue
    return [target for target in targets if target.startswith(str(below / "objects"))]


class RecordingDisk(Disk):
    """The real disk; writes down what it is asked for, and fails where it is told to."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, Path]] = []
        self.failing: dict[str, int] = {}
        self._paths: dict[int, Path] = {}

    def _note(self, name: str, path: Path) -> None:
        self.calls.append((name, path))
        if name in self.failing:
            code = self.failing[name]
            raise OSError(code, os.strerror(code))

    def create(self, path: Path) -> int:
        self._note("create", path)
        descriptor = super().create(path)
        self._paths[descriptor] = path
        return descriptor

    def write(self, descriptor: int, parts: Sequence[Buffer]) -> int:
        self._note("write", self._paths[descriptor])
        return super().write(descriptor, parts)

    def sync(self, descriptor: int) -> None:
        if descriptor in self._paths:
            self._note("sync", self._paths[descriptor])
        super().sync(descriptor)

    def sync_folder(self, path: Path) -> None:
        self._note("sync_folder", path)
        # Its descriptor may have the number of a file that was closed.
        self._paths = {number: known for number, known in self._paths.items() if known.exists()}
        super().sync_folder(path)

    def publish(self, source: Path, target: Path) -> None:
        self._note("publish", target)
        super().publish(source, target)

    def make_folder(self, path: Path) -> None:
        self._note("make_folder", path)
        super().make_folder(path)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "data" / "blobs"


@pytest.fixture
def disk() -> RecordingDisk:
    return RecordingDisk()


@pytest.fixture
async def store(root: Path) -> AsyncIterator[LocalBlobStore]:
    store = LocalBlobStore(root)
    yield store
    await store.close()


@pytest.fixture
async def watched(root: Path, disk: RecordingDisk) -> AsyncIterator[LocalBlobStore]:
    store = LocalBlobStore(root, disk=disk)
    disk.calls.clear()
    yield store
    disk.failing.clear()
    await store.close()


class TestLocalBlobStore(BlobStoreSuite):
    pass


# --- crash safety ------------------------------------------------------------------------------------------------


async def test_a_put_is_durable_in_the_right_order(watched: LocalBlobStore, disk: RecordingDisk, root: Path):
    key = new_key()
    await watched.put(key, b"data")
    target = watched.local_path(key)
    temporary = disk.calls[0][1]
    assert temporary.parent.parent == root / "tmp"
    assert disk.calls == [
        ("create", temporary),
        ("write", temporary),
        ("sync", temporary),
        ("make_folder", target.parent.parent),
        ("sync_folder", root / "objects"),
        ("make_folder", target.parent),
        ("sync_folder", target.parent.parent),
        ("publish", target),
        ("sync_folder", target.parent),
    ]


async def test_a_known_folder_is_not_synchronised_again(watched: LocalBlobStore, disk: RecordingDisk):
    first_key = await stored(watched, b"first")
    disk.calls.clear()
    second_key = f"{new_key()[:-3]}{first_key[-3:]}"
    await watched.put(second_key, b"second")
    target = watched.local_path(second_key)
    assert [name for name, _ in disk.calls] == ["create", "write", "sync", "publish", "sync_folder"]
    assert disk.calls[-1] == ("sync_folder", target.parent)


async def test_a_folder_made_by_another_process_is_synchronised_once(
    store: LocalBlobStore, watched: LocalBlobStore, disk: RecordingDisk
):
    """The other one may have made it and not have come to its fsync."""
    first_key = await stored(store, b"first")
    second_key = f"{new_key()[:-3]}{first_key[-3:]}"
    await watched.put(second_key, b"second")
    folder = watched.local_path(second_key).parent
    assert ("sync_folder", folder.parent) in disk.calls
    assert ("sync_folder", folder.parent.parent) in disk.calls


def test_the_root_and_all_new_folders_above_it_are_synchronised(tmp_path: Path, disk: RecordingDisk):
    LocalBlobStore(tmp_path / "a" / "b", disk=disk)
    made = [tmp_path / "a", tmp_path / "a" / "b", tmp_path / "a" / "b" / "objects"]
    expected = [call for path in made for call in (("make_folder", path), ("sync_folder", path.parent))]
    assert disk.calls[: len(expected)] == expected


async def test_a_file_appears_only_on_commit(store: LocalBlobStore):
    key = new_key()
    async with store.writer(key) as writer:
        await writer.write(some_bytes(3 * MIB))
        assert not store.local_path(key).exists()
        await writer.commit()
        assert store.local_path(key).stat().st_size == 3 * MIB


async def test_no_temporary_file_outlives_its_use(store: LocalBlobStore, root: Path):
    await stored(store, b"data")
    async with store.writer(new_key()) as writer:
        await writer.write(some_bytes(2 * MIB))
        assert len(files_below(root / "tmp")) == 1
    assert files_below(root / "tmp") == set()


async def test_a_writer_that_was_cancelled_while_opening_leaves_nothing(store: LocalBlobStore, root: Path):
    tasks = [asyncio.create_task(write_blob(store, new_key(), [some_bytes(2 * MIB)])) for _ in range(20)]
    await asyncio.sleep(0)
    for task in tasks:
        task.cancel()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(outcome, asyncio.CancelledError) for outcome in outcomes)
    assert files_below(root / "tmp") == set()


class SlowDisk(Disk):
    """Says when a write has begun, and ends it when told."""

    def __init__(self) -> None:
        self.has_begun = threading.Event()
        self.may_end = threading.Event()

    def write(self, descriptor: int, parts: Sequence[Buffer]) -> int:
        self.has_begun.set()
        self.may_end.wait()
        return super().write(descriptor, parts)


async def test_a_cancelled_writer_waits_for_its_thread(root: Path):
    """Closing the file under the thread would let it write into whatever gets the same descriptor next."""
    disk = SlowDisk()
    store = LocalBlobStore(root, disk=disk)
    task = asyncio.create_task(write_blob(store, new_key(), [some_bytes(2 * MIB)]))
    await asyncio.to_thread(disk.has_begun.wait)
    for _ in range(3):
        task.cancel()
        for _ in range(10):
            await asyncio.sleep(0)
        assert not task.done()
        assert len(files_below(root / "tmp")) == 1
    disk.may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert files_below(root) == set()
    await store.close()


async def test_a_killed_process_loses_what_it_wrote_and_nothing_else(root: Path):
    program = """
import asyncio, os, signal, sys
from pathlib import Path
from palomar.server.blobs.local import LocalBlobStore

async def main():
    store = LocalBlobStore(Path(sys.argv[1]))
    await store.put(sys.argv[2], b"kept")
    async with store.writer(sys.argv[3]) as writer:
        await writer.write(bytes(3 << 20))
        os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""
    kept_key, lost_key = new_key(), new_key()
    killed = await asyncio.create_subprocess_exec(sys.executable, "-c", program, str(root), kept_key, lost_key)
    assert await killed.wait() == -9
    assert len(files_below(root / "tmp")) == 1
    store = LocalBlobStore(root)
    assert files_below(root / "tmp") == set()
    assert await listed_keys(store) == {kept_key}
    assert await store.read(kept_key) == b"kept"
    await store.close()


# --- several processes on one folder -----------------------------------------------------------------------------


async def test_a_second_store_leaves_the_files_of_a_living_one(store: LocalBlobStore, root: Path):
    key = new_key()
    async with store.writer(key) as writer:
        await writer.write(some_bytes(2 * MIB))
        (temporary,) = files_below(root / "tmp")
        os.utime(temporary, (0, 0))
        other = LocalBlobStore(root)
        await other.close()
        await writer.commit()
        assert await store.size(key) == 2 * MIB


async def test_stores_on_one_folder_see_the_same_blobs(store: LocalBlobStore, root: Path):
    other = LocalBlobStore(root)
    key = await stored(other, b"data")
    await other.close()
    assert await store.read(key) == b"data"


def lock_that_is_not_supported(*_: object) -> None:
    raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))


async def test_without_locks_only_old_temporary_files_are_removed(root: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("fcntl.flock", lock_that_is_not_supported)
    for name in ("old", "young"):
        folder = root / "tmp" / name
        folder.mkdir(parents=True)
        (folder / "file").write_bytes(b"data")
    past = (time.time() - ABANDONED_S - 60,) * 2
    for path in (root / "tmp" / "old" / "file", root / "tmp" / "old"):
        os.utime(path, past)
    store = LocalBlobStore(root)
    assert {path.parent.name for path in files_below(root / "tmp")} == {"young"}
    await stored(store, b"data")
    await store.close()


async def test_a_scratch_folder_that_was_tidied_away_comes_back(store: LocalBlobStore, root: Path):
    (folder,) = (root / "tmp").iterdir()
    folder.rmdir()
    key = await stored(store, b"data")
    assert await store.read(key) == b"data"


async def test_closing_removes_the_scratch_folder(root: Path):
    store = LocalBlobStore(root)
    assert len(list((root / "tmp").iterdir())) == 1
    await store.close()
    assert list((root / "tmp").iterdir()) == []


# --- trouble -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("call", ["create", "write", "sync", "make_folder", "publish", "sync_folder"])
async def test_a_full_disk_anywhere_is_said_and_leaves_nothing(
    watched: LocalBlobStore, disk: RecordingDisk, root: Path, call: str, code: int
):
    key = new_key()
    disk.failing = {call: code}
    with pytest.raises(StorageFull):
        await watched.put(key, b"data")
    with pytest.raises(StorageFull):
        await write_blob(watched, key, [some_bytes(2 * MIB)])
    assert files_below(root) == set()
    disk.failing = {}
    await watched.put(key, b"data")
    assert await watched.read(key) == b"data"


async def test_a_name_that_could_not_be_synchronised_is_taken_back(watched: LocalBlobStore, disk: RecordingDisk):
    known_key = await stored(watched, b"data")
    key = f"{new_key()[:-3]}{known_key[-3:]}"
    disk.failing = {"sync_folder": errno.EIO}
    with pytest.raises(OSError, match="Input/output"):
        await watched.put(key, b"data")
    with pytest.raises(BlobMissing):
        await watched.size(key)
    assert await watched.read(known_key) == b"data"


async def test_where_there_are_no_hard_links_a_put_still_replaces_nothing(
    store: LocalBlobStore, root: Path, monkeypatch: pytest.MonkeyPatch
):
    def refuse(*_: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", refuse)
    key = await stored(store, b"first")
    with pytest.raises(ValueError, match="used once"):
        await store.put(key, b"second")
    assert await store.read(key) == b"first"
    assert files_below(root / "tmp") == set()


async def test_short_writes_are_completed(store: LocalBlobStore, monkeypatch: pytest.MonkeyPatch):
    real_write, real_writev = os.write, os.writev
    monkeypatch.setattr(os, "writev", lambda fd, parts: real_writev(fd, [parts[0][:3]]))
    monkeypatch.setattr(os, "write", lambda fd, data: real_write(fd, data[:5]))
    key = new_key()
    await store.put(key, [b"0123456789", b"abcdefghij"])
    monkeypatch.undo()
    assert await store.read(key) == b"0123456789abcdefghij"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 8 MiB; making one takes root."""
    mount_point = tmp_path / "small"
    mount_point.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=8m,nr_inodes=200", "tmpfs", mount_point],
        check=False,
        capture_output=True,
        text=True,
    )
    if mounted.returncode:
        reason = f"no small file system can be mounted here: {mounted.stderr.strip()}"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    yield mount_point
    subprocess.run(["umount", mount_point], check=True)


async def test_a_disk_that_is_really_full_refuses_and_goes_on(small_disk: Path):
    store = LocalBlobStore(small_disk / "blobs")
    kept_key = await stored(store, some_bytes(5 * MIB))
    with pytest.raises(StorageFull):
        await store.put(new_key(), some_bytes(5 * MIB))
    with pytest.raises(StorageFull):
        await write_blob(store, new_key(), [some_bytes(MIB)] * 20)
    assert await listed_keys(store) == {kept_key}
    assert await store.read(kept_key) == some_bytes(5 * MIB)
    await store.ping()
    await stored(store, some_bytes(MIB))
    await store.close()


async def test_a_disk_without_inodes_is_full(small_disk: Path):
    store = LocalBlobStore(small_disk / "blobs")
    put_keys: set[str] = set()

    async def fill() -> None:
        for _ in range(300):
            put_keys.add(await stored(store, b"x"))

    with pytest.raises(StorageFull):
        await fill()
    assert await listed_keys(store) == put_keys
    assert files_below(small_disk / "blobs" / "tmp") == set()
    await store.delete(put_keys.pop())
    await store.close()


# --- the rest ----------------------------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what a process has open")
async def test_a_stream_that_stops_early_closes_its_file(store: LocalBlobStore, root: Path):
    key = await stored(store, some_bytes(3 * MIB))
    async with aclosing(store.stream(key)) as blocks:
        await anext(blocks)
        assert len(open_descriptors(root)) == 1
    assert open_descriptors(root) == []


async def test_a_deleted_blob_can_be_read_to_its_end(store: LocalBlobStore):
    key = await stored(store, some_bytes(3 * MIB))
    async with aclosing(store.stream(key)) as blocks:
        first = await anext(blocks)
        await store.delete(key)
        assert first + b"".join(await collect(blocks)) == some_bytes(3 * MIB)


async def test_foreign_files_are_not_listed(store: LocalBlobStore):
    key = await stored(store, b"data")
    (store.local_path(key).parent / "notes.txt").write_text("mine")
    assert await listed_keys(store) == {key}


async def test_a_local_path_is_known_before_the_blob_is(store: LocalBlobStore, root: Path):
    key = new_key()
    path = store.local_path(key)
    assert path == root / "objects" / key[-3] / key[-2:] / key
    assert not path.exists()


async def test_a_store_whose_folder_is_gone_does_not_answer(root: Path):
    store = LocalBlobStore(root)
    (root / "objects").rename(root / "elsewhere")
    with pytest.raises(Busy):
        await store.ping()
    await store.close()
