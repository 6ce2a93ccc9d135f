"""Unfinished files of a local store, and what happens to those of a process that died.

Every process writes in a folder of its own and holds a lock on it, so that another one that starts can tell a dead
owner from a slow one, without process numbers (which mean nothing between containers) and without clocks. Only where
a file system has no locks does age decide.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import shutil
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, Self

from .disk import Disk
from .port import Buffer

# Longer than any upload takes.
ABANDONED_S: Final = 24 * 3600
WRITE_BACK_BYTES: Final = 8 << 20
_NO_LOCKS: Final = frozenset({errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL, errno.EBADF})


class Scratch:
    """A locked folder for the unfinished files of one store object; sweeps those of the dead when it is made."""

    def __init__(self, parent: Path, disk: Disk) -> None:
        self._disk = disk
        disk.make_folder(parent)
        sweep(parent)
        self._folder, self._lock = _claim(parent, disk)

    def open(self) -> TemporaryFile:
        path = self._folder / secrets.token_hex(8)
        try:
            return TemporaryFile(path, self._disk)
        except FileNotFoundError:
            # Somebody tidied up: an operator, or a sweep by age on a file system without locks.
            self._disk.make_folder(self._folder)
            return TemporaryFile(path, self._disk)

    def close(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)
        os.close(self._lock)


class TemporaryFile:
    """A file that nobody else knows until it is published; closing it removes what was not."""

    def __init__(self, path: Path, disk: Disk) -> None:
        self._path = path
        self._disk = disk
        self._written_bytes = 0
        self._begun_bytes = 0
        self._descriptor = disk.create(path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def write(self, parts: Sequence[Buffer]) -> None:
        self._written_bytes += self._disk.write(self._descriptor, parts)
        pending_bytes = self._written_bytes - self._begun_bytes
        if pending_bytes >= WRITE_BACK_BYTES:
            self._disk.start_write_back(self._descriptor, self._begun_bytes, pending_bytes)
            self._begun_bytes = self._written_bytes

    def sync(self) -> None:
        self._disk.sync(self._descriptor)

    def publish(self, target: Path) -> None:
        self._disk.publish(self._path, target)

    def close(self) -> None:
        try:
            os.close(self._descriptor)
        finally:
            self._disk.remove(self._path)


def sweep(parent: Path) -> None:
    """Remove the folders of dead owners."""
    for folder in parent.iterdir():
        with suppress(FileNotFoundError, NotADirectoryError):
            _remove_if_abandoned(folder)


def _remove_if_abandoned(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if _is_abandoned(folder, descriptor):
            # Under the lock, so that an owner who just made it sees that it is gone.
            shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(descriptor)


def _is_abandoned(folder: Path, descriptor: int) -> bool:
    try:
        return _lock(descriptor)
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        return _last_change(folder) < time.time() - ABANDONED_S


def _last_change(folder: Path) -> float:
    return max(path.stat().st_mtime for path in (folder, *folder.iterdir()))


def _lock(descriptor: int) -> bool:
    """Take the lock that ends with the descriptor, unless somebody has it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _claim(parent: Path, disk: Disk) -> tuple[Path, int]:
    """A new folder and the lock on it; again if a sweep came between the two."""
    while True:
        folder = parent / secrets.token_hex(8)
        disk.make_folder(folder)
        with suppress(FileNotFoundError):
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            if _hold(folder, descriptor):
                return folder, descriptor
            os.close(descriptor)


def _hold(folder: Path, descriptor: int) -> bool:
    try:
        is_locked = _lock(descriptor)
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        return True
    return is_locked and folder.exists()
