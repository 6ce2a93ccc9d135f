"""Gzip that uses every core, and whose bytes depend on the content alone.

The content is cut into blocks of one size; each is deflated by itself, with the end of the block before it as its
dictionary, and what comes out is put together to one ordinary gzip member. So neither the number of threads nor who was
first changes a byte. The header has no name and no time.
"""

from __future__ import annotations

import hashlib
import os
import struct
import zlib
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import BinaryIO, Final, Self

BLOCK_BYTES: Final = 1 << 20
#: Levels above it cost time and save little on what layers hold: compiled code and Python's source.
LEVEL: Final = 2
_MEMORY_LEVEL: Final = 9
_DICTIONARY_BYTES: Final = 1 << 15
_RAW_DEFLATE: Final = -15
_HEADER: Final = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
_LAST_BLOCK: Final = b"\x03\x00"
_MAX_THREADS: Final = 4


class GzipWriter:
    """Writes one gzip member to ``target``, which stays open; a context manager, finished by leaving it.

    ``digest`` and ``size_bytes`` are of what was written, ``raw_digest`` and ``raw_bytes`` of the content.
    """

    def __init__(self, target: BinaryIO) -> None:
        self._target = target
        self._threads = ThreadPoolExecutor(_threads(), thread_name_prefix="gzip")
        self._pending: deque[Future[bytes]] = deque()
        self._block = bytearray()
        self._dictionary = b""
        self._crc = 0
        self._digest = hashlib.sha256()
        self._raw_digest = hashlib.sha256()
        self.size_bytes = 0
        self.raw_bytes = 0

    @property
    def digest(self) -> str:
        return f"sha256:{self._digest.hexdigest()}"

    @property
    def raw_digest(self) -> str:
        return f"sha256:{self._raw_digest.hexdigest()}"

    def __enter__(self) -> Self:
        self._emit(_HEADER)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._finish()
        finally:
            self._threads.shutdown(cancel_futures=True)

    def write(self, data: bytes) -> None:
        """Any number of bytes; how they are cut into calls changes nothing."""
        view = memoryview(data)
        while view:
            piece = view[: BLOCK_BYTES - len(self._block)]
            self._block += piece
            view = view[len(piece) :]
            if len(self._block) == BLOCK_BYTES:
                self._send_block()

    def _send_block(self) -> None:
        block = bytes(self._block)
        self._block.clear()
        self._crc = zlib.crc32(block, self._crc)
        self._raw_digest.update(block)
        self.raw_bytes += len(block)
        self._pending.append(self._threads.submit(_deflate, block, self._dictionary))
        self._dictionary = block[-_DICTIONARY_BYTES:]
        if len(self._pending) > 2 * _threads():
            self._emit(self._pending.popleft().result())

    def _finish(self) -> None:
        if self._block:
            self._send_block()
        while self._pending:
            self._emit(self._pending.popleft().result())
        self._emit(_LAST_BLOCK + struct.pack("<LL", self._crc, self.raw_bytes & 0xFFFF_FFFF))

    def _emit(self, data: bytes) -> None:
        self._digest.update(data)
        self.size_bytes += len(data)
        self._target.write(data)


def _threads() -> int:
    return min(_MAX_THREADS, os.cpu_count() or 1)


def _deflate(block: bytes, dictionary: bytes) -> bytes:
    options = (LEVEL, zlib.DEFLATED, _RAW_DEFLATE, _MEMORY_LEVEL, zlib.Z_DEFAULT_STRATEGY)
    deflater = zlib.compressobj(*options, zdict=dictionary) if dictionary else zlib.compressobj(*options)
    return deflater.compress(block) + deflater.flush(zlib.Z_SYNC_FLUSH)
