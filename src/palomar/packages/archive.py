"""A package's zip archive, opened once every byte of it has been checked.

The entries must fill the file from its first byte to the central directory, in one piece and without overlap, and
each must hold what its headers say. That is found out in one pass from front to back, in bounded memory, which also
gives the digests of the whole.
"""

from __future__ import annotations

import hashlib
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import BinaryIO, Final

from palomar.contract.errors import BadPackage
from palomar.packages.limits import PackageLimits
from palomar.packages.paths import check_name, check_tree
from palomar.packages.text import shown
from palomar.packages.zipformat import (
    STORED,
    EndRecord,
    Entry,
    Reader,
    check_descriptor,
    check_local,
    read_directory,
    read_end,
)

_BLOCK_BYTES: Final = 256 * 1024
_PIECE_BYTES: Final = 1024 * 1024
_RAW_DEFLATE: Final = -15
_TAR_BYTES: Final = 512

_OTHER_FORMATS: Final = (
    (b"\x1f\x8b", "a gzip file or .tar.gz archive"),
    (b"BZh", "a bzip2 file or .tar.bz2 archive"),
    (b"\xfd7zXZ\x00", "an xz file or .tar.xz archive"),
    (b"\x28\xb5\x2f\xfd", "a zstd file"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"Rar!", "a rar archive"),
)


@dataclass(frozen=True, slots=True)
class PackageArchive:
    """A checked archive; ``names`` lists its files, without folders, in the archive's order."""

    file: BinaryIO = field(repr=False)
    entries: tuple[Entry, ...]
    size: int
    md5: str
    sha256: str
    places: dict[str, tuple[Entry, int]] = field(repr=False)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(entry.name for entry in self.entries if not entry.is_folder)

    def __contains__(self, name: object) -> bool:
        return name in self.places

    def size_of(self, name: str) -> int:
        """Of the file as unpacked. Raises KeyError when there is no such file."""
        return self.places[name][0].size

    def read(self, name: str, limit: int) -> bytes:
        """The file's bytes. Raises KeyError when there is no such file, BadPackage when it has more than ``limit``."""
        entry, _ = self.places[name]
        if entry.size > limit:
            raise BadPackage(f"it is larger than {limit:,} bytes", name)
        return b"".join(self.pieces(name))

    def read_start(self, name: str, limit: int) -> bytes:
        """The file's first bytes, at most ``limit``. Raises KeyError when there is no such file."""
        kept = bytearray()
        for piece in self.pieces(name):
            kept += piece
            if len(kept) >= limit:
                break
        return bytes(kept[:limit])

    def pieces(self, name: str) -> Iterator[bytes]:
        """The file bit by bit, checked once more. Raises KeyError when there is no such file."""
        entry, data_at = self.places[name]
        self.file.seek(data_at)
        return _pieces(partial(_read_exactly, self.file), entry)


def open_package(file: BinaryIO, limits: PackageLimits) -> PackageArchive:
    """Checks the whole archive, which costs one pass over it. Raises BadPackage for the first thing that is wrong.

    ``file`` is read from its beginning, whatever its position, and must stay open and unchanged.
    """
    size = file.seek(0, 2)
    _check_beginning(file, size, limits)
    end = read_end(file, size)
    entries = read_directory(file, end, limits)
    _check_entries(entries, limits)
    walk = _Walk(file, size, limits)
    places = walk.check(entries, end)
    return PackageArchive(file, tuple(entries), size, walk.md5.hexdigest(), walk.sha256.hexdigest(), places)


# --- before anything is unpacked ---------------------------------------------------------------------------------


def _check_beginning(file: BinaryIO, size: int, limits: PackageLimits) -> None:
    if size > limits.max_package_bytes:
        raise BadPackage(f"it is larger than {limits.max_package_bytes:,} bytes")
    file.seek(0)
    head = file.read(_TAR_BYTES)
    if not head:
        raise BadPackage("it is empty: send a zip archive")
    for magic, words in _OTHER_FORMATS:
        if head.startswith(magic):
            raise BadPackage(f"it is {words}: send a zip archive")
    if _is_tar(head):
        raise BadPackage("it is a tar archive, whatever else it may be: send a zip archive")
    if not head.startswith(b"PK"):
        raise BadPackage("it does not begin as a zip archive does")


