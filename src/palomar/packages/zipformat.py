"""The records of a zip file (APPNOTE.TXT 6.3), read strictly.

Python's ``zipfile`` reads the central directory and believes it; other programs believe the local headers. What is
accepted here reads the same either way. Within the limits of a package no zip64 end record is ever needed, so one is
refused; zip64 sizes of an entry are understood, since Python writes them for files above 2 GiB.
"""

from __future__ import annotations

import stat
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Final, NamedTuple, Protocol

from palomar.contract.errors import BadPackage
from palomar.packages.limits import PackageLimits
from palomar.packages.paths import decode_name
from palomar.packages.text import shown

STORED: Final = 0
DEFLATED: Final = 8

_END: Final = struct.Struct("<4s4H2LH")
_DIRECTORY: Final = struct.Struct("<4s2B5H3L5H2L")
_LOCAL: Final = struct.Struct("<4s5H3L2H")
_EXTRA: Final = struct.Struct("<HH")
_END_MAGIC: Final = b"PK\x05\x06"
_DIRECTORY_MAGIC: Final = b"PK\x01\x02"
_LOCAL_MAGIC: Final = b"PK\x03\x04"
_DESCRIPTOR_MAGIC: Final = b"PK\x07\x08"
_LOCATOR_MAGIC: Final = b"PK\x06\x07"
_LOCATOR_BYTES: Final = 20
_MAX_COMMENT_BYTES: Final = 0xFFFF
_WIDE: Final = 0xFFFFFFFF

_DESCRIBED: Final = 1 << 3
_UTF8: Final = 1 << 11
#: How deflate was tuned, sizes after the data, UTF-8: nothing else changes how an entry is read.
_FLAGS: Final = 0b110 | _DESCRIBED | _UTF8
_ENCRYPTED: Final = 1 | 1 << 6 | 1 << 13
_MAX_VERSION: Final = 45

_ZIP64: Final = 0x0001
#: Zip64, times, owners and padding. Others can give a second name, a link's target or an encryption.
_EXTRAS: Final = frozenset({_ZIP64, 0x000A, 0x5455, 0x5855, 0x7855, 0x7875, 0xCAFE, 0xD935})

_DOS_FOLDER: Final = 0x10
#: A volume's label, a device, a reparse point (a link on Windows).
_DOS_SPECIAL: Final = 0x08 | 0x40 | 0x400


class Reader(Protocol):
    """Gives exactly ``count`` bytes, or raises BadPackage."""

    def __call__(self, count: int, /) -> bytes: ...


class EndRecord(NamedTuple):
    entries: int
    directory_bytes: int
    directory_at: int


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry as the central directory has it; ``name`` ends in a slash for a folder.

    ``packed_bytes`` count the data alone, ``header_at`` is where the local header begins, ``mode`` holds the permission
    bits or 0 when none were recorded.
    """

    name: str
    raw_name: bytes
    size: int
    packed_bytes: int
    crc: int
    method: int
    flags: int
    header_at: int
    mode: int

    @property
    def is_folder(self) -> bool:
        return self.name.endswith("/")


# --- the end record ----------------------------------------------------------------------------------------------


def read_end(file: BinaryIO, size: int) -> EndRecord:
    """The end record, which must be the last thing in the file."""
    file.seek(max(0, size - _END.size))
    record = file.read(_END.size)
    if len(record) < _END.size or not record.startswith(_END_MAGIC):
        raise BadPackage(_why_no_end(file, size))
    _, disk, first_disk, here, entries, directory_bytes, directory_at, comment = _END.unpack(record)
    if (disk, first_disk) != (0, 0) or here != entries:
        raise BadPackage("it is one part of a zip over several disks")
    if comment or _has_locator(file, size):
        raise BadPackage("its end record has a comment or a zip64 extension, which no package needs")
    if directory_at + directory_bytes != size - _END.size:
        raise BadPackage("its end record does not say where its central directory is")
    return EndRecord(entries, directory_bytes, directory_at)


def _why_no_end(file: BinaryIO, size: int) -> str:
    file.seek(max(0, size - _MAX_COMMENT_BYTES - _END.size))
    if _END_MAGIC in file.read(_MAX_COMMENT_BYTES + _END.size):
        return "it has data or a comment after its end record"
    return "it is not a zip archive, or it is cut off"


def _has_locator(file: BinaryIO, size: int) -> bool:
    file.seek(max(0, size - _END.size - _LOCATOR_BYTES))
    return file.read(len(_LOCATOR_MAGIC)) == _LOCATOR_MAGIC


# --- the central directory ---------------------------------------------------------------------------------------


def read_directory(file: BinaryIO, end: EndRecord, limits: PackageLimits) -> list[Entry]:
    """Every entry, in the directory's order."""
    if end.entries > limits.max_entries:
        raise BadPackage(f"it has {end.entries:,} entries, more than {limits.max_entries:,}")
    if end.directory_bytes > limits.max_directory_bytes:
        raise BadPackage(f"its central directory is larger than {limits.max_directory_bytes:,} bytes")
    file.seek(end.directory_at)
    data = file.read(end.directory_bytes)
    entries = list(_entries(data, limits))
    if len(entries) != end.entries:
        raise BadPackage(f"its end record promises {end.entries} entries, its central directory has {len(entries)}")
    return entries


