"""``metaData``: JSON text or an object; what a database cannot keep is refused and breaks nothing."""

from __future__ import annotations

from typing import Any

import pytest

from palomar.contract.errors import BadParameter, TooLarge
from palomar.server.web.hubble.shapes import to_metadata


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        ("", None),
        ("null", None),
        ("{}", {}),
        ({"a": [1]}, {"a": [1]}),
        ('{"a": {"b": "\\ud83d\\udd4a"}}', {"a": {"b": "🕊"}}),
    ],
)
def test_metadata(value: Any, expected: Any) -> None:
    assert to_metadata(value, max_bytes=1000) == expected


@pytest.mark.parametrize(
    "value",
    [
        "{",
        "[]",
        "5",
        [],
        5,
        '{"a": NaN}',
        '{"a": "\\u0000"}',
        '{"\\u0000": 1}',
        {"a": "\0"},
        {"a": ["\ud800"]},
        "\ud800",
    ],
)
def test_no_metadata(value: Any) -> None:
    with pytest.raises(BadParameter, match="metaData"):
        to_metadata(value, max_bytes=1000)


def test_metadata_has_a_limit() -> None:
    with pytest.raises(TooLarge):
        to_metadata('{"a": "' + "x" * 1000 + '"}', max_bytes=1000)
