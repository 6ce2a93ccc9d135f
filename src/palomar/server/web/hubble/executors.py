"""``executor.*`` and ``sandbox.*``: push, status and pull of the old clients."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy.ext.asyncio import AsyncSession
from starlette.responses import JSONResponse, Response, StreamingResponse

from palomar.contract.errors import BadParameter, NotFound, Unsupported
from palomar.server.builds.builds import first_builds
from palomar.server.builds.images import WantedImage, find_image
from palomar.server.executors.download import PackageDownload, find_package
from palomar.server.executors.find import by_row_id, find_readable
from palomar.server.executors.models import Release
from palomar.server.executors.tags import tags_of
from palomar.server.executors.tasks import find_task, list_tasks
from palomar.server.web.address import base_url
from palomar.server.web.download import package_url
from palomar.server.web.errors import http_status
from palomar.server.web.hubble import build_shapes
from palomar.server.web.hubble import executor_shapes as shapes
from palomar.server.web.hubble.build_waiting import PushProgress
from palomar.server.web.hubble.executor_uploads import PushRun, receive_push
from palomar.server.web.hubble.rpc import Methods, RpcCall, ok
from palomar.server.web.hubble.shapes import to_bool, to_text

_MAX_TASKS_LISTED = 100


async def push(call: RpcCall) -> Response:
    """What is wrong with the request is said before the stream begins, what is wrong with the package within it."""
    return _streamed((await receive_push(call, await call.account())).lines())


async def update(call: RpcCall) -> Response:
    """`jina hub push --force-update X --secret S`: X must exist. Its owner needs no secret any more."""
    return _streamed((await receive_push(call, await call.account(), must_exist=True)).lines())


async def create_async(call: RpcCall) -> Response:
    """Jina 3.10 to 3.13 and SDK 0.19 to 0.26.11 push so and then ask for the progress, which is that of the build."""
    return await _single_line(await receive_push(call, await call.account()))


async def update_async(call: RpcCall) -> Response:
    return await _single_line(await receive_push(call, await call.account(), must_exist=True))


async def list_async_tasks(call: RpcCall) -> Response:
    """Tasks of every push are listed, so that `jina hub status` works after each."""
    subject = await call.account()
    fields = await call.fields()
    reference = to_text("id", fields.get("id"))
    if reference is None:
        raise BadParameter("id", "it is missing; send an Executor's name or id")
    limit = shapes.to_limit(fields.get("pageSize"), _MAX_TASKS_LISTED)
    async with call.hub.database.read() as session:
        found = await find_readable(session, subject, reference, own_first=True)
        tasks = await list_tasks(session, subject, found, limit=limit)
        builds = await first_builds(session, {task.release_id for task in tasks if task.release_id})
    return ok([shapes.task_object(task, builds.get(task.release_id or "")) for task in tasks])


async def query_progress(call: RpcCall) -> Response:
    subject = await call.account()
    fields = await call.fields()
    task_id = to_text("id", fields.get("id"))
    if task_id is None:
        raise BadParameter("id", "it is missing; executor.listAsyncTasks shows it as _id")
    is_replay = shapes.to_flag(fields.get("replay"))
    async with call.hub.database.read() as session:
        task = await find_task(session, subject, task_id)
        result = await _task_result(session, task.executor_id, task.release_id)
        build = (await first_builds(session, [task.release_id])).get(task.release_id) if task.release_id else None
    progress = PushProgress(call.hub.builds, task, build, result, is_replay)
    return _streamed(progress.lines())


async def get_package(call: RpcCall) -> Response:
    """The client takes exactly HTTP 200, caches the answer for ever, and asks again only with --force."""
    subject = await call.subject()
    fields = await call.fields()
    reference = to_text("id", fields.get("id"))
    if reference is None:
        raise BadParameter("id", "it is missing; send namespace/name, or an old name or id")
    tag = to_text("tag", fields.get("tag"))
    secret = to_text("secret", fields.get("secret"))
    package = await find_package(call.hub.database, subject, reference, tag=tag, secret=secret)
    url = package_url(call.hub, base_url(call.request, call.hub.settings), package.release_id)
    containers = await _containers(call, package, fields)
    return ok(shapes.package_object(package, download=url, containers=containers))


async def _containers(call: RpcCall, package: PackageDownload, fields: dict[str, Any]) -> list[str]:
    """Only where a container is wanted: the image may have to be built first, and the call waits for it.

    The client has no time-out of its own and asks three times, so it waits three times as long as one call may take.
    """
    if "docker" not in build_shapes.to_include(fields.get("include")):
        return []
    wanted = WantedImage(
        build_shapes.to_versions(call.request.headers),
        any_versions=to_bool("rebuildImage", fields.get("rebuildImage")) is False,
        platform=to_text("preferPlatform", fields.get("preferPlatform")),
        account_id=(await call.subject()).account_id,
    )
    async with call.hub.database.read() as session:
        found = await by_row_id(session, package.executor_id)
    if found is None:
        raise NotFound("Executor", package.name)
    name = await find_image(call.hub.builds, found, package.release_id, wanted)
    host = urlsplit(base_url(call.request, call.hub.settings)).netloc
    return [f"{host}/{name}"]


async def get_sandbox(call: RpcCall) -> Response:
    """Jina looks at `code` alone: anything but 200 means that there is none yet."""
    await call.subject()
    return JSONResponse({"code": 404, "status": 50004, "message": "This hub has no sandboxes.", "data": None})


async def create_sandbox(call: RpcCall) -> Response:
    await call.subject()
    raise Unsupported("sandboxes", "use jinaai:// or jinaai+docker:// instead of +sandbox")


async def _task_result(session: AsyncSession, executor_id: str | None, release_id: str | None) -> dict[str, Any] | None:
    if executor_id is None or release_id is None:
        return None
    release = await session.get(Release, release_id)
    found = await by_row_id(session, executor_id)
    if release is None or found is None:
        return None
    tags = (await tags_of(session, [release.id])).get(release.id, [])
    return shapes.pushed_object(found, release.id, [tag.name for tag in tags])


def _streamed(lines: AsyncIterator[dict[str, Any]]) -> Response:
    return StreamingResponse(_ndjson(lines), media_type="application/x-ndjson")


async def _ndjson(lines: AsyncIterator[dict[str, Any]]) -> AsyncIterator[bytes]:
    async for line in lines:
        yield _encode(line)


def _encode(line: dict[str, Any]) -> bytes:
    """One line; a blank one would break the client."""
    return json.dumps(line).encode() + b"\n"


async def _single_line(run: PushRun) -> Response:
    """One JSON line; any `code` but 202 is shown as an error with its message. The image is asked for afterwards."""
    async for _ in run.lines(until_built=False):
        pass
    if run.error is not None:
        status = http_status(run.error)
        return JSONResponse({"code": status, "message": run.error.detail}, status)
    return JSONResponse({"code": 202, "data": {"_id": run.log.id}})


METHODS: Methods = {
    "executor.push": push,
    "executor.create": push,
    "executor.update": update,
    "executor.createAsync": create_async,
    "executor.updateAsync": update_async,
    "executor.listAsyncTasks": list_async_tasks,
    "executor.queryProgress": query_progress,
    "executor.getPackage": get_package,
    "sandbox.get": get_sandbox,
    "sandbox.create": create_sandbox,
}
