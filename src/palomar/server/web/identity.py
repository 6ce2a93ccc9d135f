"""Header or cookie to Subject: the one place where a request's credential is read.

The clients send ``Authorization: token <T>``, some ``<T>`` alone (jcloud), docker and our own ``Bearer <T>``.
Without a stored token old ones send ``token None``, which means nobody. A credential that does not hold is refused
and never taken for an anonymous caller: an expired token must not turn into "there is no such array".

A cookie counts on the console's pages alone, so no page of another site can call the APIs with it.
"""

from __future__ import annotations

from starlette.requests import Request

from palomar.contract.errors import CredentialInvalid
from palomar.server.access.policy import ANONYMOUS, Credential, Subject
from palomar.server.accounts.credentials import Holder
from palomar.server.accounts.models import SessionClient
from palomar.server.wiring import Hub

SESSION_COOKIE = "palomar_session"
_SCHEMES = frozenset({"token", "bearer"})
# What clients write where they have no token.
_NOTHING = frozenset({"", "none", "null", "undefined"})
_KINDS = {
    None: Credential.TOKEN,
    SessionClient.COMMAND_LINE: Credential.CLI_SESSION,
    SessionClient.BROWSER: Credential.BROWSER_SESSION,
}


async def identify(hub: Hub, request: Request) -> Subject:
    """Who calls an API. Raises CredentialInvalid for a token that is malformed, unknown, expired or revoked."""
    return to_subject(await identify_holder(hub, request))


async def identify_holder(hub: Hub, request: Request) -> Holder | None:
    """As `identify`, with the account's facts; None is anonymous. Asks the database at most once per request."""
    if not hasattr(request.state, "holder"):
        credential = read_credential(request.headers.get("authorization"))
        request.state.holder = None if credential is None else await hub.identity.credentials.find_holder(credential)
    holder: Holder | None = request.state.holder
    return holder


async def identify_browser(hub: Hub, request: Request) -> Holder | None:
    """Who looks at a console page; a session that has ended is like none, since the page can ask for a login."""
    cookie = request.cookies.get(SESSION_COOKIE)
    if not cookie:
        return None
    try:
        holder = await hub.identity.credentials.find_holder(cookie)
    except CredentialInvalid:
        return None
    return holder if holder.client is SessionClient.BROWSER else None


def read_credential(header: str | None) -> str | None:
    """The token in an Authorization header; None where there is none. Raises CredentialInvalid for another scheme."""
    scheme, space, rest = (header or "").strip().partition(" ")
    token = rest.strip() if space else scheme
    if token.lower() in _NOTHING or (not space and scheme.lower() in _SCHEMES):
        return None
    if space and scheme.lower() not in _SCHEMES:
        raise CredentialInvalid
    return token


def to_subject(holder: Holder | None) -> Subject:
    if holder is None:
        return ANONYMOUS
    return Subject(
        account_id=holder.account_id,
        account_name=holder.account_name,
        credential=_KINDS[holder.client],
        scopes=holder.scopes,
        credential_id=holder.credential_id,
    )
