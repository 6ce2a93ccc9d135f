"""Files of a source by name: in a folder, or in an archive that is read in place."""

from __future__ import annotations

import gzip
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from posixpath import dirname, normpath
from posixpath import join as joined
from typing import BinaryIO, Final, Protocol

from palomar.server.builds.bases.sources.images import refused
from palomar.server.builds.layer_reader import BadLayer, LayerLimits, LayerReader, Readable

_GZIP: Final = b"\x1f\x8b"
_PIECE_BYTES: Final = 1 << 20
_MAX_ENTRIES: Final = 20_000
_MAX_ARCHIVE_BYTES: Final = 256 * 1024**3
_MAX_HOPS: Final = 8


class Files(Protocol):
    """``name`` is a plain relative path; every method raises KeyError where there is no such file."""

    def __contains__(self, name: str) -> bool: ...

    def read(self, name: str, limit: int) -> bytes:
        """Raises BadParameter for a file that is larger."""

    def open(self, name: str) -> AbstractContextManager[Readable]:
        """A context manager, whose value is read from the first byte on."""


class FolderFiles:
    """Regular files alone: a link could lead anywhere, and a pipe would be waited for."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __contains__(self, name: str) -> bool:
        return (self._folder / name).is_file()

    def read(self, name: str, limit: int) -> bytes:
        with self.open(name) as file:
            return _bounded(file, name, limit)

    @contextmanager
    def open(self, name: str) -> Iterator[Readable]:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            opened = os.open(self._folder / name, flags)
        except OSError as error:
            raise KeyError(name) from error
        with os.fdopen(opened, "rb") as file:
            if not stat.S_ISREG(os.fstat(opened).st_mode):
                raise KeyError(name)
            yield file


@dataclass(frozen=True, slots=True)
class _Place:
    start: int
    size_bytes: int


class ArchiveFiles:
    """A tar, which may be gzipped; it is unpacked to ``scratch`` then. Close it in the end."""

    def __init__(self, path: Path, scratch: Path) -> None:
        """Raises BadParameter for what is no tar, and OSError."""
        self._file = _plain(path, scratch)
        self._places: dict[str, _Place] = {}
        self._links: dict[str, str] = {}
        try:
            self._index()
        except BadLayer as error:
            self._file.close()
            raise refused(f"{path} cannot be read: {error}") from None

    def close(self) -> None:
        self._file.close()

    def _index(self) -> None:
        limits = LayerLimits(max_unpacked_bytes=_MAX_ARCHIVE_BYTES, max_entries=_MAX_ENTRIES)
        for member in LayerReader(self._file, "", limits):
            header = member.header
            if header.issym():
                # Older versions of `docker save` store a layer that occurs twice as a link to the first.
                self._links[member.path] = joined(dirname(member.path), header.linkname)
            elif header.islnk():
                self._links[member.path] = header.linkname
            elif header.isfile() and not header.issparse():
                self._places[member.path] = _Place(header.offset_data, header.size)

    def _place(self, name: str) -> _Place:
        for _ in range(_MAX_HOPS):
            if name in self._places:
                return self._places[name]
            name = normpath(self._links[name])
        raise KeyError(name)

    def __contains__(self, name: str) -> bool:
        try:
            self._place(name)
        except KeyError:
            return False
        return True

    def read(self, name: str, limit: int) -> bytes:
        return _bounded(_Section(self._file, self._place(name)), name, limit)

    @contextmanager
    def open(self, name: str) -> Iterator[Readable]:
        yield _Section(self._file, self._place(name))


class _Section:
    """A part of a file, read without moving the file's own position."""

    def __init__(self, file: BinaryIO, place: _Place) -> None:
        self._descriptor = file.fileno()
        self._at = place.start
        self._left = place.size_bytes

    def read(self, count: int = -1, /) -> bytes:
        wanted = self._left if count < 0 else min(count, self._left)
        data = os.pread(self._descriptor, wanted, self._at)
        self._at += len(data)
        self._left -= len(data)
        return data


def _bounded(file: Readable, name: str, limit: int) -> bytes:
    pieces, left = [], limit + 1
    while left and (piece := file.read(min(left, _PIECE_BYTES))):
        pieces.append(piece)
        left -= len(piece)
    if not left:
        raise refused(f"its file {name} is larger than {limit:,} bytes")
    return b"".join(pieces)


def _plain(path: Path, scratch: Path) -> BinaryIO:
    file = path.open("rb")
    if file.read(len(_GZIP)) != _GZIP:
        file.seek(0)
        return file
    with file:
        file.seek(0)
        return _gunzipped(file, path, scratch)


def _gunzipped(file: BinaryIO, path: Path, scratch: Path) -> BinaryIO:
    target = (scratch / "archive.tar").open("w+b")
    try:
        with gzip.GzipFile(fileobj=file, mode="rb") as packed:
            shutil.copyfileobj(_Bounded(packed), target, _PIECE_BYTES)
    except (gzip.BadGzipFile, EOFError, ValueError) as error:
        target.close()
        raise refused(f"{path} is damaged: {error}") from None
    target.seek(0)
    return target


class _Bounded:
    def __init__(self, file: Readable) -> None:
        self._file = file
        self._left = _MAX_ARCHIVE_BYTES

    def read(self, count: int = -1, /) -> bytes:
        data = self._file.read(count)
        self._left -= len(data)
        if self._left < 0:
            raise ValueError(f"it unpacks to more than {_MAX_ARCHIVE_BYTES:,} bytes")
        return data
