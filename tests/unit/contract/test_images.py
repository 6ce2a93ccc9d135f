"""Names and digests of images: what the OCI grammar allows, and what of it belongs to a namespace."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from palomar.contract.errors import BadDigest, BadName
from palomar.contract.images import ImageDigest, ImageTag, RepositoryName, image_path, parse_reference
from palomar.contract.names import ResourceName

SHA256 = "sha256:" + "0123456789abcdef" * 4
SHA512 = "sha512:" + "0123456789abcdef" * 8


@pytest.mark.parametrize(
    "text", ["alice/digits", "alice/a/b/c", "a/b.c_d__e---f", "alice/0", "legacy/abcdefgh", "a/" + "b" * 253]
)
def test_a_repository_has_a_namespace_and_a_path(text: str) -> None:
    name = RepositoryName.parse(text)
    assert f"{name.namespace}/{name.path}" == name == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "alice",
        "alice/",
        "/digits",
        "alice//digits",
        "alice/digits/",
        "Alice/digits",
        "alice/Digits",
        "alice/di..gits",
        "alice/.digits",
        "alice/digits.",
        "alice/a___b",
        "alice/a._b",
        "alice/-a",
        "alice/a\n",
        "alice/ä",
        "alice/a b",
        "alice/../bob",
        "al--ice/digits",
        "al_ice/digits",
        "_bases/python",
        "a/" + "b" * 254,
    ],
)
def test_other_names_are_refused(text: str) -> None:
    with pytest.raises(BadName):
        RepositoryName.parse(text)


def test_upper_case_is_answered_with_advice() -> None:
    with pytest.raises(BadName, match="write 'digits'"):
        RepositoryName.parse("alice/Digits")


@pytest.mark.parametrize("text", [SHA256, SHA512])
def test_a_digest_says_its_algorithm(text: str) -> None:
    digest = ImageDigest.parse(text)
    assert f"{digest.algorithm}:{digest.hex}" == digest
    assert parse_reference(text) == digest
    assert isinstance(parse_reference(text), ImageDigest)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sha256",
        "sha256:",
        SHA256[:-1],
        SHA256 + "0",
        SHA256.upper(),
        "sha512:" + "0" * 64,
        "md5:" + "0" * 32,
        "a:b",
    ],
)
def test_other_digests_are_refused(text: str) -> None:
    with pytest.raises(BadDigest):
        ImageDigest.parse(text)


@pytest.mark.parametrize("text", ["latest", "v1.0", "_x", "A-b", "a" * 128])
def test_a_reference_without_a_colon_is_a_tag(text: str) -> None:
    assert isinstance(parse_reference(text), ImageTag)


@pytest.mark.parametrize("text", ["", ".a", "-a", "a" * 129, "a/b", "a b", "ä", "a\n"])
def test_other_tags_are_refused(text: str) -> None:
    with pytest.raises(BadName):
        parse_reference(text)


@pytest.mark.parametrize("text", ["a:b", SHA256 + "x", ":"])
def test_what_has_a_colon_is_meant_as_a_digest(text: str) -> None:
    with pytest.raises(BadDigest):
        parse_reference(text)


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("MyExecutor", "myexecutor"),
        ("my.exec-utor_2", "my.exec-utor_2"),
        ("a__b", "a__b"),
        ("a___b", "x-abcdefgh"),
        ("a._b", "x-abcdefgh"),
        ("trailing-", "x-abcdefgh"),
        ("x-zyxwvuts", "x-abcdefgh"),
        ("X-ZYXWVUTS", "x-abcdefgh"),
        ("x-short", "x-short"),
    ],
)
def test_the_path_of_an_executor_is_its_name_where_that_is_allowed(name: str, path: str) -> None:
    assert image_path(ResourceName.parse(name), "abcdefgh") == path


@given(st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", fullmatch=True).filter(lambda name: ".." not in name))
def test_every_executor_has_a_path_that_can_be_a_repository(name: str) -> None:
    path = image_path(ResourceName.parse(name), "abcdefgh")
    assert RepositoryName.parse(f"alice/{path}").path == path
