"""Names and URIs under any input: what parses prints the same, and nothing takes longer than its length."""

from __future__ import annotations

import re
import string
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from palomar.contract.errors import BadName
from palomar.contract.names import (
    BareName,
    Digest,
    ExecutorUri,
    Label,
    LegacyName,
    Namespace,
    ResourceName,
    ResourcePath,
    Scheme,
    Tag,
    parse_array_name,
)

LOWER = string.ascii_lowercase + string.digits
ANY = string.ascii_letters + string.digits

namespaces = st.from_regex(r"[a-z0-9](-?[a-z0-9]){0,38}", fullmatch=True).filter(lambda text: len(text) <= 39)
resources = st.builds(
    str.__add__, st.sampled_from(ANY), st.text(alphabet=ANY + "._-", max_size=127)
).filter(lambda text: ".." not in text)  # fmt: skip
tags = st.builds(str.__add__, st.sampled_from(ANY + "_"), st.text(alphabet=ANY + "._-", max_size=127))
secrets = st.text(
    alphabet=st.characters(exclude_categories=("C", "Z"), exclude_characters="/"), min_size=1, max_size=40
).filter(str.isprintable)
paths = st.builds(ResourcePath, namespaces.map(Namespace), resources.map(ResourceName))
current = st.sampled_from([scheme for scheme in Scheme if not scheme.is_legacy])
legacy = st.sampled_from([scheme for scheme in Scheme if scheme.is_legacy])
uris = st.one_of(
    st.builds(
        ExecutorUri,
        current,
        namespaces.map(Namespace),
        resources.map(ResourceName),
        st.none() | tags.map(Tag),
    ),
    st.builds(
        ExecutorUri, legacy, st.none(), resources.map(ResourceName), st.none() | tags.map(Tag), st.none() | secrets
    ),
)
anything = st.text(max_size=60) | st.text(alphabet="aA0.-_/:", max_size=60)
PARSERS: list[Callable[[str], object]] = [
    Namespace.parse,
    ResourceName.parse,
    LegacyName.parse,
    Tag.parse,
    Digest.parse,
    Label.parse,
    ResourcePath.parse,
    parse_array_name,
    ExecutorUri.parse,
]


@given(paths)
def test_a_path_that_is_printed_parses_to_itself(path: ResourcePath) -> None:
    assert ResourcePath.parse(str(path)) == path
    assert parse_array_name(str(path)) == path
    assert parse_array_name(f"jac://{path}") == path


@given(uris)
def test_an_executors_uri_that_is_printed_parses_to_itself(uri: ExecutorUri) -> None:
    assert ExecutorUri.parse(str(uri)) == uri


@given(anything)
def test_whatever_parses_prints_the_same(text: str) -> None:
    for parse in (Namespace.parse, ResourceName.parse, LegacyName.parse, Tag.parse, Digest.parse, ResourcePath.parse):
        try:
            parsed = parse(text)
        except BadName:
            continue
        assert str(parsed) == text


@given(anything)
def test_a_uri_parses_to_one_that_prints_and_parses_alike(text: str) -> None:
    for scheme in Scheme:
        try:
            uri = ExecutorUri.parse(f"{scheme}://{text}")
        except BadName:
            continue
        assert ExecutorUri.parse(str(uri)) == uri


@given(anything)
def test_the_patterns_are_the_documented_ones(text: str) -> None:
    """Said again, in the plainest words: by length, alphabet and ends."""
    is_namespace = (
        1 <= len(text) <= 39
        and set(text) <= set(LOWER + "-")
        and not text.startswith("-")
        and not text.endswith("-")
        and "--" not in text
    )
    is_resource = (
        1 <= len(text) <= 128 and set(text) <= set(ANY + "._-") and text[0] in ANY and ".." not in text
    )  # fmt: skip
    assert parses(Namespace.parse, text) is is_namespace
    assert parses(ResourceName.parse, text) is is_resource


@given(anything)
def test_a_name_of_an_array_is_a_path_exactly_when_it_has_a_slash(text: str) -> None:
    try:
        parsed = parse_array_name(text)
    except BadName:
        assert "/" in text.removeprefix("jac://")
    else:
        assert isinstance(parsed, BareName) is ("/" not in text.removeprefix("jac://"))


@given(st.text(max_size=200))
def test_a_refusal_quotes_a_short_piece_and_says_what_is_allowed(text: str) -> None:
    for error in filter(None, (refusal(parse, text) for parse in PARSERS)):
        assert error.allowed
        assert error.allowed in error.detail
        assert len(error.detail) < 900
        assert error.detail.isprintable()


@given(resources)
def test_two_resource_names_are_one_when_only_their_case_differs(name: str) -> None:
    assert ResourceName.parse(name.swapcase()).key == ResourceName.parse(name).key


HOSTILE = [
    "a" * 100_000,
    "a-" * 50_000,
    "-" * 100_000,
    "a" + "-" * 100_000,
    "." * 100_000,
    "a/" * 50_000,
    "a/" + "b." * 50_000,
    "jinaai://" * 11_000,
    "jinaai://a/" + "b" * 100_000,
    "jinahub://" + "a:" * 50_000,
    "jac://" * 16_000,
    "é" * 100_000,
    "\0" * 100_000,
    "A" * 39 + "a" * 100_000,
]


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: re.sub(r"[^\w/:.-]", "?", text[:12]))
@pytest.mark.parametrize("parse", PARSERS, ids=lambda parse: parse.__qualname__)
@pytest.mark.timeout(10)  # what is not linear would take hours
def test_a_hundred_thousand_characters_are_answered_at_once(parse: Callable[[str], object], text: str) -> None:
    for one in (text, f"alice/{text}", f"jinaai://alice/{text}:v1"):
        parses(parse, one)
    with pytest.raises(BadName):
        ResourcePath.parse(text)


def parses(parse: Callable[[str], object], text: str) -> bool:
    return refusal(parse, text) is None


def refusal(parse: Callable[[str], object], text: str) -> BadName | None:
    try:
        parse(text)
    except BadName as error:
        return error
    return None
