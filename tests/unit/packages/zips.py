"""Hand-built zip archives: right ones as the clients make them, and wrong ones byte by byte."""

from __future__ import annotations

import io
import stat
import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from palomar.packages.archive import PackageArchive, open_package
from palomar.packages.limits import PackageLimits

EXECUTOR = b"""from jina import Executor, requests


class MyExecutor(Executor):
    \"\"\"Counts.\"\"\"

    @requests
    def foo(self, docs, **kwargs):
        pass
"""
CONFIG = b"jtype: MyExecutor\npy_modules:\n  - executor.py\nmetas:\n  name: MyExecutor\n"
FILE_MODE = stat.S_IFREG | 0o644


def zipped(files: Mapping[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """As ``jina hub push`` does it: deflated, without entries for folders, unix modes and times kept."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression=method) as archive:
        for name, data in files.items():
            info = zipfile.ZipInfo(name, (2023, 3, 1, 12, 0, 0))
            info.compress_type = method
            info.external_attr = (stat.S_IFDIR | 0o755 if name.endswith("/") else FILE_MODE) << 16
            archive.writestr(info, data)
    return buffer.getvalue()


def opened(data: bytes, **limits: int) -> PackageArchive:
    return open_package(io.BytesIO(data), PackageLimits(**limits))


@dataclass(frozen=True)
class Raw:
    """One entry; ``local`` and ``central`` change what only one of the two headers says."""

    name: bytes = b"executor.py"
    data: bytes = EXECUTOR
    method: int = 8
    flags: int = 0
    attributes: int = FILE_MODE << 16
    extra: bytes = b""
    packed: bytes | None = None
    crc: int | None = None
    size: int | None = None
    disk: int = 0
    version: int = 20
    after: bytes = b""
    local: dict[str, Any] = field(default_factory=dict)
    central: dict[str, Any] = field(default_factory=dict)

    def stored_bytes(self) -> bytes:
        if self.packed is not None:
            return self.packed
        return deflated(self.data) if self.method == 8 else self.data

    def sizes(self) -> tuple[int, int, int]:
        crc = zlib.crc32(self.data) if self.crc is None else self.crc
        size = len(self.data) if self.size is None else self.size
        return crc, len(self.stored_bytes()), size


def deflated(data: bytes) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return packer.compress(data) + packer.flush()


def _changed(entry: Raw, said: Mapping[str, Any]) -> Raw:
    return replace(entry, **{key: value for key, value in said.items() if key in Raw.__dataclass_fields__})


def _told(entry: Raw, said: Mapping[str, Any]) -> list[int]:
    names = ("crc", "packed_bytes", "size")
    return [said.get(name, size) for name, size in zip(names, entry.sizes(), strict=True)]


def _local_header(entry: Raw) -> bytes:
    changed = _changed(entry, entry.local)
    sizes = _told(entry, entry.local)
    head = struct.pack(
        "<4s5H3L2H",
        *(b"PK\x03\x04", changed.version, changed.flags, changed.method, 0x6000, 0x5661, *sizes),
        *(len(changed.name), len(changed.extra)),
    )
    return head + changed.name + changed.extra


def _central_header(entry: Raw, at: int) -> bytes:
    changed = _changed(entry, entry.central)
    sizes = _told(entry, entry.central)
    head = struct.pack(
        "<4s2B5H3L5H2L",
        *(b"PK\x01\x02", 20, 3, changed.version, changed.flags, changed.method, 0x6000, 0x5661, *sizes),
        *(len(changed.name), len(changed.extra), 0, changed.disk, 0, changed.attributes, entry.central.get("at", at)),
    )
    return head + changed.name + changed.extra


def raw_zip(*entries: Raw, before: bytes = b"", gap: bytes = b"", **end: int) -> bytes:
    """``before`` and ``gap`` lie before the first entry and before the central directory; ``end`` changes the end."""
    body, directory = before, b""
    for entry in entries:
        directory += _central_header(entry, len(body))
        body += _local_header(entry) + entry.stored_bytes() + entry.after
    body += gap
    count = end.get("entries", len(entries))
    record = struct.pack(
        "<4s4H2LH",
        *(b"PK\x05\x06", end.get("disk", 0), 0, end.get("here", count), count),
        *(end.get("directory_bytes", len(directory)), end.get("directory_at", len(body)), end.get("comment", 0)),
    )
    return body + directory + record


def described(entry: Raw, layout: Callable[[int, int, int], bytes]) -> Raw:
    """As written to a stream: sizes after the data, and none in the local header."""
    zeros = {"crc": 0, "packed_bytes": 0, "size": 0}
    return replace(entry, flags=entry.flags | 8, after=layout(*entry.sizes()), local=zeros)
