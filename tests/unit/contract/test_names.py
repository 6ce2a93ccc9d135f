"""Every rule of names, one example on each side of each border."""

from __future__ import annotations

import pytest

from palomar.contract.errors import BadName
from palomar.contract.names import (
    NAMESPACE_RULE,
    RESERVED_NAMESPACES,
    RESOURCE_RULE,
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


@pytest.mark.parametrize("text", ["a", "0", "alice", "a-b", "a-b-c", "a" * 39, "0-0"])
def test_a_namespace(text: str) -> None:
    assert Namespace.parse(text) == text


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "it is empty"),
        ("a" * 40, "it has 40 characters"),
        ("Alice", "upper-case letters, write 'alice'"),
        ("-a", "misplaced hyphens"),
        ("a-", "misplaced hyphens"),
        ("a--b", "misplaced hyphens"),
        ("a_b", "other characters"),
        ("a.b", "other characters"),
        ("a b", "other characters"),
        ("a\n", "other characters"),
        ("é", "other characters"),
        ("٣", "other characters"),
        ("_legacy", "other characters"),
        ("a/b", "other characters"),
    ],
)
def test_no_namespace(text: str, reason: str) -> None:
    with pytest.raises(BadName) as refused:
        Namespace.parse(text)
    assert reason in refused.value.reason
    assert NAMESPACE_RULE in refused.value.detail


@pytest.mark.parametrize("text", ["x", "X", "0", "a.b", "a_b", "a-b", "a-", "a.", "Fashion_MNIST-v1.0", "a" * 128])
def test_a_resource_name(text: str) -> None:
    assert ResourceName.parse(text) == text
    assert ResourceName.parse(text).key == text.lower()


@pytest.mark.parametrize(
    "text", ["", "a" * 129, ".a", "_a", "-a", "a..b", "..", ".", "a/b", "a b", "a\n", "é", "a%20b"]
)
def test_no_resource_name(text: str) -> None:
    with pytest.raises(BadName) as refused:
        ResourceName.parse(text)
    assert RESOURCE_RULE in refused.value.detail


@pytest.mark.parametrize("text", ["x", "with space", "é", "a:b", "a.b", "-", "a" * 255])
def test_a_legacy_name(text: str) -> None:
    assert LegacyName.parse(text).key == text


@pytest.mark.parametrize("text", ["", "a" * 256, "a/b", "a&b", "a#b", "a+b", "a%b", "a\n", "a\0b", "\ud800"])
def test_no_legacy_name(text: str) -> None:
    with pytest.raises(BadName):
        LegacyName.parse(text)


@pytest.mark.parametrize("text", ["latest", "v1.0", "_x", "0", "a" * 128])
def test_a_tag(text: str) -> None:
    assert Tag.parse(text) == text


@pytest.mark.parametrize("text", ["", ".a", "-a", "a" * 129, "a b", "a/b", "a:b", "a\n"])
def test_no_tag(text: str) -> None:
    with pytest.raises(BadName):
        Tag.parse(text)


@pytest.mark.parametrize("text", ["", "0" * 63, "0" * 65, "A" * 64, "g" * 64, "0" * 64 + "\n"])
def test_no_digest(text: str) -> None:
    with pytest.raises(BadName):
        Digest.parse(text)


def test_a_digest() -> None:
    assert Digest.parse("0123456789abcdef" * 4) == "0123456789abcdef" * 4


@pytest.mark.parametrize(("text", "label"), [("my token", "my token"), ("  x ", "x"), ("é" * 100, "é" * 100)])
def test_a_label(text: str, label: str) -> None:
    assert Label.parse(text) == label


@pytest.mark.parametrize("text", ["", "  ", "x" * 101, "a\nb", "a\0"])
def test_no_label(text: str) -> None:
    with pytest.raises(BadName):
        Label.parse(text)


@pytest.mark.parametrize("name", sorted(RESERVED_NAMESPACES))
def test_a_reserved_namespace_parses_and_cannot_be_registered(name: str) -> None:
    """It is written as anybody would write it, so reserving it has an effect."""
    with pytest.raises(BadName, match="reserved"):
        Namespace.parse(name).check_registrable()


def test_what_is_not_reserved_can_be_registered() -> None:
    assert Namespace.parse("alice").check_registrable() == "alice"


@pytest.mark.parametrize("name", ["rpc", "api", "login", "signup", "settings", "static", "download", "healthz", "v2"])
def test_the_paths_of_the_hub_are_reserved(name: str) -> None:
    assert name in RESERVED_NAMESPACES


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("alice/digits", ResourcePath(Namespace("alice"), ResourceName("digits"))),
        ("jac://alice/digits", ResourcePath(Namespace("alice"), ResourceName("digits"))),
        ("digits", BareName("digits")),
        ("jac://digits", BareName("digits")),
        ("", BareName("")),
    ],
)
def test_what_a_client_calls_an_array(text: str, expected: ResourcePath | BareName) -> None:
    assert parse_array_name(text) == expected


@pytest.mark.parametrize("text", ["/", "alice/", "/digits", "alice/a/b", "Alice/digits", "alice/..", "s3://a/b"])
def test_what_nobody_can_call_an_array(text: str) -> None:
    with pytest.raises(BadName):
        parse_array_name(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("jinaai://alice/MyExecutor", ("jinaai", "alice", "MyExecutor", None, None)),
        ("jinaai+docker://alice/MyExecutor:v2", ("jinaai+docker", "alice", "MyExecutor", "v2", None)),
        ("jinaai+sandbox://alice/MyExecutor/", ("jinaai+sandbox", "alice", "MyExecutor", None, None)),
        ("jinahub://MyExecutor", ("jinahub", None, "MyExecutor", None, None)),
        ("jinahub://MyExecutor:secret", ("jinahub", None, "MyExecutor", None, "secret")),
        ("jinahub+docker://MyExecutor:secret/v2", ("jinahub+docker", None, "MyExecutor", "v2", "secret")),
        ("jinahub+sandbox://MyExecutor/v2", ("jinahub+sandbox", None, "MyExecutor", "v2", None)),
    ],
)
def test_an_executors_uri(text: str, expected: tuple[str | None, ...]) -> None:
    uri = ExecutorUri.parse(text)
    assert (uri.scheme, uri.namespace, uri.name, uri.tag, uri.secret) == expected
    assert uri.scheme.is_legacy is text.startswith("jinahub")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "alice/MyExecutor",
        "http://alice/MyExecutor",
        "jinaai:/alice/MyExecutor",
        "jinaai://MyExecutor",
        "jinaai://alice/",
        "jinaai://alice/MyExecutor:",
        "jinaai://alice/MyExecutor:a:b",
        "jinaai://Alice/MyExecutor",
        "jinahub://",
        "jinahub://MyExecutor:",
        "jinahub://MyExecutor:a\nb",
        "jinahub://MyExecutor/v1/v2",
        "JINAAI://alice/MyExecutor",
    ],
)
def test_no_executors_uri(text: str) -> None:
    with pytest.raises(BadName) as refused:
        ExecutorUri.parse(text)
    assert refused.value.allowed


def test_every_scheme_has_its_three_forms() -> None:
    assert {str(scheme) for scheme in Scheme} == {
        base + form for base in ("jinaai", "jinahub") for form in ("", "+docker", "+sandbox")
    }
