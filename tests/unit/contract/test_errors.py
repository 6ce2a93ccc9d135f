"""The error tree: stable codes, sentences for people, and the built-in classes that callers already catch."""

from __future__ import annotations

import re
from dataclasses import fields

import pytest

from palomar.contract import errors
from palomar.contract.errors import PalomarError, catalogue, shorten
from tests.factories.errors import CLASSES, make_error

every_class = pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)


def every_subclass(cls: type[PalomarError]) -> set[type[PalomarError]]:
    return {cls}.union(*(every_subclass(below) for below in cls.__subclasses__()))


def test_no_two_classes_share_a_code() -> None:
    assert set(CLASSES) == every_subclass(PalomarError)


def test_the_tree_at_the_top_of_the_module_is_the_tree() -> None:
    drawn = set(re.findall(r"\|-- (\w+)", errors.__doc__ or "")) | {"PalomarError"}
    assert drawn == {cls.__name__ for cls in CLASSES}


@every_class
def test_a_class_says_what_is_wrong_in_words_and_in_fields(cls: type[PalomarError]) -> None:
    error = make_error(cls)
    assert re.fullmatch(r"[a-z]+(-[a-z]+)*", cls.code)
    assert cls.title
    assert str(error) == error.detail == error.args[0]
    assert error.fields.keys() == {field.name for field in fields(cls)}


@every_class
def test_a_class_is_rebuilt_from_its_code_and_fields(cls: type[PalomarError]) -> None:
    error = make_error(cls)
    again = catalogue()[error.code](**error.fields)
    assert (type(again), again.detail, again.fields) == (cls, error.detail, error.fields)


@pytest.mark.parametrize(
    ("cls", "built_in"),
    [
        (errors.BadName, ValueError),
        (errors.MalformedStream, ValueError),
        (errors.NotAllowed, PermissionError),
        (errors.NotFound, LookupError),
        (errors.StorageFull, OSError),
    ],
)
def test_plain_except_clauses_still_work(cls: type[PalomarError], built_in: type[Exception]) -> None:
    assert issubclass(cls, built_in)


def test_a_long_name_is_quoted_in_part() -> None:
    assert shorten("a" * 80) == "a" * 80
    assert shorten("a" * 81) == "a" * 79 + "…"
    assert len(errors.NotFound("array", "a" * 100_000).detail) < 200


def test_a_credential_is_never_said_to_be_expired_or_revoked_or_unknown_alone() -> None:
    assert "unknown, expired or revoked" in errors.CredentialInvalid().detail
