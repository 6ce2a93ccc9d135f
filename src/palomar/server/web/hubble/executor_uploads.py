"""The multipart body of an Executor push, and the lines that tell how it goes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from typing import Any

import structlog

from palomar.contract.actions import Action
from palomar.contract.errors import BadParameter, BadRequestBody, LimitExceeded, NotAllowed, PalomarError
from palomar.server.access.policy import Subject
from palomar.server.access.pushing import require_push
from palomar.server.builds.values import BuildRequest
from palomar.server.builds.variants import AskedVersions
from palomar.server.executors.find import by_row_id, find_readable
from palomar.server.executors.push import PackageSpool
from palomar.server.executors.target import push_path
from palomar.server.executors.tasks import TaskLog, record_task
from palomar.server.executors.values import ExecutorPush, ExecutorReceipt
from palomar.server.namespaces.service import find_namespace
from palomar.server.web.errors import lookup
from palomar.server.web.hubble import executor_shapes as shapes
from palomar.server.web.hubble.build_shapes import to_versions
from palomar.server.web.hubble.build_waiting import BuildWait
from palomar.server.web.hubble.rpc import STATUS, RpcCall
from palomar.server.web.hubble.shapes import to_bool
from palomar.server.web.multipart import FieldPart, FileBytes, FileOpened, read_multipart
from palomar.server.wiring import Hub

log = structlog.get_logger("palomar.executors")


@dataclass(slots=True)
class PushRun:
    """A package that has arrived, and what becomes of it while somebody reads the lines."""

    hub: Hub
    subject: Subject
    push: ExecutorPush
    spool: PackageSpool
    stack: AsyncExitStack
    versions: AskedVersions = field(default_factory=AskedVersions)
    is_verbose: bool = False
    log: TaskLog = field(default_factory=TaskLog)
    error: PalomarError | None = None

    async def lines(self, *, until_built: bool = True) -> AsyncIterator[dict[str, Any]]:
        """``until_built``: the image too, if the hub makes one. It is made whether anybody waits for it or not."""
        async with self.stack:
            try:
                async for line in self._steps(until_built=until_built):
                    yield line
            except PalomarError as error:
                self.error = error
                await self._record(error=error.detail)
                yield shapes.error_line(error, lookup(STATUS, error))
            except Exception:
                log.exception("push failed")
                self.error = PalomarError()
                yield shapes.error_line(self.error, lookup(STATUS, self.error))

    async def _steps(self, *, until_built: bool) -> AsyncIterator[dict[str, Any]]:
        yield self.log.add("init", "createExecutor", "checking the package")
        yield self.log.add("start", "extractZip", "reading it without running it")
        package = await self.hub.executor_pusher.read(self.spool, self.push)
        summary = f"{package.executor.name} in {package.executor.module}, {len(package.files)} files"
        # Of all lines, the client shows only a console's text for good, and that with --verbose.
        yield self.log.add("console", "extractZip", summary)
        yield self.log.add("done", "extractZip", summary)
        for warning in package.warnings:
            yield self._warning(warning)
        yield self.log.add("start", "createExecutor", "storing the release")
        receipt = await self.hub.executor_pusher.store_release(self.subject, self.push, package, self.spool)
        for change in receipt.changes:
            yield self._warning(f"Breaking change: {change.words}")
        stored = f"release {receipt.release}, sha256 {receipt.digest}"
        yield self.log.add("console", "createExecutor", stored)
        yield self.log.add("done", "createExecutor", stored)
        await self.stack.aclose()
        wait = await self._request_build(receipt)
        complete = await self._complete(receipt)
        if wait.text:
            yield self._warning(wait.text)
        if until_built:
            async for line in wait.lines(receipt):
                yield line
        if not wait.has_failed:
            yield complete

    async def _request_build(self, receipt: ExecutorReceipt) -> BuildWait:
        wanted = BuildRequest(
            versions=self.versions,
            build_env=self.push.build_env,
            no_cache=self.push.no_cache,
            requested_by=self.subject.account_id,
        )
        builds = self.hub.builds
        try:
            build = await builds.after_push(receipt.executor_id, receipt.release_id, wanted)
        except LimitExceeded as error:
            return BuildWait(builds, None, self.is_verbose, f"The image is not built yet. {error.detail}")
        return BuildWait(builds, build, self.is_verbose)

    def _warning(self, text: str) -> dict[str, Any]:
        return {**self.log.add("warning", "createExecutor", text), "message": text}

    async def _complete(self, receipt: ExecutorReceipt) -> dict[str, Any]:
        await self._record(executor_id=receipt.executor_id, release_id=receipt.release_id)
        async with self.hub.database.read() as session:
            found = await by_row_id(session, receipt.executor_id)
        if found is None:
            raise PalomarError
        payload = shapes.pushed_object(found, receipt.release_id, receipt.tags)
        return {"type": "complete", "subject": "createExecutor", "message": "Pushed", "payload": payload}

    async def _record(self, *, executor_id: str | None = None, release_id: str | None = None, error: str = "") -> None:
        async with self.hub.database.write() as session:
            if executor_id is None:
                executor_id = await self._known_executor(session)
            record_task(
                session,
                self.log,
                account_id=self.subject.account_id,
                executor_id=executor_id,
                release_id=release_id,
                error=error,
            )

    async def _known_executor(self, session: Any) -> str | None:
        """That of a failed push, if it has been pushed before."""
        try:
            found = await find_readable(session, self.subject, self.push.name or "", own_first=True)
        except PalomarError:
            return None
        return found.executor.id if found.owner_id == self.subject.account_id else None


async def receive_push(call: RpcCall, subject: Subject, *, must_exist: bool = False) -> PushRun:
    """Takes the body in. The fields come before the file, so what they say is checked before it is received."""
    async with AsyncExitStack() as stack:
        spool = await stack.enter_async_context(call.hub.executor_pusher.spool())
        fields: dict[str, str] = {}
        push: ExecutorPush | None = None
        async for part in read_multipart(call.request, max_field_bytes=call.hub.settings.max_json_bytes):
            match part:
                case FieldPart(name, value):
                    fields[name] = value
                case FileOpened(name, _):
                    if name != "file" or push is not None:
                        raise BadRequestBody("it must have one file part, named 'file'")
                    push = await _check(call, subject, fields, must_exist=must_exist)
                case FileBytes(data):
                    await spool.write(data)
                case _:
                    pass
        if push is None:
            raise BadRequestBody("it has no file part; send the zipped package as 'file'")
        is_verbose = to_bool("verbose", fields.get("verbose")) is True
        versions = to_versions(call.request.headers)
        return PushRun(call.hub, subject, push, spool, stack.pop_all(), versions, is_verbose)


async def _check(call: RpcCall, subject: Subject, fields: dict[str, str], *, must_exist: bool) -> ExecutorPush:
    push = shapes.to_push(fields, must_exist=must_exist)
    if not must_exist:
        await _check_namespace(call, subject, push.name)
        return push
    if push.name is None:
        raise BadParameter("id", "it is missing; send the name or id of the Executor to update")
    async with call.hub.database.read() as session:
        found = await find_readable(session, subject, push.name, secret=fields.get("secret"), own_first=True)
        if found.is_legacy:
            reason = "old un-namespaced Executors can be pulled and never changed; push without --force-update"
            raise NotAllowed(Action.EXECUTOR_PUSH.verb, push.name, reason)
        found.require(subject, Action.EXECUTOR_PUSH, push.name)
    return replace(push, name=found.shown_name)


async def _check_namespace(call: RpcCall, subject: Subject, name: str | None) -> None:
    """Older clients say no name here: it is in the package, and looked at when that has been read."""
    if name is None:
        return
    path = push_path(subject, name)
    async with call.hub.database.read() as session:
        require_push(subject, Action.EXECUTOR_PUSH, path, await find_namespace(session, path.namespace))
