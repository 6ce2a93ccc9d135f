"""What a client asks a token for."""

from __future__ import annotations

import pytest

from palomar.contract.errors import BadParameter
from palomar.server.web.oci.scopes import parse_scopes


def asked(*scopes: str) -> dict[str, set[str]]:
    return {f"{one.type}:{one.name}": set(one.asked) for one in parse_scopes(scopes)}


@pytest.mark.parametrize(
    ("scope", "expected"),
    [
        ("repository:alice/birds:pull", {"repository:alice/birds": {"pull"}}),
        ("repository:alice/birds:pull,push", {"repository:alice/birds": {"pull", "push"}}),
        ("repository:alice/birds:*", {"repository:alice/birds": {"pull", "push", "delete"}}),
        ("repository:alice/a/b/c:delete", {"repository:alice/a/b/c": {"delete"}}),
        ("registry:catalog:*", {"registry:catalog": {"*"}}),
    ],
)
def test_a_scope(scope: str, expected: dict[str, set[str]]) -> None:
    assert asked(scope) == expected


def test_several_in_one_parameter_or_in_many_are_the_same() -> None:
    one, other = "repository:alice/birds:pull,push", "repository:bob/base:pull"
    assert asked(f"{one} {other}") == asked(one, other) == asked(other, one)
    assert len(asked(one, other)) == 2


def test_actions_of_one_repository_are_put_together() -> None:
    scopes = ("repository:alice/birds:pull", "repository:alice/birds:push")
    assert asked(*scopes) == {"repository:alice/birds": {"pull", "push"}}


@pytest.mark.parametrize(
    "scope",
    [
        "",
        " ",
        "repository",
        "repository:",
        "repository:alice/birds",
        "repository:alice/birds:",
        "repository:alice/birds:steal",
        "repository:birds:pull",
        "repository:Alice/Birds:pull",
        "repository:alice/../bob:pull",
        "repository:*:pull",
        "repository:alice/*:pull",
        "repository(plugin):alice/birds:pull",
        "registry:catalog:pull",
        "registry:other:*",
        "samalba/my-app:pull",
        "repository:alice/\N{BIRD}:pull",
    ],
)
def test_what_is_no_scope_of_this_hub_asks_for_nothing(scope: str) -> None:
    assert asked(scope) == {}


def test_more_than_a_token_can_carry_is_refused() -> None:
    assert len(asked(*(f"repository:alice/r{number}:pull" for number in range(10)))) == 10
    with pytest.raises(BadParameter):
        parse_scopes([f"repository:alice/r{number}:pull" for number in range(11)])
    with pytest.raises(BadParameter):
        parse_scopes([f"repository:alice/{'a' * 240}{number}:pull" for number in range(5)])