def _entries(data: bytes, limits: PackageLimits) -> Iterator[Entry]:
    at = count = 0
    while at < len(data):
        count += 1
        if count > limits.max_entries:
            raise BadPackage(f"its central directory has more than {limits.max_entries:,} entries")
        entry, at = _entry(data, at)
        yield entry


def _entry(data: bytes, at: int) -> tuple[Entry, int]:
    begin = at + _DIRECTORY.size
    if begin > len(data) or data[at : at + 4] != _DIRECTORY_MAGIC:
        raise BadPackage("its central directory is damaged")
    fields = _DIRECTORY.unpack_from(data, at)
    _, _, _, version, flags, method, _, _, crc, packed, size, named, extras, comment, disk, _, attributes, header = (
        fields
    )
    stop = begin + named + extras + comment
    if stop > len(data):
        raise BadPackage("its central directory is damaged")
    raw_name = data[begin : begin + named]
    name = decode_name(raw_name, is_utf8=bool(flags & _UTF8))
    _check_kind(name, version=version, flags=flags, method=method, disk=disk)
    size, packed, header = _widened(data[begin + named : begin + named + extras], (size, packed, header), name)
    mode = _checked_mode(name, attributes)
    return Entry(name, raw_name, size, packed, crc, method, flags, header, mode), stop


def _check_kind(name: str, *, version: int, flags: int, method: int, disk: int) -> None:
    entry = shown(name)
    if flags & _ENCRYPTED:
        raise BadPackage("it is encrypted", entry)
    if method not in {STORED, DEFLATED}:
        raise BadPackage(f"it is packed by method {method}; only stored and deflated are read everywhere", entry)
    if flags & ~_FLAGS or version & 0xFF > _MAX_VERSION:
        raise BadPackage("it uses a zip feature that not every program knows", entry)
    if disk:
        raise BadPackage("it says that it lies on another disk", entry)


def _checked_mode(name: str, attributes: int) -> int:
    """The permission bits. A link, a device or a set-user-id bit is refused whichever system is said to set it."""
    mode, entry = attributes >> 16, shown(name)
    kind = stat.S_IFMT(mode)
    is_folder = name.endswith("/")
    if stat.S_ISLNK(mode):
        raise BadPackage("it is a symbolic link", entry)
    if kind not in {0, stat.S_IFREG, stat.S_IFDIR} or attributes & _DOS_SPECIAL:
        raise BadPackage("it is a device, a pipe, a socket or another special file", entry)
    if (kind == stat.S_IFDIR and not is_folder) or (kind == stat.S_IFREG and is_folder):
        raise BadPackage("its name and its attributes disagree on whether it is a folder", entry)
    if attributes & _DOS_FOLDER and not is_folder:
        raise BadPackage("its name and its attributes disagree on whether it is a folder", entry)
    if mode & (stat.S_ISUID | stat.S_ISGID):
        raise BadPackage("it would run as its owner or group (set-user-id or set-group-id)", entry)
    return stat.S_IMODE(mode)


