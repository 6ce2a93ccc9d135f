from __future__ import annotations

import pytest
from argon2 import PasswordHasher

from palomar.contract.errors import BadParameter
from palomar.server.accounts import passwords
from palomar.server.accounts.passwords import check_password, hash_password, verify_password


@pytest.mark.parametrize("password", ["8 chars!", "x" * 999 + "y", "пароль из слов"])
def test_allowed(password: str) -> None:
    assert check_password(password, name="alice") == password


@pytest.mark.parametrize(
    ("password", "rule"),
    [
        ("", "at least 8"),
        ("7 chars", "at least 8"),
        ("xy" * 501, "at most 1000"),
        ("Alice-the-First", "name itself"),
        ("aaaaaaaaaaaaaa", "repeated"),
    ],
)
def test_refused_with_the_rule_in_words(password: str, rule: str) -> None:
    with pytest.raises(BadParameter, match=rule) as refused:
        check_password(password, name="alice-the-first")
    assert refused.value.parameter == "password"


async def test_right_and_wrong() -> None:
    stored = await hash_password("correct horse")
    assert stored.startswith("$argon2id$")
    assert "correct horse" not in stored
    assert (await verify_password(stored, "correct horse")) == (True, False)
    assert (await verify_password(stored, "correct house")) == (False, False)


async def test_without_stored_hash_nothing_is_right_and_the_work_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    verified: list[str] = []

    class CountingHasher(PasswordHasher):
        def verify(self, hash: str | bytes, password: str | bytes) -> bool:  # noqa: A002 - the library's own name
            verified.append(str(hash))
            return super().verify(hash, password)

    monkeypatch.setattr(passwords, "_HASHER", CountingHasher(time_cost=1, memory_cost=1024, parallelism=1))
    passwords._decoy.cache_clear()
    assert not (await verify_password(None, "nobody's password")).is_right
    assert not (await verify_password(None, "something else")).is_right
    assert len(verified) == 2
    passwords._decoy.cache_clear()


async def test_broken_stored_hash_is_never_right() -> None:
    assert not (await verify_password("rubbish", "rubbish")).is_right


async def test_weaker_hash_wants_to_be_replaced() -> None:
    weak = PasswordHasher(time_cost=1, memory_cost=1024, parallelism=1).hash("correct horse")
    assert (await verify_password(weak, "correct horse")) == (True, True)
