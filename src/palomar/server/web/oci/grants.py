"""What of the asked-for scopes goes into a token as granted.

A token cannot add to what its holder may do, and the policy decides again at every request: this is what the client is
told beforehand. It is told the same of a private repository and of one that does not exist.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy.ext.asyncio import AsyncSession

from palomar.contract.actions import Action, Visibility
from palomar.contract.errors import NotAllowed, NotFound, Unauthenticated
from palomar.contract.images import RepositoryName
from palomar.server.access.policy import Resource, Subject, decide
from palomar.server.accounts.credentials import Holder
from palomar.server.accounts.registry_tokens import Access
from palomar.server.namespaces.service import find_namespace
from palomar.server.registry.find import KIND, find_repository
from palomar.server.web.identity import to_subject
from palomar.server.web.oci.scopes import ACTIONS, REPOSITORY
from palomar.server.wiring import Hub


async def granted(hub: Hub, holder: Holder | None, asked: Sequence[Access]) -> list[Access]:
    subject = to_subject(holder)
    async with hub.database.read() as session:
        return [await _granted(session, subject, one) for one in asked]


async def _granted(session: AsyncSession, subject: Subject, asked: Access) -> Access:
    if asked.type != REPOSITORY:
        return replace(asked, granted=asked.asked)  # the catalogue shows everybody what they may see
    name = RepositoryName.parse(asked.name)
    allowed = {word for word in asked.asked if await may(session, subject, name, ACTIONS[word])}
    return replace(asked, granted=frozenset(allowed))


async def may(session: AsyncSession, subject: Subject, name: RepositoryName, action: Action) -> bool:
    """The owner of the namespace whether the repository exists or not: a first push makes it, and then looks at it."""
    namespace = await find_namespace(session, name.namespace)
    owner_id = namespace.owner_id if namespace else None
    as_if_private = Resource(KIND, name, owner_id, visibility=Visibility.PRIVATE)
    if decide(subject, action, as_if_private).allowed:
        return True
    try:
        await find_repository(session, subject, name, action)
    except (Unauthenticated, NotFound, NotAllowed):
        return False
    return True
