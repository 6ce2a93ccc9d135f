"""Sign-up, login, logout, and the page at ``/``."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from starlette.responses import Response

from palomar.contract.errors import (
    BadName,
    BadParameter,
    Conflict,
    LoginFailed,
    NotAllowed,
    PalomarError,
    RateLimited,
)
from palomar.server.accounts.models import Account, SessionClient
from palomar.server.accounts.passwords import MIN_LENGTH
from palomar.server.accounts.service import NewAccount, authenticate_password, sign_up
from palomar.server.accounts.sessions import end_session, start_session
from palomar.server.web.address import base_url, is_https
from palomar.server.web.console.contexts import Form, LandingPage, LoginPage, SignUpPage
from palomar.server.web.console.rendering import redirect
from palomar.server.web.console.visits import Visit, first, local_path
from palomar.server.web.errors import http_status
from palomar.server.web.identity import SESSION_COOKIE

_SIGN_UP_ERRORS: Final = (BadName, BadParameter, Conflict, RateLimited)


async def landing(visit: Visit) -> Response:
    namespace = "alice" if visit.holder is None else visit.holder.account_name
    return visit.render(LandingPage(base_url(visit.request, visit.hub.settings), namespace))


async def show_sign_up(visit: Visit) -> Response:
    next_path = local_path(visit.request.query_params.get("next"))
    return _sign_up_page(visit, Form(), next_path, status=200)


async def submit_sign_up(visit: Visit) -> Response:
    if visit.hub.settings.sign_up != "open":
        raise NotAllowed("sign up at", "this hub", "its operator makes the accounts")
    form = await visit.form()
    name, email, next_path = first(form, "name").strip(), first(form, "email"), local_path(first(form, "next"))
    wanted = NewAccount(name, first(form, "password"), email)
    try:
        visit.hub.identity.limits.count_token_request(address=visit.address)
        account = await sign_up(visit.hub.database, wanted, defaults=visit.hub.namespace_defaults)
    except _SIGN_UP_ERRORS as error:
        typed = Form({"name": name, "email": email}, {_field_of(error): error.detail})
        return _sign_up_page(visit, typed, next_path, status=http_status(error))
    return await _enter(visit, account, next_path)


async def show_login(visit: Visit) -> Response:
    next_path = local_path(visit.request.query_params.get("next"))
    if visit.holder is not None:
        return redirect(next_path)
    return visit.render(LoginPage(Form(), next_path))


async def submit_login(visit: Visit) -> Response:
    form = await visit.form()
    name, next_path = first(form, "name"), local_path(first(form, "next"))
    try:
        account = await authenticate_password(
            visit.hub.database,
            visit.hub.identity.limits,
            name=name,
            password=first(form, "password"),
            address=visit.address,
        )
    except (LoginFailed, RateLimited) as error:
        page = LoginPage(Form({"name": name}, {"": error.detail}), next_path)
        return visit.render(page, status=http_status(error))
    return await _enter(visit, account, next_path)


async def logout(visit: Visit) -> Response:
    if visit.holder is not None:
        async with visit.hub.database.write() as session:
            await end_session(session, visit.holder.credential_id, account_id=visit.holder.account_id)
    response = redirect("/")
    response.delete_cookie(SESSION_COOKIE, path="/", httponly=True, samesite="lax")
    return response


async def _enter(visit: Visit, account: Account, next_path: str) -> Response:
    """A new session for the browser, whatever it held before."""
    settings = visit.hub.settings
    ttl = timedelta(days=settings.session_ttl_days)
    async with visit.hub.database.write() as session:
        token = await start_session(
            session,
            visit.hub.identity.keys,
            account,
            client=SessionClient.BROWSER,
            ttl=ttl,
            issuer=base_url(visit.request, settings),
            label=f"browser at {visit.address}",
        )
    response = redirect(next_path)
    response.set_cookie(
        SESSION_COOKIE,
        token,
        max_age=int(ttl.total_seconds()),
        path="/",
        httponly=True,
        samesite="lax",
        secure=is_https(visit.request, settings),
    )
    return response


def _sign_up_page(visit: Visit, form: Form, next_path: str, *, status: int) -> Response:
    is_open = visit.hub.settings.sign_up == "open"
    page = SignUpPage(form=form, is_open=is_open, next_path=next_path, min_password_length=MIN_LENGTH)
    return visit.render(page, status=status)


def _field_of(error: PalomarError) -> str:
    """The form field beside which the error is shown; '' for the form as a whole."""
    if isinstance(error, BadParameter):
        return error.parameter
    return "name" if isinstance(error, (BadName, Conflict)) else ""