def _is_tar(head: bytes) -> bool:
    try:
        tarfile.TarInfo.frombuf(head, "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return False
    return True


def _check_entries(entries: list[Entry], limits: PackageLimits) -> None:
    if not entries:
        raise BadPackage("it has no files")
    for entry in entries:
        check_name(entry.name, limits)
        if entry.is_folder and entry.size:
            raise BadPackage("it is a folder and has content", entry.name)
    check_tree(entry.name for entry in entries)
    if sum(entry.size for entry in entries) > limits.max_unpacked_bytes:
        raise BadPackage(f"it unpacks to more than {limits.max_unpacked_bytes:,} bytes")


# --- the pass ----------------------------------------------------------------------------------------------------


class _Walk:
    """One pass over the file from its first byte to its last; hashes what it reads."""

    def __init__(self, file: BinaryIO, size: int, limits: PackageLimits) -> None:
        self.md5 = hashlib.md5(usedforsecurity=False)
        self.sha256 = hashlib.sha256()
        self._file = file
        self._size = size
        self._limits = limits
        self._at = 0
        self._unpacked = 0

    def check(self, entries: list[Entry], end: EndRecord) -> dict[str, tuple[Entry, int]]:
        """Where each file's data begins, with its entry."""
        self._file.seek(0)
        ordered = sorted(entries, key=lambda entry: entry.header_at)
        stops = [*(entry.header_at for entry in ordered[1:]), end.directory_at]
        places = {}
        for entry, stop in zip(ordered, stops, strict=True):
            data_at = self._check_entry(entry, stop)
            if not entry.is_folder:
                places[entry.name] = entry, data_at
        while self._at < self._size:
            self._read(min(_BLOCK_BYTES, self._size - self._at))
        return places

    def _check_entry(self, entry: Entry, stop: int) -> int:
        if self._at != entry.header_at:
            raise BadPackage("it overlaps another entry, or something lies before it", entry.name)
        check_local(self._read, entry)
        data_at = self._at
        if data_at + entry.packed_bytes > stop:
            raise BadPackage("it overlaps the next entry, or the archive is cut off", entry.name)
        self._unpack(entry)
        check_descriptor(self._read, entry, stop - self._at)
        return data_at

    def _unpack(self, entry: Entry) -> None:
        unpacked = 0
        for piece in _pieces(self._read, entry):
            unpacked += len(piece)
            self._unpacked += len(piece)
            self._check_ratio(unpacked, entry.packed_bytes, entry.name)
            self._check_ratio(self._unpacked, self._size, None)
            if self._unpacked > self._limits.max_unpacked_bytes:
                raise BadPackage(f"it unpacks to more than {self._limits.max_unpacked_bytes:,} bytes")

    def _check_ratio(self, unpacked: int, packed: int, name: str | None) -> None:
        if unpacked > self._limits.ratio_floor_bytes and unpacked > self._limits.max_ratio * packed:
            words = f"it is a zip bomb: it unpacks to more than {self._limits.max_ratio} times its {packed:,} bytes"
            raise BadPackage(words, name)

    def _read(self, count: int, /) -> bytes:
        data = _read_exactly(self._file, count)
        self._at += count
        self.md5.update(data)
        self.sha256.update(data)
        return data


def _read_exactly(file: BinaryIO, count: int, /) -> bytes:
    data = file.read(count)
    if len(data) != count:
        raise BadPackage("it is cut off")
    return data


# --- one entry's data --------------------------------------------------------------------------------------------


def _pieces(read: Reader, entry: Entry) -> Iterator[bytes]:
    """What the entry holds, bit by bit; raises BadPackage as soon as that differs from what its headers say."""
    crc = size = 0
    unpack = _stored if entry.method == STORED else _inflated
    for piece in unpack(read, entry):
        crc, size = zlib.crc32(piece, crc), size + len(piece)
        if size > entry.size:
            raise BadPackage(f"it holds more than the {entry.size:,} bytes that its header says", shown(entry.name))
        yield piece
    if size != entry.size:
        raise BadPackage(f"it holds {size:,} bytes, its header says {entry.size:,}", shown(entry.name))
    if crc != entry.crc:
        raise BadPackage("its checksum is wrong", shown(entry.name))


def _stored(read: Reader, entry: Entry) -> Iterator[bytes]:
    return _blocks(read, entry.packed_bytes)


def _inflated(read: Reader, entry: Entry) -> Iterator[bytes]:
    inflater, left = zlib.decompressobj(_RAW_DEFLATE), entry.packed_bytes
    try:
        for block in _blocks(read, entry.packed_bytes):
            if inflater.eof:
                break
            yield from _inflated_block(inflater, block)
            left -= len(block)
    except zlib.error as error:
        raise BadPackage("its compressed data is damaged", entry.name) from error
    if not inflater.eof:
        raise BadPackage("its compressed data is cut off", entry.name)
    if left or inflater.unused_data:
        raise BadPackage("something follows its compressed data", entry.name)


def _inflated_block(inflater: zlib._Decompress, block: bytes) -> Iterator[bytes]:
    """A full piece may have more behind it, even where no input is left."""
    piece = inflater.decompress(block, _PIECE_BYTES)
    while piece:
        yield piece
        if len(piece) < _PIECE_BYTES and not inflater.unconsumed_tail:
            return
        piece = inflater.decompress(inflater.unconsumed_tail, _PIECE_BYTES)


def _blocks(read: Reader, count: int) -> Iterator[bytes]:
    while count:
        block = read(min(_BLOCK_BYTES, count))
        count -= len(block)
        yield block
