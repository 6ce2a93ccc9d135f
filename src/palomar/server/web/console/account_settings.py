"""``/settings``: a person's tokens, sessions and password."""

from __future__ import annotations

from dataclasses import dataclass, field

from starlette.responses import Response

from palomar.contract.actions import ALL_SCOPES, Action, Scope
from palomar.contract.errors import BadName, BadParameter, LoginFailed, NameTaken, NotFound, PalomarError, RateLimited
from palomar.server.accounts.models import LoginSession, PersonalAccessToken
from palomar.server.accounts.passwords import MIN_LENGTH
from palomar.server.accounts.personal_tokens import DEFAULT_DAYS, create_token, delete_token, list_tokens, parse_days
from palomar.server.accounts.service import change_password as change_account_password
from palomar.server.accounts.service import get_account
from palomar.server.accounts.sessions import end_session, list_sessions
from palomar.server.web.console.contexts import Form, ScopeChoice, SessionRow, SettingsPage, TokenRow
from palomar.server.web.console.rendering import redirect
from palomar.server.web.console.visits import Visit, first
from palomar.server.web.errors import http_status

_NOTICES = {
    "token-deleted": "The token is deleted. Whoever uses it is refused from now on.",
    "session-ended": "The session has ended.",
    "password-changed": "The password is changed, and your other sessions have ended.",
}


@dataclass(frozen=True, slots=True)
class _State:
    """What the last form did to the page."""

    token_form: Form
    password_form: Form = field(default_factory=Form)
    chosen_scopes: frozenset[str] = frozenset(ALL_SCOPES)
    new_token: str | None = None
    status: int = 200


_FRESH = _State(Form({"days": str(DEFAULT_DAYS)}))


async def show(visit: Visit) -> Response:
    return await _page(visit, _FRESH)


async def add_token(visit: Visit) -> Response:
    """The answer to the form shows the token, once: it is not stored, so no later page could."""
    visit.require(Action.TOKEN_WRITE)
    form = await visit.form()
    values = {"name": first(form, "name"), "days": first(form, "days")}
    scopes = frozenset(form.get("scopes", []))
    try:
        token = await _create_token(visit, values, scopes)
    except (BadName, BadParameter, NameTaken, RateLimited) as error:
        typed = Form(values, {_field_of(error): error.detail})
        return await _page(visit, _State(typed, chosen_scopes=scopes, status=http_status(error)))
    return await _page(visit, _State(_FRESH.token_form, new_token=token))


async def remove_token(visit: Visit) -> Response:
    visit.require(Action.TOKEN_WRITE)
    name = first(await visit.form(), "name")
    try:
        async with visit.hub.database.write() as session:
            await delete_token(session, account_id=visit.account.account_id, name=name)
    except NotFound:  # deleted in another window: what was wanted is the case
        return redirect("/settings")
    return redirect("/settings?done=token-deleted")


async def remove_session(visit: Visit) -> Response:
    visit.require(Action.ACCOUNT_WRITE)
    session_id = first(await visit.form(), "session")
    async with visit.hub.database.write() as session:
        await end_session(session, session_id, account_id=visit.account.account_id)
    return redirect("/settings?done=session-ended")


async def change_password(visit: Visit) -> Response:
    visit.require(Action.ACCOUNT_WRITE)
    form = await visit.form()
    try:
        await change_account_password(
            visit.hub.database,
            visit.hub.identity.limits,
            name=visit.account.account_name,
            current=first(form, "current"),
            new=first(form, "new"),
            address=visit.address,
            keep_session=visit.account.credential_id,
        )
    except (BadParameter, LoginFailed, RateLimited) as error:
        broken = Form(errors={_field_of(error): _words(error)})
        return await _page(visit, _State(_FRESH.token_form, password_form=broken, status=http_status(error)))
    return redirect("/settings?done=password-changed")


async def _create_token(visit: Visit, values: dict[str, str], scopes: frozenset[str]) -> str:
    visit.hub.identity.limits.count_token_request(address=visit.address)
    chosen = [scope for scope in Scope if scope in scopes]
    if not chosen:
        raise BadParameter("scopes", "choose at least one thing that the token may be used for")
    days = parse_days(values["days"], max_days=visit.hub.settings.token_max_days, parameter="days")
    async with visit.hub.database.write() as session:
        return await create_token(
            session, account_id=visit.account.account_id, name=values["name"], days=days, scopes=chosen
        )


async def _page(visit: Visit, state: _State) -> Response:
    async with visit.hub.database.read() as session:
        account = await get_account(session, visit.account.account_id)
        tokens = await list_tokens(session, account.id)
        sessions = await list_sessions(session, account.id)
    page = SettingsPage(
        account_name=account.name,
        email=account.email,
        tokens=[_token_row(row) for row in tokens],
        sessions=[_session_row(row, own_id=visit.account.credential_id) for row in sessions],
        scopes=[ScopeChoice(scope, scope.label, scope in state.chosen_scopes) for scope in Scope],
        max_days=visit.hub.settings.token_max_days,
        min_password_length=MIN_LENGTH,
        token_form=state.token_form,
        password_form=state.password_form,
        new_token=state.new_token,
        notice=_NOTICES.get(visit.request.query_params.get("done", "")),
    )
    return visit.render(page, status=state.status)


def _token_row(row: PersonalAccessToken) -> TokenRow:
    scopes = ", ".join(scope for scope in Scope if scope in row.scopes)
    return TokenRow(row.name, row.hint, scopes, row.created_at, row.expires_at, row.last_used_at)


def _session_row(row: LoginSession, *, own_id: str) -> SessionRow:
    return SessionRow(
        row.id, row.label or row.client, row.id == own_id, row.created_at, row.expires_at, row.last_used_at
    )


def _field_of(error: PalomarError) -> str:
    if isinstance(error, BadParameter):
        return "new" if error.parameter == "password" else error.parameter
    if isinstance(error, LoginFailed):
        return "current"
    return "name" if isinstance(error, (BadName, NameTaken)) else ""


def _words(error: PalomarError) -> str:
    return "The current password is wrong." if isinstance(error, LoginFailed) else error.detail
