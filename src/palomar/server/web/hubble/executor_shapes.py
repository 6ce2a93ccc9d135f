"""Between the executor domain and the lines and objects of the wire, in pure functions."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from palomar.contract.errors import BadPackage, BadParameter, NoExecutorFound, PalomarError
from palomar.contract.names import Tag
from palomar.server.builds.models import Build
from palomar.server.db.columns import can_be_stored
from palomar.server.executors.download import PackageDownload
from palomar.server.executors.models import PushTask, TaskState
from palomar.server.executors.resource import FoundExecutor
from palomar.server.executors.tags import LATEST, WantedTags
from palomar.server.executors.values import ExecutorPush
from palomar.server.web.hubble.build_shapes import end_words, is_pushers_fault
from palomar.server.web.hubble.shapes import to_bool, to_iso, to_text

_ENV_NAME = re.compile(r"[A-Z0-9_]{1,128}", re.ASCII)
_MD5 = re.compile(r"[0-9a-fA-F]{32}", re.ASCII)
_PLATFORM = re.compile(r"[a-z0-9]+(?:/[a-z0-9.]+){1,2}", re.ASCII)
_MAX_TAGS = 50


def to_push(fields: dict[str, str], *, must_exist: bool) -> ExecutorPush:
    """The form of `jina hub push`. `public` and `private` both False means that the user gave neither flag."""
    is_public = to_bool("public", fields.get("public"))
    is_private = to_bool("private", fields.get("private"))
    if is_public and is_private:
        raise BadParameter("public", "--public and --private exclude each other")
    md5 = to_text("md5sum", fields.get("md5sum"))
    if md5 is not None and not _MD5.fullmatch(md5):
        raise BadParameter("md5sum", "it must be 32 hexadecimal digits")
    return ExecutorPush(
        name=to_text("id", fields.get("id")),
        is_public=True if is_public else (False if is_private else None),
        md5=md5,
        tags=WantedTags(_to_tags("tags", fields.get("tags")), _to_tags("immutableTags", fields.get("immutableTags"))),
        dockerfile=to_text("dockerfile", fields.get("dockerfile")),
        build_env=_to_build_env(fields.get("buildEnv")),
        platform=_to_platform(fields.get("platform")),
        must_exist=must_exist,
        no_cache=to_bool("buildWithNoCache", fields.get("buildWithNoCache")) is True,
    )


def _to_tags(name: str, value: str | None) -> tuple[Tag, ...]:
    tags = tuple(Tag.parse(text.strip()) for text in (value or "").split(",") if text.strip())
    if len(tags) > _MAX_TAGS:
        raise BadParameter(name, f"at most {_MAX_TAGS} tags at once")
    return tags


def _to_build_env(value: str | None) -> dict[str, str]:
    if not value:
        return {}
    try:
        given = json.loads(value)
    except ValueError:
        raise BadParameter("buildEnv", "it is not JSON") from None
    if not isinstance(given, dict) or not all(isinstance(text, str) for text in given.values()):
        raise BadParameter("buildEnv", "it must be a JSON object of strings")
    if not all(map(can_be_stored, given.values())):
        raise BadParameter("buildEnv", "its values must be Unicode text without NUL characters")
    if not all(_ENV_NAME.fullmatch(name) for name in given):
        raise BadParameter("buildEnv", "its names must be capital letters, digits and '_'")
    return given


def _to_platform(value: str | None) -> str:
    names = [name.strip() for name in (value or "").split(",") if name.strip()]
    if len(names) > 8 or not all(_PLATFORM.fullmatch(name) for name in names):
        raise BadParameter("platform", "write it as linux/amd64,linux/arm64")
    return ",".join(names)


def to_limit(value: Any, maximum: int) -> int:
    text = "" if value is None else str(value)
    if not text:
        return maximum
    if not (text.isascii() and text.isdecimal() and 1 <= len(text) <= 6 and int(text) > 0):
        raise BadParameter("pageSize", f"1 to {maximum} are allowed")
    return min(int(text), maximum)


def to_flag(value: Any) -> bool:
    return to_bool("replay", value) is True


def pushed_object(found: FoundExecutor, release_id: str, tags: Sequence[str]) -> dict[str, Any]:
    """No `secret`: its presence makes the client print the old jinahub:// forms."""
    return {
        "id": found.executor.short_id,
        "name": found.executor.name,
        "visibility": found.visibility.value,
        "owner": {"name": found.namespace.name},
        "commit": {"id": release_id, "tags": list(tags)},
    }


def package_object(package: PackageDownload, *, download: str, containers: Sequence[str] = ()) -> dict[str, Any]:
    commit: dict[str, Any] = {"id": package.release_id}
    # The first one names the client's folder; an empty list crashes it.
    names = sorted(package.tags, key=lambda name: (name != LATEST, name))
    if names:
        commit["tags"] = names
    if package.build_env_names:
        # Only the names are read: pip needs their values from the puller's own environment.
        commit["commitParams"] = {"buildEnv": dict.fromkeys(package.build_env_names, "")}
    return {
        "id": package.short_id,
        "name": package.name,
        "owner": {"name": package.namespace},
        "visibility": package.visibility.value,
        "commit": commit,
        "package": {"download": download, "md5": package.md5, "containers": list(containers)},
    }


def error_line(error: PalomarError, hubble_status: int) -> dict[str, Any]:
    """The client shows `payload.readableMessage`; with the normaliser's mark it adds its own advice on packages."""
    text = error.detail
    payload: dict[str, Any] = {"readableMessage": text, "message": text, "status": hubble_status}
    if isinstance(error, NoExecutorFound):
        # Its own code 4000 would replace these words, which say what was looked for and where.
        text = f"We can not discover any Executor in your uploaded bundle. {text}"
        payload = {
            "readableMessage": text,
            "message": text,
            "status": 42205,
            "service": "normalizer",
            "err": {"code": 4002},
        }
    elif isinstance(error, BadPackage):
        payload |= {"service": "normalizer", "err": {"code": 4002}}
    return {"type": "error", "subject": "executor", "message": text, "payload": payload}


def task_object(task: PushTask, build: Build | None = None) -> dict[str, Any]:
    """A push is done when its image is, or will not be."""
    updated_at = task.ended_at or task.created_at
    if build is not None:
        updated_at = build.ended_at or build.started_at or updated_at
    return {
        "_id": task.id,
        "status": task_status(task, build),
        "createdAt": to_iso(task.created_at),
        "updatedAt": to_iso(updated_at),
    }


def task_status(task: PushTask, build: Build | None) -> str:
    if build is not None and not build.is_over:
        return TaskState.PENDING
    if build is not None and is_pushers_fault(build):
        return TaskState.FAILED
    return task.state


def progress_line(number: int, line: dict[str, Any]) -> dict[str, Any]:
    inner = {"type": line["type"], "subject": line["subject"], "payload": line["payload"]}
    return {"type": "progress", "data": {"sn": number, "dt": line.get("ms", 0), "data": inner}}


def report_line(task: PushTask, result: dict[str, Any] | None, build: Build | None = None) -> dict[str, Any]:
    """`error` must not be null where the task failed, and a success without a result would be taken for waiting."""
    if task_status(task, build) == TaskState.FAILED:
        text = task.error if build is None else f"The image could not be built: {end_words(build)}"
        return {"type": "report", "status": "failed", "error": {"message": text}, "message": text}
    if result is None:
        return {"type": "report", "status": "pending"}
    return {"type": "report", "status": "succeeded", "result": result, "task": {"_id": task.id}}
