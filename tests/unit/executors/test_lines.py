"""Which tags promise the same."""

from __future__ import annotations

import pytest

from palomar.contract.names import Tag
from palomar.server.executors.guard import line_of
from palomar.server.executors.tags import LATEST, WantedTags

SAME = [("v2", "2"), ("v2", "v2.1"), ("v2.1", "v2.3.4"), ("02", "2"), ("v0.1", "0.1.9"), ("v0", "0.0.3")]
DIFFERENT = [("v2", "v3"), ("v2.1", "v1.2"), ("v0.1", "v0.2"), ("v0.1", "v1"), ("v0", "v0.1")]
NONE = ["latest", "v", "", "2.", "v2.x", "v2-gpu", "v2.1.3.4", "version2", "V2", "٢", "v1234567890", "v2\n"]


@pytest.mark.parametrize(("one", "other"), SAME)
def test_these_are_of_one_line(one: str, other: str) -> None:
    assert line_of(one) == line_of(other) is not None


@pytest.mark.parametrize(("one", "other"), DIFFERENT)
def test_these_are_not(one: str, other: str) -> None:
    assert line_of(one) != line_of(other)


@pytest.mark.parametrize("tag", NONE)
def test_these_are_of_no_line(tag: str) -> None:
    assert line_of(tag) is None


def test_each_wanted_tag_is_named_once_and_latest_only_where_there_is_none() -> None:
    assert WantedTags().names == (LATEST,)
    assert WantedTags((Tag("a"), Tag("b")), (Tag("b"), Tag("c"))).names == ("a", "b", "c")
    assert WantedTags(protected=(Tag("c"),)).names == ("c",)
