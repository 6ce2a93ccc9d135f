"""Accounts: made together with their namespace, and entered with a password."""

from __future__ import annotations

from dataclasses import dataclass, field

from sqlalchemy import select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from palomar.contract.errors import BadParameter, CredentialInvalid, LoginFailed, NameTaken
from palomar.contract.names import Namespace
from palomar.server.accounts.models import Account
from palomar.server.accounts.passwords import check_password, hash_password, verify_password
from palomar.server.accounts.rate_limits import RateLimits
from palomar.server.accounts.sessions import end_other_sessions
from palomar.server.db.columns import new_id
from palomar.server.db.engine import Database
from palomar.server.events.kinds import EventKind
from palomar.server.events.record import record
from palomar.server.namespaces.service import NamespaceDefaults, register_namespace

_MAX_EMAIL_LENGTH = 254


@dataclass(frozen=True, slots=True)
class NewAccount:
    """What a person, or an operator for them, asks for; without a password they log in by token alone."""

    name: str
    password: str | None = field(default=None, repr=False)
    email: str | None = None


async def sign_up(database: Database, wanted: NewAccount, *, defaults: NamespaceDefaults) -> Account:
    """Raises BadName, BadParameter (password, email), NameTaken or NameRetired."""
    name = Namespace.parse(wanted.name).check_registrable()
    email = check_email(wanted.email)
    password_hash = None
    if wanted.password is not None:
        password_hash = await hash_password(check_password(wanted.password, name=name))
    async with database.write() as session:
        return await create_account(session, name, password_hash=password_hash, email=email, defaults=defaults)


async def create_account(
    session: AsyncSession, name: Namespace, *, password_hash: str | None, email: str | None, defaults: NamespaceDefaults
) -> Account:
    """The account and the namespace of its name, or neither."""
    account = Account(id=new_id(), name=str(name), email=email, password_hash=password_hash)
    if await find_account(session, name) is not None:
        raise NameTaken("namespace", name)
    session.add(account)
    try:
        await session.flush()
        await register_namespace(session, name, owner_id=account.id, defaults=defaults)
    except IntegrityError:  # another replica was faster
        raise NameTaken("namespace", name) from None
    record(session, EventKind.ACCOUNT_CREATED, account_id=account.id, name=account.name)
    return account


def check_email(email: str | None) -> str | None:
    """Only what is certainly none is refused: whether an address works, only a message to it can tell."""
    email = (email or "").strip()
    if not email:
        return None
    before, at, after = email.partition("@")
    if not (before and at and after) or len(email) > _MAX_EMAIL_LENGTH or not email.isprintable() or " " in email:
        raise BadParameter("email", "it is no e-mail address")
    return email


async def find_account(session: AsyncSession, name: str) -> Account | None:
    account: Account | None = await session.scalar(select(Account).where(Account.name == str(name)))
    return account


async def get_account(session: AsyncSession, account_id: str) -> Account:
    """Raises CredentialInvalid: only a credential leads to an id, and this one outlived its account."""
    account = await session.get(Account, account_id)
    if account is None:
        raise CredentialInvalid
    return account


async def authenticate_password(
    database: Database, limits: RateLimits, *, name: str, password: str, address: str
) -> Account:
    """Raises RateLimited or LoginFailed; neither words nor time tell whether the name exists."""
    name = name.strip().lower()
    limits.count_password_attempt(account=name, address=address)
    async with database.read() as session:
        account = await find_account(session, name)
    verdict = await verify_password(None if account is None else account.password_hash, password)
    if account is None or not verdict.is_right:
        raise LoginFailed
    limits.forgive_account(name)
    if verdict.needs_rehash:
        await _store_password(database, account.id, await hash_password(password))
    return account


async def change_password(
    database: Database, limits: RateLimits, *, name: str, current: str, new: str, address: str, keep_session: str | None
) -> None:
    """Ends every other session of the account. Raises as `authenticate_password`, and BadParameter."""
    account = await authenticate_password(database, limits, name=name, password=current, address=address)
    password_hash = await hash_password(check_password(new, name=account.name))
    async with database.write() as session:
        await session.execute(update(Account).where(Account.id == account.id).values(password_hash=password_hash))
        await end_other_sessions(session, account_id=account.id, keep=keep_session)
        record(session, EventKind.ACCOUNT_PASSWORD_CHANGED, account_id=account.id)


async def _store_password(database: Database, account_id: str, password_hash: str) -> None:
    async with database.write() as session:
        await session.execute(update(Account).where(Account.id == account_id).values(password_hash=password_hash))


async def any_account(database: Database) -> bool:
    """Whether somebody has signed up yet."""
    async with database.read() as session:
        return await session.scalar(select(Account.id).limit(1)) is not None
