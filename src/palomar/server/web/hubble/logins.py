"""``user.identity.*Authorize`` and ``user.identity.grant.*``: the browser login of command lines.

The stream of `proxied_authorize` (jina-hubble-sdk >= 0.6) is one JSON object per line, in chunks, each sent at once:
the client shows the page's address as soon as its line has come and reads on until the stream ends. It can read no
other HTTP status than 200 and no blank lines; spaces before a line are the one silent sign of life.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from datetime import timedelta
from typing import Any

import structlog
from starlette.responses import Response, StreamingResponse

from palomar.contract.errors import BadParameter, PalomarError
from palomar.server.accounts import login_flow
from palomar.server.accounts.login_flow import BegunLogin
from palomar.server.accounts.models import Account, LoginDelivery, SessionClient
from palomar.server.accounts.sessions import start_session
from palomar.server.db.columns import utc_now
from palomar.server.web.address import base_url
from palomar.server.web.hubble.rpc import Methods, RpcCall, ok

log = structlog.get_logger("palomar.web")

# Old SDKs (<= 0.5) listen here, and nowhere else, for the form that the browser posts.
FORM_TARGET = "http://localhost:8085"
_HEARTBEAT_S = 10.0
_HEARTBEAT = b" "
_STREAM_HEADERS = {
    # Proxies that buffer or compress would hold the first line back, and the person would never see the address.
    "Cache-Control": "no-store, no-transform",
    "X-Accel-Buffering": "no",
}


async def proxied_authorize(call: RpcCall) -> Response:
    """Whatever the query asks for ('prompt', 'provider') is for other identity providers."""
    return StreamingResponse(_events(call), media_type="application/x-ndjson", headers=_STREAM_HEADERS)


async def authorize(call: RpcCall) -> Response:
    """SDK <= 0.5: the page itself will post the code to the command line."""
    fields = await call.fields()
    if str(fields.get("redirectUri", "")).rstrip("/") != FORM_TARGET:
        raise BadParameter("redirectUri", f"only {FORM_TARGET} is allowed")
    begun = await _begin(call, LoginDelivery.FORM)
    return ok({"redirectTo": _page(call, begun)})


async def grant(call: RpcCall) -> Response:
    """Code and state, which the login page or the stream gave, for a session."""
    call.hub.identity.limits.count_token_request(address=call.client_address)
    fields = await call.fields()
    code, state = str(fields.get("code") or ""), str(fields.get("state") or "")
    async with call.hub.database.write() as session:
        account = await login_flow.grant(session, code=code, state=state)
        token = await start_session(
            session,
            call.hub.identity.keys,
            account,
            client=SessionClient.COMMAND_LINE,
            ttl=timedelta(days=call.hub.settings.session_ttl_days),
            issuer=base_url(call.request, call.hub.settings),
            label=f"command line at {call.client_address}",
        )
    return ok({"token": token, "user": _user(account)})


async def _events(call: RpcCall) -> AsyncIterator[bytes]:
    """Never raises: after the first byte, and for this client before it too, an error must be an event."""
    try:
        async with aclosing(_login_events(call)) as events:
            async for piece in events:
                yield piece
    except PalomarError as error:
        yield _line("error", {"code": error.code, "message": error.detail})
    except Exception:
        log.exception("login stream failed")
        yield _line("error", {"code": PalomarError.code, "message": PalomarError.title})


async def _login_events(call: RpcCall) -> AsyncGenerator[bytes, None]:
    begun = await _begin(call, LoginDelivery.STREAM)
    with call.hub.identity.logins.watch(begun.request_id) as decided:
        yield _line("redirect", {"redirectTo": _page(call, begun)})
        while not decided.is_set() and utc_now() < begun.expires_at:
            try:
                await asyncio.wait_for(decided.wait(), _HEARTBEAT_S)
            except TimeoutError:
                yield _HEARTBEAT
    yield await _outcome(call, begun)


async def _outcome(call: RpcCall, begun: BegunLogin) -> bytes:
    async with call.hub.database.write() as session:
        found = await login_flow.collect_code(session, begun)
    if found is not None:
        return _line("authorize", {"code": found.code, "state": found.state})
    # All three keys must be there: the client reads them without asking.
    reason = "The login was not confirmed in the browser: it was refused, or it took too long."
    return _line("authorize", {"code": None, "state": begun.state, "error_description": reason})


async def _begin(call: RpcCall, delivery: LoginDelivery) -> BegunLogin:
    call.hub.identity.limits.count_token_request(address=call.client_address)
    async with call.hub.database.write() as session:
        return await login_flow.begin(session, client_address=call.client_address, delivery=delivery)


def _page(call: RpcCall, begun: BegunLogin) -> str:
    return f"{base_url(call.request, call.hub.settings)}/login/cli?request={begun.request_id}"


def _line(event: str, data: dict[str, Any]) -> bytes:
    return json.dumps({"event": event, "data": data}).encode() + b"\n"


def _user(account: Account) -> dict[str, str]:
    return {"_id": account.id, "name": account.name, "nickname": account.nickname or account.name}


METHODS: Methods = {
    "user.identity.authorize": authorize,
    "user.identity.proxiedAuthorize": proxied_authorize,
    "user.identity.grant.auto": grant,
    "user.identity.grant.auth0Unified": grant,
}
