"""Byte ranges as RFC 9110 has them: one range is served, what is not understood is ignored."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from palomar.server.web.ranges import Unsatisfiable, parse_range


@pytest.mark.parametrize(
    ("header", "start", "stop"),
    [
        ("bytes=0-9", 0, 10),
        ("bytes=0-0", 0, 1),
        ("bytes=5-", 5, 100),
        ("bytes=99-", 99, 100),
        ("bytes=90-1000", 90, 100),
        ("bytes=-1", 99, 100),
        ("bytes=-100", 0, 100),
        ("bytes=-1000", 0, 100),
        (" bytes=0-9 ", 0, 10),
        ("bytes=0-9999999999999999999", 0, 100),
    ],
)
def test_a_range(header: str, start: int, stop: int) -> None:
    found = parse_range(header, 100)
    assert found is not None
    assert (found.start, found.stop, found.length) == (start, stop, stop - start)
    assert found.content_range == f"bytes {start}-{stop - 1}/100"


@pytest.mark.parametrize(
    "header",
    [
        None,
        "",
        "bytes=",
        "bytes=-",
        "bytes=9-0",
        "bytes=0-1,3-4",
        "bytes=a-b",
        "bytes=٣-٤",
        "bytes 0-9",
        "items=0-9",
        "bytes=0-99999999999999999999",
        "bytes=--1",
        "bytes=1-2-3",
    ],
)
def test_what_is_not_understood_means_the_whole(header: str | None) -> None:
    assert parse_range(header, 100) is None


@pytest.mark.parametrize(("header", "size"), [("bytes=100-", 100), ("bytes=500-600", 100), ("bytes=-0", 100)])
def test_a_range_behind_the_end_cannot_be_satisfied(header: str, size: int) -> None:
    with pytest.raises(Unsatisfiable):
        parse_range(header, size)


@pytest.mark.parametrize("header", ["bytes=0-", "bytes=0-9", "bytes=-5"])
def test_nothing_of_an_empty_file_can_be_satisfied(header: str) -> None:
    with pytest.raises(Unsatisfiable):
        parse_range(header, 0)


@given(st.text(alphabet="bytes=0123456789-, ", max_size=30) | st.text(max_size=30), st.integers(0, 10**6))
def test_whatever_is_answered_lies_within_the_file(header: str, size: int) -> None:
    try:
        found = parse_range(header, size)
    except Unsatisfiable:
        return
    assert found is None or 0 <= found.start < found.stop <= size
