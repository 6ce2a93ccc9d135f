"""What an operator does with accounts, on the database itself, whether or not a hub runs on it."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from palomar.contract.actions import ALL_SCOPES
from palomar.contract.errors import NotFound
from palomar.server.accounts.models import Account
from palomar.server.accounts.personal_tokens import DEFAULT_DAYS, create_token, parse_days
from palomar.server.accounts.service import NewAccount, find_account, sign_up
from palomar.server.db.engine import Database
from palomar.server.db.migrate import migrate
from palomar.server.namespaces.service import NamespaceDefaults
from palomar.server.settings import Settings


@asynccontextmanager
async def administered_database(settings: Settings) -> AsyncIterator[Database]:
    """The hub's database, brought to the newest schema. Raises ValueError (its URL), OSError, SQLAlchemyError."""
    if settings.database_url is None:
        settings.data.mkdir(parents=True, exist_ok=True)
    database = Database(settings.database)
    try:
        await migrate(database)
        yield database
    finally:
        await database.close()


async def add_account(
    database: Database, settings: Settings, *, name: str, password: str | None, email: str | None
) -> Account:
    """Raises as `sign_up`; whether sign-up is open does not matter to an operator."""
    defaults = NamespaceDefaults(settings.default_visibility, settings.visibility_ceiling, settings.quota_bytes)
    return await sign_up(database, NewAccount(name, password, email), defaults=defaults)


async def add_token(
    database: Database, settings: Settings, *, account_name: str, days: int | None, label: str | None
) -> str:
    """Returns the token. Raises NotFound (no such account), BadParameter, BadName, NameTaken."""
    wanted_days = parse_days(DEFAULT_DAYS if days is None else days, max_days=settings.token_max_days, parameter="days")
    async with database.write() as session:
        account = await find_account(session, account_name)
        if account is None:
            raise NotFound("account", account_name)
        name = label or f"created by the operator, {secrets.token_hex(4)}"
        return await create_token(session, account_id=account.id, name=name, days=wanted_days, scopes=ALL_SCOPES)
