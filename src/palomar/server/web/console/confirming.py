"""``/login/cli``: a person decides whether a command line gets a session of theirs."""

from __future__ import annotations

from starlette.responses import Response

from palomar.contract.errors import BadParameter, NotFound
from palomar.server.accounts import login_flow
from palomar.server.accounts.login_flow import LoginCode
from palomar.server.accounts.models import LoginDelivery
from palomar.server.web.console.contexts import ConfirmPage, DeliverPage, MessagePage
from palomar.server.web.console.visits import Visit, first

# The one address that old SDKs (<= 0.5) listen on.
_FORM_TARGET = "http://localhost:8085"


async def show(visit: Visit) -> Response:
    request_id = visit.request.query_params.get("request", "")
    try:
        async with visit.hub.database.read() as session:
            row = await login_flow.find_pending(session, request_id)
    except NotFound:
        return _too_late(visit)
    page = ConfirmPage(
        request_id=row.id, client_address=row.client_address, own_address=visit.address, begun_at=row.created_at
    )
    return visit.render(page)


async def decide(visit: Visit) -> Response:
    form = await visit.form()
    request_id, decision = first(form, "request"), first(form, "decision")
    if decision not in {"confirm", "refuse"}:
        raise BadParameter("decision", "it is neither 'confirm' nor 'refuse'")
    try:
        if decision == "refuse":
            return await _refuse(visit, request_id)
        return await _confirm(visit, request_id)
    except NotFound:
        return _too_late(visit)


async def _confirm(visit: Visit, request_id: str) -> Response:
    async with visit.hub.database.write() as session:
        row = await login_flow.find_pending(session, request_id)
        await login_flow.confirm(session, request_id, account_id=visit.account.account_id)
        code = None
        if row.delivery == LoginDelivery.FORM:
            code = await login_flow.collect_code_for_form(session, request_id)
    if code is not None:
        return _deliver(visit, code)
    visit.hub.identity.logins.hasten(request_id)
    return visit.render(MessagePage("You are logged in", "Close this page and go back to the command line."))


async def _refuse(visit: Visit, request_id: str) -> Response:
    async with visit.hub.database.write() as session:
        await login_flow.refuse(session, request_id)
    visit.hub.identity.logins.hasten(request_id)
    return visit.render(MessagePage("Login refused", "The command line got nothing. You can close this page."))


def _deliver(visit: Visit, code: LoginCode) -> Response:
    page = DeliverPage(target=_FORM_TARGET, code=code.code, state=code.state)
    return visit.render(page, form_targets=f"'self' {_FORM_TARGET}")


def _too_late(visit: Visit) -> Response:
    message = "It was decided already, or it is older than ten minutes. Start again on the command line."
    return visit.render(MessagePage("This login is over", message), status=404)
