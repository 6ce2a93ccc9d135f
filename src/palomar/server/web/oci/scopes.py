"""Scopes of the registry's token protocol: ``repository:alice/birds:pull,push``, ``registry:catalog:*``.

The grammar is that of the Docker registry's token specification, which every client follows.
"""

from __future__ import annotations

from collections.abc import Iterable

from palomar.contract.actions import Action
from palomar.contract.errors import BadName, BadParameter
from palomar.contract.images import RepositoryName
from palomar.server.accounts.registry_tokens import Access

REPOSITORY = "repository"
REGISTRY = "registry"
CATALOG = "catalog"
PULL, PUSH, DELETE, ANY = "pull", "push", "delete", "*"

ACTIONS: dict[str, Action] = {PULL: Action.IMAGE_READ, PUSH: Action.IMAGE_PUSH, DELETE: Action.IMAGE_DELETE}
# All of it goes into the token, which is sent along with every request.
_MAX_LENGTH = 1024
_MAX_THINGS = 10


def repository_scope(name: str, *actions: str) -> str:
    return f"{REPOSITORY}:{name}:{','.join(actions)}"


CATALOG_SCOPE = f"{REGISTRY}:{CATALOG}:{ANY}"


def parse_scopes(given: Iterable[str]) -> list[Access]:
    """What is asked for, one entry for each thing; kinds, names and actions that cannot be ask for nothing.

    A client that mounts blobs asks for several, in parameters of their own or separated by spaces. Raises BadParameter.
    """
    texts = [scope for text in given for scope in text.split()]
    asked: dict[tuple[str, str], set[str]] = {}
    for text in texts:
        type_, _, rest = text.partition(":")
        name, _, actions = rest.rpartition(":")
        asked.setdefault((type_, name), set()).update(_actions(type_, name, actions))
    if len(asked) > _MAX_THINGS or sum(map(len, texts)) > _MAX_LENGTH:
        raise BadParameter("scope", f"at most {_MAX_THINGS} repositories and {_MAX_LENGTH} characters at once")
    return [Access(type_, name, frozenset(actions)) for (type_, name), actions in asked.items() if actions]


def _actions(type_: str, name: str, text: str) -> set[str]:
    named = set(text.split(","))
    if (type_, name) == (REGISTRY, CATALOG):
        return named & {ANY}
    if type_ != REPOSITORY or not _can_be(name):
        return set()
    # skopeo asks for '*' before it deletes.
    return set(ACTIONS) if ANY in named else named & set(ACTIONS)


def _can_be(name: str) -> bool:
    try:
        RepositoryName.parse(name)
    except BadName:
        return False
    return True