# --- extra fields ------------------------------------------------------------------------------------------------


def _widened(extra: bytes, values: tuple[int, ...], name: str) -> list[int]:
    """``values`` with those that say "see zip64" read from there, where they must be, and nothing else may be."""
    wide = _zip64_field(extra, name)
    wanted = sum(value == _WIDE for value in values)
    if len(wide) != 8 * wanted:
        raise BadPackage("its zip64 sizes are missing, or there without need", shown(name))
    found = iter(struct.unpack(f"<{wanted}Q", wide))
    return [next(found) if value == _WIDE else value for value in values]


def _zip64_field(extra: bytes, name: str) -> bytes:
    at, found, kinds = 0, b"", set[int]()
    while at < len(extra):
        if at + _EXTRA.size > len(extra):
            raise BadPackage("its extra fields are damaged", shown(name))
        kind, length = _EXTRA.unpack_from(extra, at)
        data = extra[at + _EXTRA.size : at + _EXTRA.size + length]
        at += _EXTRA.size + length
        if at > len(extra) or kind in kinds:
            raise BadPackage("its extra fields are damaged", shown(name))
        if kind not in _EXTRAS:
            raise BadPackage(f"it has an extra field of kind 0x{kind:04x}, which some programs obey", shown(name))
        kinds.add(kind)
        if kind == _ZIP64:
            found = data
    return found


# --- local headers -----------------------------------------------------------------------------------------------


def check_local(read: Reader, entry: Entry) -> None:
    """Reads the local header and raises BadPackage unless it says what the central directory says."""
    fields = _LOCAL.unpack(read(_LOCAL.size))
    magic, version, flags, method, _, _, crc, packed, size, named, extras = fields
    if magic != _LOCAL_MAGIC:
        raise BadPackage("there is no local header where the central directory says", shown(entry.name))
    if read(named) != entry.raw_name:
        raise BadPackage("its local header gives it another name than the central directory", shown(entry.name))
    size, packed = _widened(read(extras), (size, packed), entry.name)
    if (flags, method) != (entry.flags, entry.method) or version & 0xFF > _MAX_VERSION:
        raise BadPackage("its local header and the central directory disagree on how it is packed", shown(entry.name))
    _compare(entry, (crc, packed, size), is_open=bool(flags & _DESCRIBED))


def _compare(entry: Entry, told: tuple[int, int, int], *, is_open: bool) -> None:
    """Where the sizes follow the data, the header itself may leave them 0."""
    truth = (entry.crc, entry.packed_bytes, entry.size)
    if told == truth or (is_open and all(value in {0, true} for value, true in zip(told, truth, strict=True))):
        return
    raise BadPackage("its local header and the central directory disagree on its size or checksum", shown(entry.name))


def check_descriptor(read: Reader, entry: Entry, count: int) -> None:
    """Reads the ``count`` bytes after an entry's data, which are nothing, or its checksum and sizes once more."""
    if not entry.flags & _DESCRIBED and not count:
        return
    if not entry.flags & _DESCRIBED or count not in {12, 16, 20, 24}:
        raise BadPackage("something lies between it and the next entry, or the two overlap", shown(entry.name))
    data = read(count)
    if count in {16, 24}:
        magic, data = data[:4], data[4:]
        if magic != _DESCRIPTOR_MAGIC:
            raise BadPackage("the sizes after its data are damaged", shown(entry.name))
    told = struct.unpack("<3L" if len(data) == 12 else "<LQQ", data)
    if told != (entry.crc, entry.packed_bytes, entry.size):
        raise BadPackage("the sizes after its data are not those of the central directory", shown(entry.name))
