"""A push that waits for its image, and a look at one that somebody else waits for."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Any

from palomar.server.builds.builds import Builds
from palomar.server.builds.log import Progress
from palomar.server.builds.models import Build
from palomar.server.builds.states import BuildState
from palomar.server.executors.models import PushTask, TaskState
from palomar.server.executors.values import ExecutorReceipt
from palomar.server.web.hubble import build_shapes as shapes
from palomar.server.web.hubble.executor_shapes import progress_line, report_line

_HEARTBEAT_S = 10.0


@dataclass(slots=True)
class _Silence:
    """So that no proxy between takes a slow build for a dead connection."""

    spoken_at: float = field(default_factory=time.monotonic)

    def is_long(self, *, is_broken: bool) -> bool:
        now = time.monotonic()
        is_long = not is_broken and now - self.spoken_at > _HEARTBEAT_S
        if is_broken or is_long:
            self.spoken_at = now
        return is_long


@dataclass(slots=True)
class BuildWait:
    """The image of a release that was just pushed. ``text`` says why there will be none yet."""

    builds: Builds
    build: Build | None
    is_verbose: bool
    text: str = ""

    @property
    def has_failed(self) -> bool:
        return self.build is not None and shapes.is_pushers_fault(self.build)

    async def lines(self, receipt: ExecutorReceipt) -> AsyncIterator[dict[str, Any]]:
        """Until it is over. A client that goes away stops this, and not the build."""
        if self.build is None:
            return
        if not self.build.is_over:
            yield shapes.status_line("start", f"building the image for {_versions(self.build)}")
            async for line in self._followed(self.build.id):
                yield line
        yield self._end(self.build, receipt)

    async def _followed(self, build_id: str) -> AsyncIterator[dict[str, Any]]:
        silence = _Silence()
        async for progress in self.builds.follow(build_id):
            self.build = progress.build
            for line in progress.lines:
                yield shapes.console_line(line, is_escaped=not self.is_verbose)
            if silence.is_long(is_broken=bool(progress.lines)):
                yield shapes.HEARTBEAT

    def _end(self, build: Build, receipt: ExecutorReceipt) -> dict[str, Any]:
        if self.has_failed:
            return shapes.failed_line(shapes.failed_text(build, receipt))
        if build.state == BuildState.SUCCEEDED:
            return shapes.status_line("done", shapes.end_words(build))
        return shapes.warning_line(f"There is no image: {shapes.end_words(build)}")


@dataclass(frozen=True, slots=True)
class PushProgress:
    """What ``jina hub status`` reads: a push from its beginning or from now on, to the end of its build."""

    builds: Builds
    task: PushTask
    build: Build | None
    result: dict[str, Any] | None
    is_replay: bool
    silence: _Silence = field(default_factory=lambda: _Silence(spoken_at=0.0))

    async def lines(self) -> AsyncIterator[dict[str, Any]]:
        pushed = self.task.lines if self.is_replay else []
        for number, line in enumerate(pushed):
            yield progress_line(number, line)
        build = self.build
        if build is not None:
            async for progress in self._followed(build):
                build = progress.build
                for line in self._shown(progress, first=len(pushed)):
                    yield line
        has_succeeded = self.task.state == TaskState.SUCCEEDED
        yield report_line(self.task, self.result if has_succeeded else None, build)

    def _followed(self, build: Build) -> AsyncIterator[Progress]:
        """Without a replay, what was said before is left out."""
        return self.builds.follow(build.id, after=0 if self.is_replay else build.log_lines)

    def _shown(self, progress: Progress, *, first: int) -> Iterator[dict[str, Any]]:
        # The build may begin before the push has said its last word.
        begin_ms = max(shapes.offset_ms(self.task, progress.build), *(line.get("ms", 0) for line in self.task.lines), 0)
        for line in progress.lines:
            shown = {**shapes.console_line(line, is_escaped=True), "ms": begin_ms + line.at_ms}
            yield progress_line(first + line.number - 1, shown)
        if not progress.build.is_over and self.silence.is_long(is_broken=bool(progress.lines)):
            yield _PENDING


# Unlike a push, this command prints a line of a type that it does not know.
_PENDING = {"type": "report", "status": "pending"}


def _versions(build: Build) -> str:
    return f"jina {build.jina} and docarray {build.docarray}"
