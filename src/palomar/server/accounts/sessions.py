"""Logins of browsers and command lines: a signed JWT in their hands, a row here that ends it at once."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import delete, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from palomar.server.accounts.keys import Keyring
from palomar.server.accounts.models import Account, LoginSession, SessionClient
from palomar.server.db.columns import new_id, utc_now
from palomar.server.events.kinds import EventKind
from palomar.server.events.record import record

# jina-hubble-sdk checks 'nbf' without leeway: a client whose clock is a little behind must not refuse a fresh login.
_CLOCK_SKEW = timedelta(minutes=1)


async def start_session(
    session: AsyncSession,
    keys: Keyring,
    account: Account,
    *,
    client: SessionClient,
    ttl: timedelta,
    issuer: str,
    label: str = "",
) -> str:
    """Returns the JWT, which is not stored."""
    now = utc_now()
    await session.execute(
        delete(LoginSession).where(LoginSession.account_id == account.id, LoginSession.expires_at < now)
    )
    row = LoginSession(
        id=new_id(), account_id=account.id, client=client, label=label[:100], created_at=now, expires_at=now + ttl
    )
    session.add(row)
    record(session, EventKind.SESSION_STARTED, account_id=account.id, subject_id=row.id, client=client)
    return keys.sign(_claims(account, row, issuer))


def _claims(account: Account, row: LoginSession, issuer: str) -> dict[str, Any]:
    issued_at = int(row.created_at.timestamp())
    return {
        "iss": issuer,
        "sub": account.id,
        "sid": row.id,
        "iat": issued_at,
        "nbf": issued_at - int(_CLOCK_SKEW.total_seconds()),
        "exp": int(row.expires_at.timestamp()),
        # With it the SDK knows the person without asking the hub.
        "user": {
            "_id": account.id,
            "name": account.name,
            "nickname": account.nickname or account.name,
            "status": account.status,
        },
    }


async def list_sessions(session: AsyncSession, account_id: str) -> Sequence[LoginSession]:
    """Those that still work, the newest first."""
    query = select(LoginSession).where(
        LoginSession.account_id == account_id,
        LoginSession.revoked_at.is_(None),
        LoginSession.expires_at > utc_now(),
    )
    return (await session.scalars(query.order_by(LoginSession.created_at.desc(), LoginSession.id))).all()


async def end_session(session: AsyncSession, session_id: str, *, account_id: str) -> None:
    """Whoever holds its JWT is out at once. Ending what is not there, or not theirs, changes nothing."""
    ended = await session.scalars(
        _revocation(account_id).where(LoginSession.id == session_id).returning(LoginSession.id)
    )
    _record_ends(session, account_id, ended.all())


async def end_other_sessions(session: AsyncSession, *, account_id: str, keep: str | None) -> None:
    ended = await session.scalars(
        _revocation(account_id).where(LoginSession.id != (keep or "")).returning(LoginSession.id)
    )
    _record_ends(session, account_id, ended.all())


def _revocation(account_id: str) -> Any:
    unended = (LoginSession.account_id == account_id, LoginSession.revoked_at.is_(None))
    return update(LoginSession).where(*unended).values(revoked_at=utc_now())


def _record_ends(session: AsyncSession, account_id: str, session_ids: Sequence[str]) -> None:
    for session_id in session_ids:
        record(session, EventKind.SESSION_ENDED, account_id=account_id, subject_id=session_id)
