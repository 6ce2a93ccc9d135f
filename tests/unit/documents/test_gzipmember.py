from __future__ import annotations

import gzip

import pytest

from palomar.documents.gzipmember import (
    inflate,
    max_member_bytes,
    pad_member,
    pad_prefix,
    stored_member,
    stored_member_bytes,
)
from tests.unit.documents.streams import random_bytes

RAW = b"some document"
SIZES = [0, 1, 100, 65_534, 65_535, 65_536, 131_070, 131_071, 1_000_000]


@pytest.mark.parametrize("size", SIZES)
def test_stored_member_is_read_by_gzip_and_has_the_computed_size(size: int) -> None:
    raw = random_bytes(size, size)
    member = stored_member(raw)
    assert gzip.decompress(member) == raw == inflate(member, limit=size)
    assert len(member) == stored_member_bytes(size) <= max_member_bytes(size)


def test_stored_member_has_no_time() -> None:
    assert stored_member(RAW)[4:8] == bytes(4)


@pytest.mark.parametrize("padding", [1, 2, 3, 1000])
def test_padded_member_is_longer_and_holds_the_same(padding: int) -> None:
    member = gzip.compress(RAW)
    padded = pad_member(member, padding)
    assert len(padded) == len(member) + padding
    assert gzip.decompress(padded) == RAW


def test_padding_of_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match="at least one byte"):
        pad_member(gzip.compress(RAW), 0)


def test_padded_member_cannot_be_padded_again() -> None:
    with pytest.raises(ValueError, match="plain gzip header"):
        pad_member(pad_member(gzip.compress(RAW), 1), 1)


def test_short_header_cannot_be_padded() -> None:
    with pytest.raises(ValueError, match="plain gzip header"):
        pad_prefix(b"\x1f\x8b\x08\0", 1)


def test_inflate_stops_at_its_limit() -> None:
    member = gzip.compress(bytes(1000))
    assert inflate(member, limit=1000) == bytes(1000)
    assert inflate(member, limit=999) is None


def test_damage_beyond_the_limit_is_not_reached() -> None:
    assert inflate(gzip.compress(bytes(10_000))[:-8], limit=10) is None


def test_inflate_refuses_an_empty_member() -> None:
    with pytest.raises(ValueError, match="not gzip-compressed"):
        inflate(b"", limit=10)
