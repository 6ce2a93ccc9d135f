"""The short-lived token that a registry client is given for a few repositories.

It is an ES256 JWT of a kind of its own, never taken for a session, nor a session for it. It says which credential it
was issued for, and that one is looked up again with every request: what is revoked is out at once. Its ``access``
narrows what the credential may do and never adds to it.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from palomar.contract.errors import CredentialInvalid
from palomar.server.accounts.credentials import Credentials, Holder
from palomar.server.accounts.keys import REGISTRY, Keyring

LIFETIME_S = 300


@dataclass(frozen=True, slots=True)
class Access:
    """What was asked for one thing, and what of it the policy allowed at that moment.

    Both are kept: an action that was asked for and refused gets the refusal of a caller who may not do it, one that
    was never asked for gets a challenge to fetch another token. The policy decides again at every request.
    """

    type: str
    name: str
    asked: frozenset[str]
    granted: frozenset[str] = frozenset()

    def as_claim(self) -> dict[str, Any]:
        """As in the token specification of the Docker registry, and ``asked``, which is ours."""
        return {"type": self.type, "name": self.name, "actions": sorted(self.granted), "asked": sorted(self.asked)}


@dataclass(frozen=True, slots=True)
class RegistryGrant:
    """What a token says. ``holder`` is None for one that was given to an anonymous caller."""

    holder: Holder | None
    access: tuple[Access, ...]
    # Whether its client fetches another token for something else only when it is told so with 403.
    wants_403: bool = False

    def covers(self, type_: str, name: str, action: str) -> bool:
        """Whether the action was asked for when the token was fetched."""
        return any(one.type == type_ and one.name == name and action in one.asked for one in self.access)


class RegistryTokens:
    def __init__(self, keys: Keyring, credentials: Credentials) -> None:
        self._keys = keys
        self._credentials = credentials

    def issue(self, holder: Holder | None, access: Sequence[Access], *, issuer: str, wants_403: bool = False) -> str:
        now = int(time.time())
        claims: dict[str, Any] = {
            "iss": issuer,
            "aud": REGISTRY,
            "sub": "" if holder is None else holder.account_id,
            "iat": now,
            "exp": now + LIFETIME_S,
            "access": [one.as_claim() for one in access],
        }
        if holder is not None:
            claims |= {"cid": holder.credential_id, "ck": "token" if holder.client is None else "session"}
        if wants_403:
            claims["w403"] = True
        return self._keys.sign(claims, typ=REGISTRY)

    async def read(self, token: str) -> RegistryGrant:
        """Raises CredentialInvalid for anything but a token of this hub that is still good."""
        claims = await self._keys.verify(token, typ=REGISTRY)
        access = tuple(
            Access(one["type"], one["name"], frozenset(one["asked"]), frozenset(one["actions"]))
            for one in claims["access"]
        )
        wants_403 = claims.get("w403") is True
        if not claims["sub"]:
            return RegistryGrant(None, access, wants_403)
        holder = await self._credentials.find_holder_by_id(claims["cid"], is_token=claims["ck"] == "token")
        if holder.account_id != claims["sub"]:
            raise CredentialInvalid
        return RegistryGrant(holder, access, wants_403)
