"""Between builds and the wire: the versions that clients say in headers, and the lines that they read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from palomar.server.builds.models import Build, BuildLine
from palomar.server.builds.states import BuildState
from palomar.server.builds.variants import AskedVersions
from palomar.server.executors.models import PushTask
from palomar.server.executors.values import ExecutorReceipt

SUBJECT = "buildWorkspace"
_MARKUP = re.compile(r"(\\*)(\[[a-z#/@][^\[]*?\])")
# Without `type` and `subject` of an event the client passes over a line (jina-hubble-sdk, executor/hubio.py).
HEARTBEAT: dict[str, Any] = {"type": "heartbeat"}


def to_versions(headers: Mapping[str, str]) -> AskedVersions:
    """Every request of the executor commands says what it comes from."""
    return AskedVersions.of(jina=headers.get("jinameta-jina"), docarray=headers.get("jinameta-docarray"))


def to_include(value: Any) -> frozenset[str]:
    """A JSON array; in the query of old GETs one text or several."""
    given = value if isinstance(value, list) else [value]
    return frozenset(item for item in given if isinstance(item, str))


def console_line(line: BuildLine, *, is_escaped: bool) -> dict[str, Any]:
    """``is_escaped`` where the client prints the text as it comes, as markup: '[/usr/lib]' would make it fail."""
    payload = escape_markup(line.text) if is_escaped else line.text
    return {"type": "console", "subject": SUBJECT, "payload": payload}


def escape_markup(text: str) -> str:
    """What looks like a tag of the client's console library (rich) is shown as text."""
    escaped = _MARKUP.sub(lambda match: f"{match[1] * 2}\\{match[2]}", text)
    # The client's own closing tag follows, and a backslash would take it for text.
    return f"{escaped}\\" if escaped.endswith("\\") else escaped


def status_line(kind: str, payload: str) -> dict[str, Any]:
    return {"type": kind, "subject": SUBJECT, "payload": payload}


def end_words(build: Build) -> str:
    """In one line, how a build ended."""
    if build.state == BuildState.SUCCEEDED:
        return f"image {build.image_tag}, {build.manifest_digest}"
    return " ".join(filter(None, (f"{build.error.rstrip('.') or f'The build was {build.state}'}.", build.hint)))


def is_pushers_fault(build: Build) -> bool:
    """Only such a failure is an error of the push; anything else is a warning beside what was stored."""
    return build.state == BuildState.FAILED and not build.is_hubs_fault


def failed_text(build: Build, receipt: ExecutorReceipt) -> str:
    """The release itself is stored all the same, and the client must not think otherwise."""
    name = f"{receipt.namespace}/{receipt.name}"
    stored = f"Release {receipt.release} of {name} is stored all the same: its source can be used as jinaai://{name}."
    return f"The image could not be built: {end_words(build)} {stored}"


def failed_line(text: str) -> dict[str, Any]:
    """`payload.status` 50003 with another `cmd` than docker, or the client says its own words instead of these."""
    payload = {"readableMessage": text, "message": text, "status": 50003, "cmd": "palomar"}
    return {"type": "error", "subject": SUBJECT, "message": text, "payload": payload}


def warning_line(text: str) -> dict[str, Any]:
    return {**status_line("warning", text), "message": text}


def offset_ms(task: PushTask, build: Build) -> int:
    """When the build was asked for, counted from the beginning of the push."""
    last = max((int(line.get("ms", 0)) for line in task.lines), default=0)
    since_end = (build.created_at - (task.ended_at or task.created_at)).total_seconds()
    return max(0, last + int(since_end * 1000))
