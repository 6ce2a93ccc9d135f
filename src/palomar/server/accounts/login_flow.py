"""How a command line logs in by way of a browser.

1. `begin`: the command line opens a stream; the hub remembers the request and shows the page where a person confirms.
2. `confirm` or `refuse`: a logged-in person decides there, once, within ten minutes of the beginning.
3. `collect_code`: the process that holds the stream, wherever it runs, turns the confirmation into a code that lives a
   minute. Only it knows the request's ``state``, so nobody else can collect, even with the page's address.
4. `grant`: the command line brings code and state back and gets its session.

Each step is one conditional UPDATE: of two that try, one succeeds. Secrets are stored as their SHA-256 alone.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Update, delete, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from palomar.contract.errors import CredentialInvalid, NotFound
from palomar.server.accounts.models import Account, LoginDelivery, LoginRequest, LoginStatus
from palomar.server.accounts.tokens import hash_secret
from palomar.server.db.columns import new_id, utc_now

REQUEST_TTL = timedelta(minutes=10)
CODE_TTL = timedelta(minutes=1)
_KEPT_FOR = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class BegunLogin:
    request_id: str
    state: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class LoginCode:
    """What the command line brings back; each part works once."""

    code: str
    state: str


async def begin(
    session: AsyncSession, *, client_address: str, delivery: LoginDelivery = LoginDelivery.STREAM
) -> BegunLogin:
    now = utc_now()
    await session.execute(delete(LoginRequest).where(LoginRequest.expires_at < now - _KEPT_FOR))
    state = secrets.token_urlsafe(32)
    row = LoginRequest(
        id=new_id(),
        state_hash=hash_secret(state),
        delivery=delivery,
        client_address=client_address[:64],
        created_at=now,
        expires_at=now + REQUEST_TTL,
    )
    session.add(row)
    return BegunLogin(row.id, state, row.expires_at)


async def find_pending(session: AsyncSession, request_id: str) -> LoginRequest:
    """What waits for a person's decision. Raises NotFound once it is decided or too old."""
    query = select(LoginRequest).where(LoginRequest.id == request_id, *_pending())
    row: LoginRequest | None = await session.scalar(query)
    if row is None:
        raise _gone(request_id)
    return row


async def confirm(session: AsyncSession, request_id: str, *, account_id: str) -> None:
    """Raises NotFound if it is decided already or too old."""
    await _decide(session, request_id, status=LoginStatus.CONFIRMED, account_id=account_id)


async def refuse(session: AsyncSession, request_id: str) -> None:
    """Raises NotFound if it is decided already or too old."""
    await _decide(session, request_id, status=LoginStatus.REFUSED)


async def collect_code(session: AsyncSession, begun: BegunLogin) -> LoginCode | None:
    """The code of a confirmed request, for the holder of its state; None if it is not confirmed."""
    code = secrets.token_urlsafe(32)
    is_collected = await _succeeds(
        session,
        _step(begun.request_id, LoginStatus.CONFIRMED)
        .where(LoginRequest.state_hash == hash_secret(begun.state))
        .values(status=LoginStatus.CODED, code_hash=hash_secret(code), code_expires_at=utc_now() + CODE_TTL),
    )
    return LoginCode(code, begun.state) if is_collected else None


async def collect_code_for_form(session: AsyncSession, request_id: str) -> LoginCode:
    """The code of a request that the browser itself carries to the command line, where no stream holds a state."""
    found = LoginCode(secrets.token_urlsafe(32), secrets.token_urlsafe(32))
    is_collected = await _succeeds(
        session,
        _step(request_id, LoginStatus.CONFIRMED)
        .where(LoginRequest.delivery == LoginDelivery.FORM)
        .values(
            status=LoginStatus.CODED,
            state_hash=hash_secret(found.state),
            code_hash=hash_secret(found.code),
            code_expires_at=utc_now() + CODE_TTL,
        ),
    )
    if not is_collected:
        raise _gone(request_id)
    return found


async def grant(session: AsyncSession, *, code: str, state: str) -> Account:
    """The account that confirmed. Raises CredentialInvalid for a code that is wrong, used, late or of another state."""
    query = (
        update(LoginRequest)
        .where(
            LoginRequest.code_hash == hash_secret(code),
            LoginRequest.state_hash == hash_secret(state),
            LoginRequest.status == LoginStatus.CODED,
            LoginRequest.code_expires_at > utc_now(),
        )
        .values(status=LoginStatus.GRANTED)
        .returning(LoginRequest.account_id)
    )
    account_id = await session.scalar(query)
    account = await session.get(Account, account_id) if account_id else None
    if account is None:
        raise CredentialInvalid
    return account


async def _decide(session: AsyncSession, request_id: str, **values: Any) -> None:
    query = update(LoginRequest).where(LoginRequest.id == request_id, *_pending()).values(**values)
    if not await _succeeds(session, query):
        raise _gone(request_id)


def _pending() -> tuple[Any, ...]:
    return LoginRequest.status == LoginStatus.PENDING, LoginRequest.expires_at > utc_now()


def _step(request_id: str, status: LoginStatus) -> Update:
    return update(LoginRequest).where(LoginRequest.id == request_id, LoginRequest.status == status)


async def _succeeds(session: AsyncSession, query: Update) -> bool:
    return (await session.scalar(query.returning(LoginRequest.id))) is not None


def _gone(request_id: str) -> NotFound:
    return NotFound("login request", request_id)
