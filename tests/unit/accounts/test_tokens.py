from __future__ import annotations

import hypothesis.strategies as st
from hypothesis import given

from palomar.server.accounts.tokens import TOKEN_LENGTH, hint, is_well_formed, new_token


def test_new_token_is_well_formed_and_without_dots() -> None:
    token = new_token()
    assert is_well_formed(token)
    assert token.startswith("plm_")
    assert len(token) == TOKEN_LENGTH
    assert "." not in token, "clients take a dotted token for a JWT"


def test_no_two_tokens_are_equal() -> None:
    assert len({new_token() for _ in range(1000)}) == 1000


@given(position=st.integers(0, TOKEN_LENGTH - 1), other=st.characters(min_codepoint=33, max_codepoint=0x2FF))
def test_one_changed_character_is_noticed_without_the_database(position: int, other: str) -> None:
    token = new_token()
    changed = token[:position] + other + token[position + 1 :]
    assert is_well_formed(changed) == (changed == token)


@given(st.text())
def test_arbitrary_text_is_no_token(text: str) -> None:
    assert not is_well_formed(text)
    assert not is_well_formed("plm_" + text)


def test_hint_is_the_end() -> None:
    token = new_token()
    assert hint(token) == token[-4:]
