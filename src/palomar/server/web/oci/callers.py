"""Who calls the registry, and for which repositories their token is good.

Three credentials count: a registry token of the token endpoint, a personal access token as Bearer, and one as the
password of Basic with any user name. A session's JWT opens the token endpoint alone.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass

from palomar.contract.errors import CredentialInvalid
from palomar.server.access.policy import ANONYMOUS, Subject
from palomar.server.accounts.registry_tokens import RegistryGrant
from palomar.server.accounts.tokens import PREFIX
from palomar.server.web.identity import read_credential, to_subject
from palomar.server.wiring import Hub

# What docker-credential-jina-hubble says: an identity token, and 'anonymous' where there is no login
# (docs/protocols/oci.md). Docker sends them as an OAuth2 refresh token, a Kubernetes pull secret as Basic.
IDENTITY_TOKEN_USER = "<token>"  # noqa: S105 - what stands in place of a user's name
NOBODY = "anonymous"
_MAX_HEADER_LENGTH = 8192


@dataclass(frozen=True, slots=True)
class Caller:
    """``grant`` is what the registry token says, if the caller came with one."""

    subject: Subject
    has_credential: bool
    grant: RegistryGrant | None = None

    def covers(self, type_: str, name: str, action: str) -> bool:
        """Whether the credential is meant for this; what its holder may do is the policy's question."""
        return self.grant is None or self.grant.covers(type_, name, action)


async def identify_caller(hub: Hub, header: str | None) -> Caller:
    """Raises CredentialInvalid for anything that is no good credential: none is ever taken for an anonymous caller."""
    password = basic_password(header)
    credential = read_credential(header) if password is None else password
    if credential is None:
        return Caller(ANONYMOUS, has_credential=False)
    if credential == NOBODY and password is not None:
        return Caller(ANONYMOUS, has_credential=True)
    if credential.startswith(PREFIX):
        return Caller(to_subject(await hub.identity.credentials.find_holder(credential)), has_credential=True)
    if password is not None:
        raise CredentialInvalid
    grant = await hub.identity.registry_tokens.read(credential)
    return Caller(to_subject(grant.holder), has_credential=True, grant=grant)


def basic_password(header: str | None) -> str | None:
    """The password of Basic, whose user name may be any; None for another scheme. Raises CredentialInvalid.

    Of the user name of identity tokens, the word 'anonymous' in place of a password is given back as it is.
    """
    scheme, _, rest = (header or "").strip().partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        user, colon, password = base64.b64decode(rest.strip(), validate=True).decode().partition(":")
    except (ValueError, binascii.Error):
        raise CredentialInvalid from None
    if not colon or not password or len(rest) > _MAX_HEADER_LENGTH:
        raise CredentialInvalid
    if password == NOBODY and user != IDENTITY_TOKEN_USER:
        raise CredentialInvalid
    return password
