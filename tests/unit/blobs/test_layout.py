from __future__ import annotations

import string
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from palomar.server.blobs.layout import folder_of, is_key, new_key, object_path

keys = st.text("0123456789abcdef", min_size=32, max_size=32)


def test_new_keys_are_keys_and_differ():
    made = [new_key() for _ in range(1000)]
    assert all(map(is_key, made))
    assert len(set(made)) == len(made)


def test_a_key_begins_with_its_time(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(time, "time_ns", lambda: 0x0197A3C4E5F6 * 1_000_000 + 999_999)
    assert new_key().startswith("0197a3c4e5f6")


def test_folders_come_from_the_random_end():
    folders = {folder_of(new_key()) for _ in range(2000)}
    assert len(folders) > 1000


@given(keys)
def test_a_path_is_two_folders_and_the_key(key: str):
    outer, inner, name = object_path(key).split("/")
    assert (outer + inner, name) == (key[-3:], key)


@given(st.text() | st.text(string.hexdigits + "/.\n", min_size=30, max_size=34))
def test_nothing_but_a_key_has_a_path(name: str):
    if len(name) == 32 and set(name) <= set("0123456789abcdef"):
        assert object_path(name).endswith(name)
        return
    assert not is_key(name)
    with pytest.raises(ValueError, match="not a blob key"):
        object_path(name)
