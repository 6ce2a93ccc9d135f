"""``user.*`` and ``dockerRegistry.*``: who is asking, sessions, and personal access tokens."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from palomar.contract.actions import Action
from palomar.contract.errors import BadParameter, CredentialMissing
from palomar.server.access.policy import Credential, Resource, Subject, require
from palomar.server.accounts.credentials import Holder
from palomar.server.accounts.models import PersonalAccessToken
from palomar.server.accounts.personal_tokens import DEFAULT_DAYS, create_token, delete_token, list_tokens, parse_days
from palomar.server.accounts.sessions import end_session
from palomar.server.web.address import base_url
from palomar.server.web.hubble import logins
from palomar.server.web.hubble.rpc import Methods, RpcCall, ok
from palomar.server.web.identity import identify_holder
from palomar.server.wiring import Hub


async def whoami(call: RpcCall) -> Response:
    """Asked several times before each push and pull, and the only check of a token that the clients have."""
    return ok(_user(await _holder(call)))


async def dismiss_session(call: RpcCall) -> Response:
    """Logout. A personal access token has no session and lives on: scripts elsewhere may be using it."""
    subject = await call.account()
    if subject.credential is not Credential.TOKEN:
        account_id, session_id = str(subject.account_id), str(subject.credential_id)
        async with call.hub.database.write() as session:
            await end_session(session, session_id, account_id=account_id)
    return ok(None)


async def get_raw_session(call: RpcCall) -> Response:
    """The SDK hands this to its caller without reading it."""
    holder = await _holder(call)
    scopes = sorted(holder.scopes)
    kind = "personal-access-token" if holder.client is None else holder.client.value
    return ok({"_id": holder.credential_id, "type": kind, "scopes": scopes, "user": _user(holder)})


async def create_personal_token(call: RpcCall) -> Response:
    """The new token may do what the creating credential may do, and no more."""
    subject = await _own_account(call, Action.TOKEN_WRITE)
    call.hub.identity.limits.count_token_request(address=call.client_address)
    fields = await call.fields()
    given = fields.get("expirationDays")
    days = parse_days(
        DEFAULT_DAYS if given is None or given == "" else given, max_days=call.hub.settings.token_max_days
    )
    account_id, name = str(subject.account_id), text_field(fields, "name")
    async with call.hub.database.write() as session:
        token = await create_token(session, account_id=account_id, name=name, days=days, scopes=subject.scopes)
    return ok({"token": token})


async def list_personal_tokens(call: RpcCall) -> Response:
    subject = await _own_account(call, Action.TOKEN_READ)
    async with call.hub.database.read() as session:
        rows = await list_tokens(session, str(subject.account_id))
    return ok({"personal_access_tokens": [_token_row(row) for row in rows]})


async def delete_personal_token(call: RpcCall) -> Response:
    subject = await _own_account(call, Action.TOKEN_WRITE)
    name = text_field(await call.fields(), "name")
    async with call.hub.database.write() as session:
        await delete_token(session, account_id=str(subject.account_id), name=name)
    return ok(None)


async def list_internal_registries(call: RpcCall) -> Response:
    """This hub, as the client reaches it: the key under which docker looks for its login.

    The client has stored its token when it asks this, and an error would end the login in a traceback.
    """
    await call.account()
    try:
        host = urlsplit(base_url(call.request, call.hub.settings)).netloc
    except BadParameter:
        return ok([])
    return ok([host])


async def jwks(request: Request) -> Response:
    hub: Hub = request.app.state.hub
    return JSONResponse(await hub.identity.keys.jwks(), headers={"Cache-Control": "public, max-age=300"})


def text_field(fields: dict[str, Any], name: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str) or not value or not value.isprintable():
        raise BadParameter(name, "it is missing, or no printable text")
    return value


async def _holder(call: RpcCall) -> Holder:
    holder = await identify_holder(call.hub, call.request)
    if holder is None:
        raise CredentialMissing
    return holder


async def _own_account(call: RpcCall, action: Action) -> Subject:
    subject = await call.account()
    require(subject, action, Resource("account", str(subject.account_name), subject.account_id))
    return subject


def _user(holder: Holder) -> dict[str, str | None]:
    return {
        "_id": holder.account_id,
        "name": holder.account_name,
        "nickname": holder.nickname or holder.account_name,
        "status": holder.status,
    }


def _token_row(row: PersonalAccessToken) -> dict[str, str | None]:
    """Texts or null: the client's table cannot show numbers. It shows ``updatedAt`` as the last use."""
    return {
        "name": row.name,
        "type": "personal",
        "createdAt": _iso(row.created_at),
        "expireAt": _iso(row.expires_at),
        "updatedAt": _iso(row.last_used_at),
    }


def _iso(moment: datetime | None) -> str | None:
    if moment is None:
        return None
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


METHODS: Methods = {
    "user.identity.whoami": whoami,
    "user.session.dismiss": dismiss_session,
    "user.session.getRaw": get_raw_session,
    "user.pat.create": create_personal_token,
    "user.pat.list": list_personal_tokens,
    "user.pat.delete": delete_personal_token,
    "dockerRegistry.listInternalRegistries": list_internal_registries,
    **logins.METHODS,
}
