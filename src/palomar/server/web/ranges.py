"""HTTP byte ranges (RFC 9110, section 14): one range, or the whole."""

from __future__ import annotations

import re
from typing import NamedTuple

_RANGE = re.compile(r"bytes=(\d{0,19})-(\d{0,19})", re.ASCII)


class ByteRange(NamedTuple):
    """``start`` to ``stop`` (exclusive) of ``size`` bytes."""

    start: int
    stop: int
    size: int

    @property
    def length(self) -> int:
        return self.stop - self.start

    @property
    def content_range(self) -> str:
        return f"bytes {self.start}-{self.stop - 1}/{self.size}"


class Unsatisfiable(Exception):
    """The range begins behind the end."""


def parse_range(header: str | None, size: int) -> ByteRange | None:
    """None for no range, and for one that this server does not understand: the whole is a right answer to those."""
    match = _RANGE.fullmatch(header.strip()) if header else None
    if match is None:
        return None
    first, last = match.groups()
    if not first:
        return _suffix(last, size)
    start = int(first)
    stop = min(int(last) + 1, size) if last else size
    if last and int(last) < start:
        return None
    if start >= size:
        raise Unsatisfiable
    return ByteRange(start, stop, size)


def _suffix(last: str, size: int) -> ByteRange | None:
    if not last:
        return None
    length = min(int(last), size)
    if not length:
        raise Unsatisfiable
    return ByteRange(size - length, size, size)
