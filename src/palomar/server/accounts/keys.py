"""Keys that the hub makes for itself on its first start, and shares with its replicas through the database.

Sessions are signed with ES256. A ``kid`` is the key's own thumbprint, so it can never come back with another key:
clients keep a key that they have once seen for ever (jina-hubble-sdk, `hubble/utils/jwks.py`). A retired key signs no
more, but stays published, and verifies the sessions that it signed until they end.
"""

from __future__ import annotations

import base64
import binascii
import json
import secrets
import time
from typing import Any, Self

from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from palomar.contract.errors import CredentialInvalid
from palomar.server.accounts.models import HubKey
from palomar.server.db.engine import Database

_ALGORITHM = "ES256"
# What a token is for stands in its header's ``typ`` (RFC 8725, section 3.11), so none is ever taken for another kind.
SESSION = "JWT"
REGISTRY = "palomar-registry+jwt"
_CLAIMS = {
    SESSION: jwt.JWTClaimsRegistry(exp={"essential": True}, sub={"essential": True}, sid={"essential": True}),
    REGISTRY: jwt.JWTClaimsRegistry(
        exp={"essential": True},
        sub={"essential": True, "allow_blank": True},
        aud={"essential": True, "value": REGISTRY},
    ),
}
_MAX_JWT_LENGTH = 4096
# A kid that nobody knows is looked for in the database, but not more often than this.
_RELOAD_EVERY_S = 10.0
# PostgreSQL's advisory lock that replicas on their first start stand in line for; any constant serves.
_FIRST_KEYS_LOCK = 0x6B657973


class Keyring:
    def __init__(self, database: Database) -> None:
        self._database = database
        self._verifying: dict[str, ECKey] = {}
        self._signing: ECKey
        self._url_secret = b""
        self._loaded_at = 0.0

    @classmethod
    async def open(cls, database: Database) -> Self:
        """Makes the keys if there are none yet."""
        keyring = cls(database)
        async with database.write() as session:
            if not database.is_sqlite:
                await session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _FIRST_KEYS_LOCK})
            await _make_missing_keys(session)
        await keyring._load()
        return keyring

    @property
    def url_secret(self) -> bytes:
        """The secret of signed download URLs."""
        return self._url_secret

    async def jwks(self) -> dict[str, Any]:
        """The public keys, old ones among them, as clients fetch them."""
        await self._reload()
        keys = [key.as_dict(private=False, alg=_ALGORITHM, use="sig") for key in self._verifying.values()]
        return {"keys": keys}

    def sign(self, claims: dict[str, Any], *, typ: str = SESSION) -> str:
        header = {"typ": typ, "alg": _ALGORITHM, "kid": self._signing.kid}
        return jwt.encode(header, claims, self._signing, [_ALGORITHM])

    async def verify(self, token: str, *, typ: str = SESSION) -> dict[str, Any]:
        """The claims of a token of this kind that this hub signed and whose time is now; raises CredentialInvalid."""
        kid = _kid_of(token)
        if kid not in self._verifying:
            await self._reload()
        key = self._verifying.get(kid)
        if key is None:
            raise CredentialInvalid
        try:
            decoded = jwt.decode(token, key, [_ALGORITHM])
            _CLAIMS[typ].validate(decoded.claims)
        except (JoseError, ValueError):
            raise CredentialInvalid from None
        if decoded.header.get("typ") != typ:
            raise CredentialInvalid
        return decoded.claims

    async def _reload(self) -> None:
        if time.monotonic() - self._loaded_at >= _RELOAD_EVERY_S:
            await self._load()

    async def _load(self) -> None:
        async with self._database.read() as session:
            rows = (await session.scalars(select(HubKey).order_by(HubKey.created_at, HubKey.id))).all()
        sessions = [row for row in rows if row.purpose == "session"]
        self._verifying = {row.id: ECKey.import_key(row.secret) for row in sessions}
        self._signing = self._verifying[[row.id for row in sessions if row.retired_at is None][-1]]
        self._url_secret = next(bytes.fromhex(row.secret["hex"]) for row in rows if row.purpose == "url")
        self._loaded_at = time.monotonic()


async def _make_missing_keys(session: AsyncSession) -> None:
    purposes = set(await session.scalars(select(HubKey.purpose).where(HubKey.retired_at.is_(None))))
    if "session" not in purposes:
        session.add(new_session_key())
    if "url" not in purposes:
        session.add(HubKey(id=secrets.token_hex(16), purpose="url", secret={"hex": secrets.token_hex(32)}))


def new_session_key() -> HubKey:
    key = ECKey.generate_key("P-256", auto_kid=True)
    return HubKey(id=key.kid, purpose="session", secret=key.as_dict(private=True))


def _kid_of(token: str) -> str:
    head = token.partition(".")[0]
    try:
        header = json.loads(base64.urlsafe_b64decode(head + "=="))
    except (ValueError, binascii.Error, RecursionError):
        raise CredentialInvalid from None
    if len(token) > _MAX_JWT_LENGTH or not isinstance(header, dict) or not isinstance(header.get("kid"), str):
        raise CredentialInvalid
    kid: str = header["kid"]
    return kid
