"""``/whoami``, ``/tokens`` and ``/namespaces``: the caller's own affairs."""

from __future__ import annotations

from fastapi import APIRouter
from sqlalchemy.ext.asyncio import AsyncSession

from palomar.contract import v1
from palomar.contract.actions import Action, Scope, Visibility
from palomar.contract.errors import BadName, BadParameter, CredentialMissing, NotAllowed, NotFound
from palomar.contract.names import Namespace
from palomar.server.access.policy import Resource, Subject, require
from palomar.server.accounts.models import PersonalAccessToken
from palomar.server.accounts.personal_tokens import create_token, delete_token, list_tokens, parse_days
from palomar.server.events.kinds import EventKind
from palomar.server.events.record import record
from palomar.server.namespaces.models import NamespaceRow
from palomar.server.namespaces.service import find_namespace, set_visibility_rules
from palomar.server.web.address import client_address
from palomar.server.web.identity import identify_holder
from palomar.server.web.v1.calls import Account, Anyone, Call, NativeRoute

router = APIRouter(route_class=NativeRoute)


@router.get("/whoami", tags=["accounts"])
async def whoami(call: Anyone) -> v1.Whoami:
    """Whom the credential speaks for, and what it may be used for."""
    holder = await identify_holder(call.hub, call.request)
    if holder is None:
        raise CredentialMissing
    return v1.Whoami(
        account_id=holder.account_id,
        name=holder.account_name,
        nickname=holder.nickname,
        credential=call.subject.credential,
        scopes=sorted(holder.scopes),
    )


# --- tokens --------------------------------------------------------------------------------------------------------


@router.get("/tokens", tags=["accounts"])
async def list_personal_tokens(call: Account) -> v1.TokenList:
    """The caller's personal access tokens that still work, the newest first."""
    account_id = _own_account(call.subject, Action.TOKEN_READ)
    async with call.hub.database.read() as session:
        rows = await list_tokens(session, account_id)
    return v1.TokenList(tokens=[_token_row(row) for row in rows])


@router.post("/tokens", tags=["accounts"], status_code=201)
async def create_personal_token(call: Account, order: v1.TokenOrder) -> v1.NewToken:
    """A new token, shown this once. It may do what the credential that asks may do, and no more."""
    account_id = _own_account(call.subject, Action.TOKEN_WRITE)
    settings = call.hub.settings
    call.hub.identity.limits.count_token_request(address=client_address(call.request, settings))
    days = order.days
    if days is not None:
        days = parse_days(days, max_days=settings.token_max_days, parameter="days")
    scopes = _granted(call.subject, order.scopes)
    async with call.hub.database.write() as session:
        token = await create_token(session, account_id=account_id, name=order.name, days=days, scopes=scopes)
    return v1.NewToken(token=token)


@router.delete("/tokens/{token_id}", tags=["accounts"], status_code=204)
async def delete_personal_token(call: Account, token_id: str) -> None:
    """It is refused from the next request on."""
    account_id = _own_account(call.subject, Action.TOKEN_WRITE)
    async with call.hub.database.write() as session:
        rows = await list_tokens(session, account_id)
        name = next((row.name for row in rows if row.id == token_id), None)
        if name is None:
            raise NotFound("token", token_id)
        await delete_token(session, account_id=account_id, name=name)


def _own_account(subject: Subject, action: Action) -> str:
    account_id = str(subject.account_id)
    require(subject, action, Resource("account", str(subject.account_name), account_id))
    return account_id


def _granted(subject: Subject, wanted: list[Scope] | None) -> frozenset[Scope]:
    if wanted is None:
        return subject.scopes
    if not subject.scopes.issuperset(wanted):
        lacking = ", ".join(sorted(set(wanted) - subject.scopes))
        raise NotAllowed(Action.TOKEN_WRITE.verb, str(subject.account_name), f"the token lacks the scope {lacking!r}")
    return frozenset(wanted)


def _token_row(row: PersonalAccessToken) -> v1.TokenRow:
    return v1.TokenRow(
        id=row.id,
        name=row.name,
        hint=row.hint,
        scopes=row.scopes,
        created_at=row.created_at,
        expires_at=row.expires_at,
        last_used_at=row.last_used_at,
    )


# --- namespaces ----------------------------------------------------------------------------------------------------


@router.get("/namespaces/{namespace}", tags=["namespaces"])
async def get_namespace(call: Account, namespace: str) -> v1.NamespaceSettings:
    """The settings of a namespace, for its owner."""
    async with call.hub.database.read() as session:
        return _settings(await _own_namespace(session, call, namespace))


@router.patch("/namespaces/{namespace}", tags=["namespaces"])
async def update_namespace(call: Account, namespace: str, changes: v1.NamespaceChanges) -> v1.NamespaceSettings:
    """A lowered ceiling hides at once what lives in the namespace; a raised one shows again what was public."""
    async with call.hub.database.write() as session:
        row = await _own_namespace(session, call, namespace)
        ceiling = changes.visibility_ceiling or Visibility(row.visibility_ceiling)
        _check_ceiling(call, ceiling, Visibility(row.visibility_ceiling))
        default = changes.default_visibility or Visibility(row.default_visibility)
        account_id = call.subject.account_id
        await set_visibility_rules(session, row, default=default, ceiling=ceiling, account_id=account_id)
        if changes.refuse_breaking is not None:
            _set_contract_rule(session, row, changes.refuse_breaking, account_id)
        return _settings(row)


async def _own_namespace(session: AsyncSession, call: Call, name: str) -> NamespaceRow:
    """Settings are private: a stranger's namespace looks like none."""
    row = await _find(session, name)
    owner_id = row.owner_id if row else None
    require(call.subject, Action.NAMESPACE_UPDATE, Resource("namespace", name, owner_id, visibility=Visibility.PRIVATE))
    if row is None:
        raise NotFound("namespace", name)
    return row


async def _find(session: AsyncSession, name: str) -> NamespaceRow | None:
    try:
        return await find_namespace(session, Namespace.parse(name))
    except BadName:
        return None


def _check_ceiling(call: Call, wanted: Visibility, current: Visibility) -> None:
    """An owner may hold back more than the operator does, and not less."""
    if wanted is not current and wanted.capped(call.hub.settings.visibility_ceiling) is not wanted:
        raise BadParameter("visibility_ceiling", "the operator holds this hub's namespaces private")


def _set_contract_rule(session: AsyncSession, row: NamespaceRow, refuses: bool, account_id: str | None) -> None:
    row.refuse_breaking = refuses
    kind, namespace_id = EventKind.NAMESPACE_UPDATED, row.id
    record(session, kind, account_id=account_id, namespace_id=namespace_id, refuse_breaking=refuses)


def _settings(row: NamespaceRow) -> v1.NamespaceSettings:
    return v1.NamespaceSettings(
        namespace=row.name,
        default_visibility=Visibility(row.default_visibility),
        visibility_ceiling=Visibility(row.visibility_ceiling),
        refuse_breaking=row.refuse_breaking,
        quota_bytes=row.quota_bytes,
        created_at=row.created_at,
    )
