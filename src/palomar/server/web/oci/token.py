"""``/v2/token``: the token service of the challenges, in both forms that clients speak.

GET with Basic, the Docker registry's token specification: docker, podman, skopeo with a user name and a password.
POST with a form, its OAuth2 variant: the same clients with an identity token, as docker-credential-jina-hubble gives
them, and those that prefer it. No form takes an account's password: whatever asks for one gets a token there.

What was asked for and may be done is in the token; what may not is left out of it, whether the thing exists or not.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs

from starlette.responses import Response

from palomar.contract.errors import BadParameter, CredentialInvalid
from palomar.server.accounts.credentials import Holder
from palomar.server.accounts.registry_tokens import LIFETIME_S, Access
from palomar.server.web.address import base_url, client_address
from palomar.server.web.identity import read_credential
from palomar.server.web.oci.answers import answer_json
from palomar.server.web.oci.call import Call, read_body
from palomar.server.web.oci.callers import NOBODY, basic_password
from palomar.server.web.oci.grants import granted
from palomar.server.web.oci.scopes import parse_scopes

_MAX_FORM_BYTES = 64 * 1024
_NO_STORE = {"Cache-Control": "no-store"}

Fields = dict[str, list[str]]


async def give_token(call: Call) -> Response:
    if call.request.method == "POST":
        return await _exchange(call)
    asked = parse_scopes(call.request.query_params.getlist("scope"))
    header = call.request.headers.get("authorization")
    password = basic_password(header)
    return await _answer(call, read_credential(header) if password is None else password, asked)


async def _exchange(call: Call) -> Response:
    """OAuth2 (RFC 6749, sections 4.3 and 6). The body may come without a Content-Length."""
    fields = _parse_form(await read_body(call.request, what="The form", limit=_MAX_FORM_BYTES))
    grant_type = _field(fields, "grant_type")
    if grant_type == "refresh_token":
        return await _answer(call, _field(fields, "refresh_token"), parse_scopes(fields.get("scope", [])))
    if grant_type != "password":
        raise BadParameter("grant_type", "it is neither 'refresh_token' nor 'password'")
    password = _field(fields, "password")
    # The token that was given is the one to refresh with: it can be revoked like any other, so no second one is made.
    more = {"refresh_token": password} if fields.get("access_type") == ["offline"] else {}
    return await _answer(call, password, parse_scopes(fields.get("scope", [])), **more)


async def _answer(call: Call, credential: str | None, asked: Sequence[Access], **more: Any) -> Response:
    holder = await _holder(call, credential)
    access = await granted(call.hub, holder, asked)
    issuer = base_url(call.request, call.hub.settings)
    token = call.hub.identity.registry_tokens.issue(holder, access, issuer=issuer, wants_403=_wants_403(call))
    body = {
        "token": token,
        "access_token": token,
        "expires_in": LIFETIME_S,
        "issued_at": datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        "scope": " ".join(f"{one.type}:{one.name}:{','.join(sorted(one.granted))}" for one in access if one.granted),
    }
    return answer_json(body | more, headers=_NO_STORE)


async def _holder(call: Call, credential: str | None) -> Holder | None:
    """None is an anonymous caller, who may have said so in words.

    What fails counts against the address as other token requests do. What holds does not: a push fetches a token for
    every repository that it touches, and a fleet behind one address must be able to pull.
    """
    if credential is None or credential == NOBODY:
        return None
    try:
        return await call.hub.identity.credentials.find_holder(credential)
    except CredentialInvalid:
        address = client_address(call.request, call.hub.settings)
        call.hub.identity.limits.count_token_request(address=address)
        raise


def _wants_403(call: Call) -> bool:
    """The Python client of oras (0.2) answers a 401 with the token that it has, and fetches one anew after a 403 alone.

    It says its name here and nowhere else. RFC 6750, section 3.1 has 403 for a scope that does not suffice; the Docker
    registry's token specification, and every other client, has 401.
    """
    return call.request.headers.get("user-agent") == "oras-py"


def _parse_form(body: bytes) -> Fields:
    try:
        return parse_qs(body.decode(), keep_blank_values=True, max_num_fields=100)
    except (UnicodeDecodeError, ValueError):
        raise BadParameter("form", "it is not urlencoded, or not in UTF-8") from None


def _field(fields: Fields, name: str) -> str:
    value = fields.get(name, [])
    if len(value) != 1 or not value[0]:
        raise BadParameter(name, "it is missing, empty, or there twice")
    return value[0]
