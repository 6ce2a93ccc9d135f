"""What is there: the API itself, repositories, tags, and what refers to a manifest (end-1, end-8, end-12)."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from sqlalchemy.ext.asyncio import AsyncSession
from starlette.responses import Response

from palomar.contract.actions import Action
from palomar.contract.errors import BadParameter, CredentialMissing, RepositoryUnknown
from palomar.contract.images import OCI_INDEX, ImageDigest
from palomar.server.registry.find import FoundRepository, find_repository
from palomar.server.registry.listing import list_referrers as find_referrers
from palomar.server.registry.listing import list_repositories
from palomar.server.registry.listing import list_tags as find_tags
from palomar.server.registry.values import ReferrerPage, TagPage
from palomar.server.web.oci.answers import answer_json
from palomar.server.web.oci.call import Call
from palomar.server.web.oci.grants import may
from palomar.server.web.oci.scopes import ANY, CATALOG, REGISTRY

_MAX_LISTED = 1000
_NO_REFERRERS = ReferrerPage([], next=None)
_CHANGING = {"Cache-Control": "private, no-cache", "Vary": "Authorization"}


async def ping(call: Call) -> Response:
    """Nobody is challenged here in vain: 'docker login' learns by it where to fetch a token."""
    await call.identify()
    if not call.caller.has_credential:
        raise CredentialMissing
    return answer_json({})


async def list_catalog(call: Call) -> Response:
    """The repositories that the caller may read; not in the specification, but known to many tools.

    Who brings no credential is challenged, or a client that has one would never show it; an anonymous token will do.
    """
    await call.identify()
    if not call.caller.has_credential or not call.caller.covers(REGISTRY, CATALOG, ANY):
        raise CredentialMissing
    limit, last = _page(call)
    async with call.hub.database.read() as session:
        page = await list_repositories(session, call.subject, limit, last)
    return _listed("/v2/_catalog", {"repositories": page.names}, limit, page)


async def list_tags(call: Call) -> Response:
    limit, last = _page(call)
    async with call.hub.database.read() as session:
        repository = await find_repository(session, call.subject, call.name, Action.IMAGE_READ)
        page = await find_tags(session, repository, limit, last)
    return _listed(f"/v2/{call.name}/tags/list", {"name": call.name, "tags": page.names}, limit, page)


def _page(call: Call) -> tuple[int, str | None]:
    """``n`` and ``last``; a page has never more than the hub's own limit, and then leads to the next one."""
    text = call.query("n")
    if text is None:
        return _MAX_LISTED, call.query("last")
    if not (text.isascii() and text.isdecimal() and len(text) < 19):
        raise BadParameter("n", "it is no whole number from 0")
    return min(int(text), _MAX_LISTED), call.query("last")


def _listed(path: str, body: dict[str, Any], limit: int, page: TagPage) -> Response:
    """The Link is relative, so it holds behind any proxy (RFC 8288, which took the place of RFC 5988)."""
    headers = dict(_CHANGING)
    if page.has_more:
        headers["Link"] = f'<{path}?{urlencode({"n": limit, "last": page.names[-1]})}>; rel="next"'
    return answer_json(body, headers=headers)


async def list_referrers(call: Call) -> Response:
    """``n`` and ``last`` as with tags, except that without ``n`` a page has whatever 4 MiB hold."""
    artifact_type = call.query("artifactType")
    asked, last = _page(call)
    limit = None if call.query("n") is None else asked
    async with call.hub.database.read() as session:
        repository = await _repository(call, session)
        digest = ImageDigest.parse(call.request.path_params["digest"])
        page = _NO_REFERRERS
        if repository is not None:
            page = await find_referrers(session, repository, digest, artifact_type, limit=limit, last=last)
    headers = dict(_CHANGING)
    if artifact_type is not None:
        headers["OCI-Filters-Applied"] = "artifactType"
    if page.next is not None:
        query = {"artifactType": artifact_type, "n": limit, "last": page.next}
        given = urlencode({name: value for name, value in query.items() if value is not None})
        headers["Link"] = f'</v2/{call.name}/referrers/{digest}?{given}>; rel="next"'
    body = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": page.descriptors}
    return answer_json(body, media_type=OCI_INDEX, headers=headers)


async def _repository(call: Call, session: AsyncSession) -> FoundRepository | None:
    """None for one of the caller's own that does not exist yet: a client that gets a 404 here takes the hub for an old
    one without this API, and keeps lists of its own in tags instead.
    """
    try:
        return await find_repository(session, call.subject, call.name, Action.IMAGE_READ)
    except RepositoryUnknown:
        if await may(session, call.subject, call.name, Action.IMAGE_READ):
            return None
        raise
