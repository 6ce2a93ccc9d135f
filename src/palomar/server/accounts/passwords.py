"""Passwords: argon2id, computed beside the event loop, with the same work whether or not the name exists."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import NamedTuple

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from palomar.contract.errors import BadParameter

MIN_LENGTH = 8
MAX_LENGTH = 1000

# RFC 9106's order of magnitude, with less memory: two at a time must fit beside a running push.
_HASHER = PasswordHasher(time_cost=3, memory_cost=32 * 1024, parallelism=1)
# Two threads bound the memory and the processors that a flood of login attempts can take; the others stand in line.
_POOL = ThreadPoolExecutor(max_workers=2, thread_name_prefix="argon2")


class Verdict(NamedTuple):
    is_right: bool
    needs_rehash: bool = False


def check_password(password: str, *, name: str) -> str:
    """Raises BadParameter with the broken rule; length is what protects, so there is no rule about signs."""
    if len(password) < MIN_LENGTH:
        raise BadParameter("password", f"it needs at least {MIN_LENGTH} characters")
    if len(password) > MAX_LENGTH:
        raise BadParameter("password", f"it may have at most {MAX_LENGTH} characters")
    if password.strip().lower() == name.lower():
        raise BadParameter("password", "it must not be the name itself")
    if len(set(password)) == 1:
        raise BadParameter("password", "it must not be one character repeated")
    return password


async def hash_password(password: str) -> str:
    return await asyncio.get_running_loop().run_in_executor(_POOL, _HASHER.hash, password)


async def verify_password(stored: str | None, password: str) -> Verdict:
    """``stored`` is None for an unknown name and for an account without a password: the work is the same."""
    return await asyncio.get_running_loop().run_in_executor(_POOL, _verify, stored, password[: MAX_LENGTH + 1])


def _verify(stored: str | None, password: str) -> Verdict:
    try:
        _HASHER.verify(stored or _decoy(), password)
    except (VerificationError, InvalidHashError):
        return Verdict(is_right=False)
    if stored is None:
        return Verdict(is_right=False)
    return Verdict(is_right=True, needs_rehash=_HASHER.check_needs_rehash(stored))


@cache
def _decoy() -> str:
    """A hash that costs what a real one costs."""
    return _HASHER.hash("nobody's password")
