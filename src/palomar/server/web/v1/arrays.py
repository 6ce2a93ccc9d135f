"""``/arrays``: DocumentArrays as the caller may see them."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Query

from palomar.contract import v1
from palomar.contract.actions import Visibility
from palomar.contract.errors import BadName
from palomar.contract.names import Namespace
from palomar.server.artifacts.listing import After, ArrayQuery, ListedArray, list_visible
from palomar.server.artifacts.manage import Changes, delete_artifact, undelete_artifact, update_artifact
from palomar.server.artifacts.versions import current_version
from palomar.server.namespaces.models import LEGACY_NAMESPACE
from palomar.server.web.v1 import shapes
from palomar.server.web.v1.calls import Account, Anyone, NativeRoute, from_cursor, from_timestamp, to_cursor
from palomar.server.web.v1.finding import find_array, find_changeable, find_deleted

router = APIRouter(route_class=NativeRoute, tags=["arrays"])

Limit = Annotated[int, Query(ge=1, le=200)]
Cursor = Annotated[str | None, Query(max_length=200)]


@router.get("/arrays")
async def list_arrays(
    call: Anyone,
    namespace: Annotated[str | None, Query(max_length=100)] = None,
    kind: v1.Kind | None = None,
    search: Annotated[v1.Text | None, Query(min_length=1, max_length=128)] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> v1.ArrayPage:
    """The caller's own arrays and public ones, newest first. `search` is a part of a name."""
    query = ArrayQuery(
        namespace=stored_namespace(namespace),
        document_kind=kind,
        search=search,
        after=_after(cursor),
        limit=limit,
    )
    async with call.hub.database.read() as session:
        listed = await list_visible(session, call.subject, query)
    rows = [shapes.array_row(one.found, one.version) for one in listed[:limit]]
    return v1.ArrayPage(arrays=rows, next_cursor=_next_cursor(listed, limit))


def stored_namespace(name: str | None) -> str | None:
    """A name that breaks the rules is nobody's, so its list is empty like any other unused name's."""
    if name is None:
        return None
    if name == v1.NO_NAMESPACE:
        return LEGACY_NAMESPACE
    try:
        return Namespace.parse(name)
    except BadName:
        return ""


def _after(cursor: str | None) -> After | None:
    if cursor is None:
        return None
    created_at, row_id = from_cursor(cursor, str, str)
    return After(from_timestamp(created_at), row_id)


def _next_cursor(listed: list[ListedArray], limit: int) -> str | None:
    if len(listed) <= limit:
        return None
    last = listed[limit - 1].found.artifact
    return to_cursor(last.created_at.isoformat(), last.id)


@router.get("/arrays/{namespace}/{name}")
async def get_array(call: Anyone, namespace: str, name: str) -> v1.ArrayDetail:
    """One array. The namespace `_` stands for old un-namespaced arrays."""
    async with call.hub.database.read() as session:
        found = await find_array(session, call.subject, namespace, name)
        return shapes.array_detail(found, await current_version(session, found.artifact))


@router.patch("/arrays/{namespace}/{name}")
async def update_array(call: Account, namespace: str, name: str, changes: v1.ArrayChanges) -> v1.ArrayDetail:
    """Its name, who sees it, its metadata; versions never change."""
    wanted = Changes(
        name=None if changes.name is None else f"{namespace}/{changes.name}",
        is_public=None if changes.visibility is None else changes.visibility is Visibility.PUBLIC,
        metadata=changes.metadata,
    )
    async with call.hub.database.write() as session:
        found = await find_changeable(session, call.subject, namespace, name)
        rules = call.hub.artifact_rules
        found = await update_artifact(session, call.subject, found.artifact.id, wanted, rules)
        return shapes.array_detail(found, await current_version(session, found.artifact))


@router.delete("/arrays/{namespace}/{name}", status_code=204)
async def delete_array(call: Account, namespace: str, name: str) -> None:
    """The name stays taken, and its owner can bring the array back for some days."""
    async with call.hub.database.write() as session:
        found = await find_changeable(session, call.subject, namespace, name)
        await delete_artifact(session, call.subject, call.hub.artifact_rules, artifact_id=found.artifact.id)


@router.post("/arrays/{namespace}/{name}/undelete")
async def undelete_array(call: Account, namespace: str, name: str) -> v1.ArrayDetail:
    """Brings a deleted array back, with all its versions."""
    async with call.hub.database.write() as session:
        window = timedelta(days=call.hub.settings.undelete_days)
        deleted = await find_deleted(session, call.subject, namespace, name, window=window)
        found = await undelete_artifact(session, call.subject, deleted.artifact.id, window=window)
        return shapes.array_detail(found, await current_version(session, found.artifact))
