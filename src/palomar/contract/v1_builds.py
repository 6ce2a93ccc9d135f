"""What the native API takes and gives about builds of images; the conventions are those of ``palomar.contract.v1``."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from palomar.contract.v1 import Given, Taken

Version = Annotated[str, Field(min_length=1, max_length=40)]


class State(StrEnum):
    """The last four are for ever; a skipped build never ran, and ``error`` says why."""

    WAITING = "waiting"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    SKIPPED = "skipped"


class BuildRow(Given):
    """``image`` is a name without its host that never moves, ``manifest_digest`` what it names; ``error`` is one
    sentence and ``hint`` what to try. ``platform`` may be several, joined by commas.
    """

    id: str
    state: State
    jina: str
    docarray: str
    platform: str
    builder: str
    no_cache: bool
    image: str | None
    manifest_digest: str | None
    error: str
    hint: str
    is_hubs_fault: bool
    attempts: int
    log_lines: int
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None


class BuildList(Given):
    """Of one release, the newest first."""

    builds: list[BuildRow]


class BuildOrder(Taken):
    """What is left out is as with the release's first build. With ``no_cache`` nothing that was kept is used."""

    jina: Version | None = None
    docarray: Version | None = None
    platform: Annotated[str, Field(max_length=200, pattern=r"^[a-z0-9/.,]*$")] = ""
    no_cache: bool = False


class LogLine(Given):
    """One line of the log's NDJSON; ``at_ms`` counts from ``created_at``."""

    number: int
    at_ms: int
    text: str


class LogEnd(Given):
    """The last line of the NDJSON: the build as it stands then, which is over unless the log was not followed."""

    build: BuildRow
