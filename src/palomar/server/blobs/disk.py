"""The few things that the local store asks of a file system, in the order that survives a power cut."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from palomar.contract.errors import StorageFull

from .port import Buffer

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
_NO_HARD_LINKS: Final = frozenset({errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK})
# The longest vector that Linux and macOS take in one call.
_VECTOR: Final = 1024
# macOS's fsync leaves the bytes in the drive's own cache; this does not.
_FULL_FSYNC: Final[int | None] = getattr(fcntl, "F_FULLFSYNC", None)


@contextmanager
def full_disk_refused() -> Iterator[None]:
    """A full disk, or a full quota, as the domain's error."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise StorageFull from error
        raise


class Disk:
    """System calls on one file system; a subclass may watch them or make them fail."""

    def create(self, path: Path) -> int:
        """A new file, open for writing; raises ``FileExistsError``."""
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)

    def write(self, descriptor: int, parts: Sequence[Buffer]) -> int:
        """All parts, in as few calls as the system allows; returns their length."""
        return sum(
            self._write_batch(descriptor, parts[first : first + _VECTOR]) for first in range(0, len(parts), _VECTOR)
        )

    def _write_batch(self, descriptor: int, batch: Sequence[Buffer]) -> int:
        length = sum(map(_length, batch))
        written = os.writev(descriptor, batch)
        if written < length:
            self._write_rest(descriptor, batch, written)
        return length

    def _write_rest(self, descriptor: int, batch: Sequence[Buffer], written: int) -> None:
        """Linux writes at most 2 GiB a call, and less when the disk is almost full."""
        rest = memoryview(b"".join(batch))[written:]
        while rest:
            rest = rest[os.write(descriptor, rest) :]

    def start_write_back(self, descriptor: int, start: int, length: int) -> None:
        """Ask the kernel to begin writing this range to the device now, without waiting.

        Linux does so when told that the range is not needed soon, and keeps the pages that are being written. Without
        it a large upload gathers in memory, and waits for the device only at its end.
        """
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(descriptor, start, length, os.POSIX_FADV_DONTNEED)

    def sync(self, descriptor: int) -> None:
        """Return when content and length of the file are on the device."""
        if _FULL_FSYNC is not None:
            fcntl.fcntl(descriptor, _FULL_FSYNC)
        else:
            os.fsync(descriptor)

    def sync_folder(self, path: Path) -> None:
        """Return when the names in the folder are on the device."""
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self.sync(descriptor)
        finally:
            os.close(descriptor)

    def publish(self, source: Path, target: Path) -> None:
        """Give a file a name that must be free; raises ``FileExistsError``. The old name may stay.

        A hard link is the one portable call that never replaces a file. Where there are no links, names are as unique
        as their 80 random bits, and the check before the rename is enough to find a mistake.
        """
        try:
            os.link(source, target)
        except OSError as error:
            if error.errno not in _NO_HARD_LINKS:
                raise
            self._rename_new(source, target)

    def _rename_new(self, source: Path, target: Path) -> None:
        if target.exists():
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), os.fspath(target))
        source.rename(target)

    def remove(self, path: Path) -> None:
        """Unlink, if it is there."""
        path.unlink(missing_ok=True)

    def make_folder(self, path: Path) -> None:
        """One folder, if it is not there; its parent must be."""
        with suppress(FileExistsError):
            path.mkdir(mode=0o750)

    def make_durable_folder(self, path: Path) -> None:
        """The folder and all above it exist, and their names are on the device.

        A name is synchronised even if somebody else made it: another process may not have come to that point yet.
        """
        missing = [path]
        while not missing[-1].parent.exists():
            missing.append(missing[-1].parent)
        for folder in reversed(missing):
            self.make_folder(folder)
            self.sync_folder(folder.parent)


def _length(data: Buffer) -> int:
    return data.nbytes if isinstance(data, memoryview) else len(data)
