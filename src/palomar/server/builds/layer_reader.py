"""Reading a layer that somebody else made: one pass, in bounded memory, and nothing in it is believed.

The tar is read by the standard library behind a stream that only goes forward and gives no more at once than a sane
header needs. So sizes below zero, headers of gigabytes and chains of headers end in `BadLayer` and in nothing worse.
"""

from __future__ import annotations

import gzip
import hashlib
import tarfile
import zlib
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import IO, Any, Final, Protocol, cast

import zstandard

_PIECE_BYTES: Final = 1 << 20
_MAX_HEADER_BYTES: Final = 4 * 1024**2
_MAX_DEPTH: Final = 200
_MAX_PATH_BYTES: Final = 4096
_MAX_HOPS: Final = 40
# As large a window as the zstd program itself reads without being told to; frames may ask for gigabytes.
_MAX_WINDOW_BYTES: Final = 128 * 1024**2

_WHITEOUT: Final = ".wh."
_OPAQUE: Final = ".wh..wh..opq"

# What broken or hostile bytes make gzip, zstandard and tarfile raise.
_BROKEN: Final = (
    tarfile.TarError,
    zlib.error,
    zstandard.ZstdError,
    gzip.BadGzipFile,
    EOFError,
    ArithmeticError,
    LookupError,
    RecursionError,
)


class BadLayer(ValueError):
    """What is no layer, or one that leads out of its image; the message is one sentence."""


class Readable(Protocol):
    def read(self, count: int = ..., /) -> bytes: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerLimits:
    max_unpacked_bytes: int = 64 * 1024**3
    max_entries: int = 2_000_000


@dataclass(frozen=True, slots=True)
class Member:
    """One entry; ``path`` is relative and has no '..'. A whiteout says what is gone: ``path``, or all that is in it."""

    path: str
    header: tarfile.TarInfo
    is_whiteout: bool = False
    is_opaque: bool = False


class LayerReader:
    """The members of a layer, in order; the digests are known when the last one was given out."""

    def __init__(self, file: Readable, media_type: str, limits: LayerLimits) -> None:
        self._packed = _HashedReader(file)
        self._tar = _ForwardReader(_unpacked(self._packed, media_type), limits.max_unpacked_bytes)
        self._limits = limits

    @property
    def digest(self) -> str:
        return f"sha256:{self._packed.hash.hexdigest()}"

    @property
    def size_bytes(self) -> int:
        return self._packed.read_bytes

    @property
    def diff_id(self) -> str:
        return f"sha256:{self._tar.hash.hexdigest()}"

    @property
    def unpacked_bytes(self) -> int:
        return self._tar.tell()

    def __iter__(self) -> Iterator[Member]:
        """Raises BadLayer."""
        try:
            yield from self._members()
        except BadLayer:
            raise
        except (*_BROKEN, ValueError) as error:
            raise BadLayer(f"it is no tar archive, or is damaged ({error})") from error
        self._drain()

    def _members(self) -> Iterator[Member]:
        self._tar.budget = _MAX_HEADER_BYTES
        with tarfile.TarFile(fileobj=cast("Any", self._tar), errors="surrogateescape", encoding="utf-8") as tar:
            self._archive = tar
            for count, header in enumerate(iter(self._next, None)):
                if count >= self._limits.max_entries:
                    raise BadLayer(f"it has more than {self._limits.max_entries:,} entries")
                if member := _member(header):
                    yield member

    def _next(self) -> tarfile.TarInfo | None:
        self._tar.budget = _MAX_HEADER_BYTES
        header = self._archive.next()
        self._tar.budget = None
        self._archive.members = []  # type: ignore[attr-defined]  # it would remember them all
        return header

    def pieces(self, member: Member) -> Iterator[bytes]:
        """The content of the file that was given out last. Raises BadLayer."""
        file: IO[bytes] | None = self._archive.extractfile(member.header)
        while file is not None and (piece := _guarded(file.read, _PIECE_BYTES)):
            yield piece

    def _drain(self) -> None:
        """What follows the end of the archive is part of the layer's digests all the same."""
        self._tar.budget = None
        while self._tar.read(_PIECE_BYTES):
            pass
        while self._packed.read(_PIECE_BYTES):
            pass


