"""A build's log: written in batches by the worker that builds, read by anybody's process while it grows."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Collection
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self
from urllib.parse import quote

import structlog
from sqlalchemy import insert, select
from sqlalchemy.ext.asyncio import AsyncSession

from palomar.server.builds.models import Build, BuildLine
from palomar.server.db.columns import utc_now
from palomar.server.db.engine import Database
from palomar.server.executors.facts import storable_text

log = structlog.get_logger("palomar.builds")

CONSOLE: Final = "console"
MAX_LINES: Final = 20_000
_MAX_TEXT: Final = 2_000
_FLUSH_S: Final = 0.4
_LINES_PER_READ: Final = 500
_MASK: Final = "****"
# What is shorter cannot be a secret, and would black out half of a log.
_MIN_SECRET: Final = 3
# Colours and cursor movements of terminals, and whatever else is no text.
_CONTROL: Final = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|[\x00-\x08\x0b-\x1f\x7f]")


class Mask:
    """Takes secret values out of texts, as they are and as a URL spells them."""

    def __init__(self, values: Collection[str]) -> None:
        hidden = [value for value in values if len(value) >= _MIN_SECRET]
        spelt = {form for value in hidden for form in (value, quote(value, safe=""), quote(value))}
        # The longest first: a value may be a part of another one.
        self._values = sorted(spelt, key=len, reverse=True)

    def __call__(self, text: str) -> str:
        for value in self._values:
            text = text.replace(value, _MASK)
        return text


class BuildLog:
    """The lines of one run of a build; call it with each. Two runs at once mix their lines."""

    def __init__(self, database: Database, build_id: str, *, secrets: Collection[str] = ()) -> None:
        self._database = database
        self._build_id = build_id
        self.mask = Mask(secrets)
        self._held: list[tuple[str, int]] = []
        self._flushing = asyncio.Lock()
        self._often: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._often = asyncio.create_task(self._flush_often())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._often is not None  # noqa: S101 -- set when it was entered
        self._often.cancel()
        with suppress(asyncio.CancelledError):
            await self._often
        await asyncio.shield(self.flush())

    def __call__(self, text: str) -> None:
        """May be many lines at once; what a terminal shows and a text does not is left out."""
        at_ms = int(utc_now().timestamp() * 1000)
        for line in _CONTROL.sub("", text.replace("\r", "\n")).split("\n"):
            if line.strip() and len(self._held) <= MAX_LINES:
                self._held.append((storable_text(self.mask(line.rstrip()))[:_MAX_TEXT], at_ms))

    async def flush(self) -> None:
        """Everything that was said so far can be read, by whatever replica, when this returns."""
        async with self._flushing:
            lines, self._held = self._held, []
            if not lines:
                return
            try:
                async with self._database.write() as session:
                    await append_lines(session, self._build_id, lines)
            except BaseException:
                self._held = lines + self._held
                raise

    async def _flush_often(self) -> None:
        while True:
            await asyncio.sleep(_FLUSH_S)
            try:
                await self.flush()
            except Exception:
                # The database is away; the lines are kept for the next time, and a log stops no build.
                log.warning("log lines not written yet", build_id=self._build_id, exc_info=True)


async def append_lines(session: AsyncSession, build_id: str, lines: list[tuple[str, int]]) -> None:
    """``lines`` with the milliseconds since 1970. The build's row is locked, so numbers never collide.

    A build that is over has said everything: whoever read it to its end would never see another line.
    """
    build = await session.get(Build, build_id, with_for_update=True, populate_existing=True)
    room = 0 if build is None or build.is_over else MAX_LINES - build.log_lines
    if build is None or room <= 0:
        return
    if len(lines) >= room:
        lines = [*lines[: room - 1], ("... the rest of the log is not kept", lines[-1][1])]
    begin_ms = int(build.created_at.timestamp() * 1000)
    rows = [
        {
            "build_id": build_id,
            "number": number,
            "at_ms": max(0, at_ms - begin_ms),
            "kind": CONSOLE,
            "text": text,
        }
        for number, (text, at_ms) in enumerate(lines, build.log_lines + 1)
    ]
    await session.execute(insert(BuildLine), rows)
    build.log_lines += len(rows)


@dataclass(frozen=True, slots=True)
class Progress:
    """What is new since the last look; ``build`` is the row as it stood just before."""

    build: Build
    lines: list[BuildLine]


async def follow(database: Database, build_id: str, *, after: int = 0, poll_s: float = 0.3) -> AsyncIterator[Progress]:
    """Looks until the build is over and its last line read; a look that finds nothing new is given out as well.

    Ends at once for a build that there is not, or not any more.
    """
    while True:
        progress = await _look(database, build_id, after)
        if progress is None:
            return
        yield progress
        if progress.lines:
            after = progress.lines[-1].number
        if len(progress.lines) == _LINES_PER_READ:
            continue
        if progress.build.is_over:
            return
        await asyncio.sleep(poll_s)


async def _look(database: Database, build_id: str, after: int) -> Progress | None:
    """The row first: one that is over has all its lines."""
    async with database.read() as session:
        build = await session.get(Build, build_id)
        if build is None:
            return None
        return Progress(build, await read_lines(session, build_id, after=after))


async def read_lines(session: AsyncSession, build_id: str, *, after: int = 0) -> list[BuildLine]:
    """At most 500, in their order."""
    query = select(BuildLine).where(BuildLine.build_id == build_id, BuildLine.number > after)
    return list(await session.scalars(query.order_by(BuildLine.number).limit(_LINES_PER_READ)))
