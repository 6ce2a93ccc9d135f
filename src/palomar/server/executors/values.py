"""What goes into a push of an Executor and what comes out of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Self

from palomar.contract.actions import Visibility
from palomar.packages.compatibility import Change
from palomar.packages.package import Package
from palomar.server.executors.facts import to_facts
from palomar.server.executors.tags import WantedTags


@dataclass(frozen=True, slots=True)
class ExecutorPush:
    """What the caller wants with a package.

    ``name`` is un-namespaced and means the pusher's namespace, as `jina hub push` sends it, or a full name. ``None``
    takes the name that the package gives itself. ``is_public`` None leaves an existing Executor as it is.
    ``build_env`` reaches a build and is never stored; only its names are.
    """

    name: str | None = None
    is_public: bool | None = None
    md5: str | None = None
    tags: WantedTags = field(default_factory=WantedTags)
    dockerfile: str | None = None
    build_env: Mapping[str, str] = field(default_factory=dict, repr=False)
    platform: str = ""
    must_exist: bool = False
    no_cache: bool = False


@dataclass(frozen=True, slots=True)
class Draft:
    """A release before it has a row: what the caller wants, and what the package says."""

    push: ExecutorPush
    package: Package
    facts: dict[str, Any]

    @classmethod
    def of(cls, push: ExecutorPush, package: Package) -> Self:
        return cls(push, package, to_facts(package))


@dataclass(frozen=True, slots=True)
class ExecutorReceipt:
    """What a push returns when package and rows are on disk."""

    executor_id: str
    short_id: str
    namespace: str
    name: str
    release_id: str
    release: int
    digest: str
    md5: str
    package_bytes: int
    tags: tuple[str, ...]
    visibility: Visibility
    durable_at: datetime
    warnings: tuple[str, ...]
    changes: tuple[Change, ...]
