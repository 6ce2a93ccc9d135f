"""Personal access tokens of an account: created once shown once, listed, deleted."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta

from sqlalchemy import delete, or_, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from palomar.contract.actions import Scope
from palomar.contract.errors import BadParameter, NameTaken, NotFound
from palomar.contract.names import Label
from palomar.server.accounts.models import PersonalAccessToken
from palomar.server.accounts.tokens import hash_secret, hint, new_token
from palomar.server.db.columns import new_id, utc_now
from palomar.server.events.kinds import EventKind
from palomar.server.events.record import record

DEFAULT_DAYS = 30


def parse_days(value: object, *, max_days: int, parameter: str = "expirationDays") -> int:
    """``value`` as a client sent it, a number or its text. Raises BadParameter."""
    text = str(value).strip()
    if not (text.isascii() and text.isdigit() and len(text) < 10 and 1 <= int(text) <= max_days):
        raise BadParameter(parameter, f"{text[:20]!r} is no number of days from 1 to {max_days}")
    return int(text)


async def create_token(
    session: AsyncSession, *, account_id: str, name: str, days: int | None, scopes: Iterable[Scope]
) -> str:
    """Returns the token, which nobody can read again; without ``days`` it never expires. Raises BadName, NameTaken."""
    label = Label.parse(name)
    await _purge_expired(session, account_id)
    if await _find(session, account_id, label) is not None:
        raise NameTaken("token", label)
    token = new_token()
    now = utc_now()
    row = PersonalAccessToken(
        id=new_id(),
        account_id=account_id,
        name=str(label),
        token_hash=hash_secret(token),
        hint=hint(token),
        scopes=sorted(scopes),
        created_at=now,
        updated_at=now,
        expires_at=None if days is None else now + timedelta(days=days),
    )
    session.add(row)
    try:
        await session.flush()
    except IntegrityError:  # another replica was faster
        raise NameTaken("token", label) from None
    record(session, EventKind.TOKEN_CREATED, account_id=account_id, subject_id=row.id, name=row.name, days=days)
    return token


async def list_tokens(session: AsyncSession, account_id: str) -> Sequence[PersonalAccessToken]:
    """Those that still work, the newest first."""
    query = select(PersonalAccessToken).where(
        PersonalAccessToken.account_id == account_id,
        or_(PersonalAccessToken.expires_at.is_(None), PersonalAccessToken.expires_at > utc_now()),
    )
    newest_first = (PersonalAccessToken.created_at.desc(), PersonalAccessToken.id)
    return (await session.scalars(query.order_by(*newest_first))).all()


async def delete_token(session: AsyncSession, *, account_id: str, name: str) -> None:
    """It is refused from the next request on. Raises NotFound."""
    row = await _find(session, account_id, name.strip())
    if row is None:
        raise NotFound("token", name)
    await session.delete(row)
    record(session, EventKind.TOKEN_DELETED, account_id=account_id, subject_id=row.id, name=row.name)


async def _find(session: AsyncSession, account_id: str, name: str) -> PersonalAccessToken | None:
    named = (PersonalAccessToken.account_id == account_id, PersonalAccessToken.name == str(name))
    row: PersonalAccessToken | None = await session.scalar(select(PersonalAccessToken).where(*named))
    return row


async def _purge_expired(session: AsyncSession, account_id: str) -> None:
    """So that the name of an expired token can be used again."""
    await session.execute(
        delete(PersonalAccessToken).where(
            PersonalAccessToken.account_id == account_id, PersonalAccessToken.expires_at <= utc_now()
        )
    )
