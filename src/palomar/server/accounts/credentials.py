"""From a token to the account behind it: the hub's hottest path.

Old clients ask who they are two to four times before every push and pull, so this is one prepared SELECT on a plain
connection, without the ORM's bookkeeping and without a cache: a revoked credential is out with the next request.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Executable, Select, bindparam, literal_column, select, true

from palomar.contract.actions import ALL_SCOPES, Scope
from palomar.contract.errors import CredentialInvalid
from palomar.server.accounts.keys import Keyring
from palomar.server.accounts.models import Account, LoginSession, PersonalAccessToken, SessionClient
from palomar.server.accounts.tokens import PREFIX, hash_secret, is_well_formed
from palomar.server.accounts.usage import UsageLog
from palomar.server.db.columns import utc_now
from palomar.server.db.engine import Database


@dataclass(frozen=True, slots=True)
class Holder:
    """An account, and the credential that spoke for it. ``client`` is None for a personal access token."""

    account_id: str
    account_name: str
    nickname: str | None
    status: str
    credential_id: str
    scopes: frozenset[Scope]
    client: SessionClient | None


_ACCOUNT = (Account.id, Account.name, Account.nickname, Account.status)
_TOKENS = select(
    *_ACCOUNT,
    PersonalAccessToken.id.label("credential_id"),
    PersonalAccessToken.expires_at,
    PersonalAccessToken.last_used_at,
    PersonalAccessToken.scopes,
).join(Account, Account.id == PersonalAccessToken.account_id)
_BY_TOKEN = _TOKENS.where(PersonalAccessToken.token_hash == bindparam("token_hash"))
_BY_TOKEN_ID = _TOKENS.where(PersonalAccessToken.id == bindparam("token_id"))
_BY_SESSION = (
    select(
        *_ACCOUNT,
        LoginSession.id.label("credential_id"),
        LoginSession.expires_at,
        LoginSession.last_used_at,
        LoginSession.client,
    )
    .join(Account, Account.id == LoginSession.account_id)
    .where(LoginSession.id == bindparam("session_id"), LoginSession.revoked_at.is_(None))
)


class Beside:
    """A SELECT of at most one row that is asked together with a token's: one trip to the database instead of two.

    Its columns keep their names, none of which may be one of the token's; prepare it once.
    """

    def __init__(self, query: Select[*tuple[Any, ...]]) -> None:
        inner = query.add_columns(literal_column("1").label("beside_is_there")).subquery()
        self.query = _BY_TOKEN.add_columns(*inner.c).outerjoin(inner, true())


class Credentials:
    def __init__(self, database: Database, keys: Keyring, usage: UsageLog) -> None:
        self._database = database
        self._keys = keys
        self._usage = usage

    async def find_holder(self, credential: str) -> Holder:
        """Of a personal access token or a session's JWT. Raises CredentialInvalid, and never says why."""
        if is_personal_token(credential):
            return await self._find_by_token(credential)
        return await self._find_by_session(credential)

    async def _find_by_token(self, token: str) -> Holder:
        if not is_well_formed(token):
            raise CredentialInvalid
        return await self._by_token_row(_BY_TOKEN, {"token_hash": hash_secret(token)})

    async def find_holder_beside(self, token: str, beside: Beside, parameters: dict[str, Any]) -> tuple[Holder, Any]:
        """The holder of a personal access token, and the row of ``beside`` or None. Raises as `find_holder`."""
        if not is_well_formed(token):
            raise CredentialInvalid
        row = await self._fetch(beside.query, {**parameters, "token_hash": hash_secret(token)})
        self._usage.note(PersonalAccessToken, row.credential_id, row.last_used_at)
        holder = _holder(row, scopes=_known_scopes(row.scopes), client=None)
        return holder, None if row.beside_is_there is None else row

    async def _find_by_session(self, token: str) -> Holder:
        claims = await self._keys.verify(token)
        return await self._by_session_row(str(claims["sid"]))

    async def find_holder_by_id(self, credential_id: str, *, is_token: bool) -> Holder:
        """Of a credential that was proved when a registry token was issued for it, if it still holds.

        Raises CredentialInvalid as soon as it is revoked or over.
        """
        if is_token:
            return await self._by_token_row(_BY_TOKEN_ID, {"token_id": credential_id})
        return await self._by_session_row(credential_id)

    async def _by_token_row(self, query: Executable, parameters: dict[str, str]) -> Holder:
        row = await self._fetch(query, parameters)
        self._usage.note(PersonalAccessToken, row.credential_id, row.last_used_at)
        return _holder(row, scopes=_known_scopes(row.scopes), client=None)

    async def _by_session_row(self, session_id: str) -> Holder:
        row = await self._fetch(_BY_SESSION, {"session_id": session_id})
        self._usage.note(LoginSession, row.credential_id, row.last_used_at)
        return _holder(row, scopes=ALL_SCOPES, client=SessionClient(row.client))

    async def _fetch(self, query: Executable, parameters: dict[str, Any]) -> Any:
        async with self._database.engine.connect() as connection:
            row = (await connection.execute(query, parameters)).first()
        if row is None or (row.expires_at is not None and row.expires_at <= utc_now()):
            raise CredentialInvalid
        return row


def is_personal_token(credential: str) -> bool:
    return credential.startswith(PREFIX)


def _holder(row: Any, *, scopes: frozenset[Scope], client: SessionClient | None) -> Holder:
    return Holder(row.id, row.name, row.nickname, row.status, row.credential_id, scopes, client)


def _known_scopes(stored: list[str]) -> frozenset[Scope]:
    """A scope that this release does not know permits nothing."""
    return frozenset(scope for scope in Scope if scope in stored)
