"""``/executors``: Executors as the caller may see them, and their tags."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Query
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from palomar.contract import v1, v1_executors
from palomar.contract.actions import Action, Visibility
from palomar.contract.names import Tag
from palomar.server.builds.tags import sync_image_tags
from palomar.server.executors.listing import After, ExecutorQuery, list_visible
from palomar.server.executors.manage import (
    ExecutorChanges,
    delete_executor,
    delete_tag,
    retag,
    undelete_executor,
    update_executor,
)
from palomar.server.executors.models import Release, ReleaseTag
from palomar.server.executors.resource import FoundExecutor
from palomar.server.web.v1 import executor_shapes as shapes
from palomar.server.web.v1.arrays import Cursor, Limit, stored_namespace
from palomar.server.web.v1.calls import Account, Anyone, NativeRoute, from_cursor, from_timestamp, to_cursor
from palomar.server.web.v1.executor_finding import changeable, find_deleted, find_executor

router = APIRouter(route_class=NativeRoute, tags=["executors"])

EXECUTOR = "/executors/{namespace}/{name}"


@router.get("/executors")
async def list_executors(
    call: Anyone,
    namespace: Annotated[str | None, Query(max_length=100)] = None,
    search: Annotated[v1.Text | None, Query(min_length=1, max_length=128)] = None,
    limit: Limit = 50,
    cursor: Cursor = None,
) -> v1_executors.ExecutorPage:
    """The caller's own Executors and public ones, the last changed first.

    `search` is a part of a name, description or keyword.
    """
    query = ExecutorQuery(stored_namespace(namespace), search, _after(cursor), limit)
    async with call.hub.database.read() as session:
        listed = await list_visible(session, call.subject, query)
    rows = [shapes.executor_row(found) for found in listed[:limit]]
    return v1_executors.ExecutorPage(executors=rows, next_cursor=_next_cursor(listed, limit))


def _after(cursor: str | None) -> After | None:
    if cursor is None:
        return None
    updated_at, row_id = from_cursor(cursor, str, str)
    return After(from_timestamp(updated_at), row_id)


def _next_cursor(listed: list[FoundExecutor], limit: int) -> str | None:
    if len(listed) <= limit:
        return None
    last = listed[limit - 1].executor
    return to_cursor(last.updated_at.isoformat(), last.id)


@router.get(EXECUTOR)
async def get_executor(call: Anyone, namespace: str, name: str) -> v1_executors.ExecutorDetail:
    """One Executor with its tags. The namespace `_` stands for old un-namespaced ones."""
    async with call.hub.database.read() as session:
        return await _detail(session, await find_executor(session, call.subject, namespace, name))


@router.patch(EXECUTOR)
async def update_executor_row(
    call: Account, namespace: str, name: str, changes: v1_executors.ExecutorChanges
) -> v1_executors.ExecutorDetail:
    """Its name and who sees it; releases never change."""
    wanted = ExecutorChanges(
        name=changes.name,
        is_public=None if changes.visibility is None else changes.visibility is Visibility.PUBLIC,
    )
    async with call.hub.database.write() as session:
        reference = await changeable(session, call.subject, Action.EXECUTOR_UPDATE, namespace, name)
        return await _detail(session, await update_executor(session, call.subject, reference, wanted))


@router.delete(EXECUTOR, status_code=204)
async def delete_executor_row(call: Account, namespace: str, name: str) -> None:
    """The name stays taken, and its owner can bring the Executor back for some days."""
    async with call.hub.database.write() as session:
        reference = await changeable(session, call.subject, Action.EXECUTOR_DELETE, namespace, name)
        await delete_executor(session, call.subject, reference)


@router.post(EXECUTOR + "/undelete")
async def undelete_executor_row(call: Account, namespace: str, name: str) -> v1_executors.ExecutorDetail:
    """Brings a deleted Executor back, with all its releases and tags."""
    window = timedelta(days=call.hub.settings.undelete_days)
    async with call.hub.database.write() as session:
        deleted = await find_deleted(session, call.subject, namespace, name, window=window)
        found = await undelete_executor(session, call.subject, deleted.executor.id, window=window)
        return await _detail(session, found)


@router.put(EXECUTOR + "/tags/{tag}")
async def move_tag(
    call: Account, namespace: str, name: str, tag: str, order: v1_executors.TagOrder
) -> v1_executors.ExecutorDetail:
    """Makes a tag, or moves it to another release; a protected one never moves."""
    async with call.hub.database.write() as session:
        reference = await changeable(session, call.subject, Action.EXECUTOR_UPDATE, namespace, name)
        found = await retag(
            session,
            call.subject,
            reference,
            release_number=order.release,
            tag=Tag.parse(tag),
            is_protected=order.is_protected,
        )
        await sync_image_tags(session, found.executor.id)
        return await _detail(session, found)


@router.delete(EXECUTOR + "/tags/{tag}", status_code=204)
async def remove_tag(call: Account, namespace: str, name: str, tag: str) -> None:
    """Takes a tag away; its release stays. A protected one stays too."""
    async with call.hub.database.write() as session:
        reference = await changeable(session, call.subject, Action.EXECUTOR_UPDATE, namespace, name)
        found = await delete_tag(session, call.subject, reference, Tag.parse(tag))
        await sync_image_tags(session, found.executor.id)


async def _detail(session: AsyncSession, found: FoundExecutor) -> v1_executors.ExecutorDetail:
    query = select(ReleaseTag, Release.number).join(Release, Release.id == ReleaseTag.release_id)
    rows = await session.execute(query.where(ReleaseTag.executor_id == found.executor.id).order_by(ReleaseTag.name))
    return shapes.executor_detail(found, [shapes.tag_row(tag, number) for tag, number in rows])