def _member(header: tarfile.TarInfo) -> Member | None:
    """None for the root itself."""
    path = plain_path(header.name)
    if header.size < 0:
        raise BadLayer(f"{header.name[:200]!a} has a size below 0")
    folder, _, name = path.rpartition("/")
    if name == _OPAQUE:
        return Member(folder, header, is_opaque=True)
    if name.startswith(_WHITEOUT):
        gone = name.removeprefix(_WHITEOUT)
        # Names that begin with two of them are notes of some storage drivers, and no files.
        is_note = gone.startswith(_WHITEOUT) or not gone
        return None if is_note else Member(f"{folder}/{gone}".removeprefix("/"), header, is_whiteout=True)
    return Member(path, header) if path else None


def plain_path(name: str) -> str:
    """Relative to the image's root, whatever slashes and dots it is written with. Raises BadLayer for a '..'."""
    parts = [part for part in name.split("/") if part not in {"", "."}]
    if ".." in parts or "\0" in name:
        raise BadLayer(f"the name {name[:200]!a} leads out of the image")
    if len(parts) > _MAX_DEPTH or len(name) > _MAX_PATH_BYTES:
        raise BadLayer(f"the name {name[:200]!a} is too long")
    return "/".join(parts)


def resolve(path: str, link_at: Callable[[str], str | None], *, follows_last: bool = True) -> str:
    """Where a path of an image leads, as for a program that has the image as its root: never above that.

    ``link_at`` says where the symbolic link of a path points, None where there is none. Raises BadLayer for links that
    go round.
    """
    left, done, hops = deque(_parts(path)), list[str](), 0
    while left:
        part = left.popleft()
        if part == "..":
            done = done[:-1]
            continue
        target = link_at("/".join([*done, part])) if left or follows_last else None
        if target is None:
            done.append(part)
            continue
        hops += 1
        if hops > _MAX_HOPS:
            raise BadLayer(f"the links on the way to {path[:200]!a} go round")
        done = [] if target.startswith("/") else done
        left.extendleft(reversed(_parts(target)))
    return "/".join(done)


def _parts(path: str) -> list[str]:
    return [part for part in path.split("/") if part not in {"", "."}]


# --- streams -----------------------------------------------------------------------------------------------------


def _unpacked(file: Any, media_type: str) -> Readable:
    if media_type.endswith(("+gzip", ".gzip")):
        return gzip.GzipFile(fileobj=file, mode="rb")
    if media_type.endswith(("+zstd", ".zstd")):
        zstd = zstandard.ZstdDecompressor(max_window_size=_MAX_WINDOW_BYTES)
        reader: Readable = zstd.stream_reader(file, read_across_frames=True)
        return reader
    readable: Readable = file
    return readable


def _guarded(read: Callable[[int], bytes], count: int) -> bytes:
    try:
        return read(count)
    except _BROKEN as error:
        raise BadLayer(f"it is damaged ({error})") from error


class _HashedReader:
    def __init__(self, file: Readable) -> None:
        self._file = file
        self.hash = hashlib.sha256()
        self.read_bytes = 0

    def read(self, count: int = _PIECE_BYTES, /) -> bytes:
        data = self._file.read(count)
        self.hash.update(data)
        self.read_bytes += len(data)
        return data


class _ForwardReader:
    """As much of a file as tarfile needs of one."""

    def __init__(self, file: Readable, max_bytes: int) -> None:
        self._file = file
        self._max_bytes = max_bytes
        self._at = 0
        # How much may still be read before the next header is complete; None while a file's content is read.
        self.budget: int | None = None
        self.hash = hashlib.sha256()

    def read(self, count: int, /) -> bytes:
        """All of ``count`` bytes, unless the file ends before."""
        if self.budget is not None:
            # At the end of the file too, where some headers would be read for ever.
            self.budget -= max(count, tarfile.BLOCKSIZE)
        if not 0 <= count <= _PIECE_BYTES or (self.budget is not None and self.budget < 0):
            raise BadLayer("a header in it is too large")
        return self._read(count)

    def _read(self, count: int) -> bytes:
        pieces, left = [], count
        while left and (piece := _guarded(self._file.read, left)):
            pieces.append(piece)
            left -= len(piece)
        data = b"".join(pieces)
        self.hash.update(data)
        self._at += len(data)
        if self._at > self._max_bytes:
            raise BadLayer(f"it unpacks to more than {self._max_bytes:,} bytes")
        return data

    def tell(self) -> int:
        return self._at

    def seek(self, position: int, whence: int = 0, /) -> int:
        if whence or position < self._at:
            raise BadLayer("a header in it has a size that cannot be")
        while self._at < position and self._read(min(_PIECE_BYTES, position - self._at)):
            pass
        return self._at

    def seekable(self) -> bool:
        return True

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        """The file is its opener's to close."""
