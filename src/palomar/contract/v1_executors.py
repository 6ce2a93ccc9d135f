"""What the native API takes and gives about Executors; the conventions are those of ``palomar.contract.v1``."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import Field

from palomar.contract.actions import Visibility
from palomar.contract.v1 import Given, Taken


class ExecutorRow(Given):
    """``id`` is what old clients call it; ``namespace`` is null for an old un-namespaced Executor."""

    id: str
    namespace: str | None
    name: str
    description: str
    keywords: list[str]
    url: str
    releases: int
    visibility: Visibility
    created_at: datetime
    updated_at: datetime


class TagRow(Given):
    """A protected tag never moves."""

    name: str
    release: int
    is_protected: bool
    moved_at: datetime


class ExecutorDetail(ExecutorRow):
    tags: list[TagRow]


class ExecutorPage(Given):
    """``next_cursor`` is null on the last page."""

    executors: list[ExecutorRow]
    next_cursor: str | None


class ExecutorChanges(Taken):
    """What is left out stays as it is; ``name`` is the new name within the namespace."""

    name: str | None = None
    visibility: Visibility | None = None


class TagOrder(Taken):
    """The release that the tag is to name. Once protected, it stays there for ever."""

    release: Annotated[int, Field(ge=1, lt=2**31)]
    is_protected: bool = False


class ReleaseRow(Given):
    """One push. ``md5`` and ``digest`` (SHA-256) are of the package as it was uploaded; ``commit_id`` is what old
    clients know the release by; ``build_env`` has names alone, for their values are never kept.
    """

    namespace: str | None
    name: str
    release: int
    commit_id: str
    digest: str
    md5: str
    package_bytes: int
    tags: list[str]
    build_env: list[str]
    platform: str
    pushed_by: str | None
    created_at: datetime


class ReleasePage(Given):
    releases: list[ReleaseRow]
    next_cursor: str | None


class ExecutorArgument(Given):
    """``annotation`` and ``default`` are Python source; null where there is none."""

    name: str
    annotation: str | None
    default: str | None
    kind: str
    required: bool


class ExecutorEndpoint(Given):
    """``name`` is null where the source computes it; ``docs_in`` and ``docs_out`` are types as it writes them."""

    name: str | None
    method: str
    parameters: list[ExecutorArgument]
    docs_in: str | None
    docs_out: str | None
    docstring: str | None
    is_async: bool
    is_generator: bool


class PackageFile(Given):
    name: str
    size_bytes: int


class ReleaseDetail(ReleaseRow):
    """What was read from the package without running any of it. ``files`` are the first thousand of ``file_count``;
    ``readme`` and ``dockerfile`` come when they are asked for, as their author wrote them.
    """

    class_name: str
    module: str
    docstring: str | None
    arguments: list[ExecutorArgument]
    endpoints: list[ExecutorEndpoint]
    requirements: list[str]
    needed_env: list[str]
    files: list[PackageFile]
    file_count: int
    warnings: list[str]
    readme: str | None
    dockerfile: str | None


class PackageUrl(Given):
    """A package, which the URL opens without a credential until it expires."""

    url: str
    package_bytes: int
    md5: str
    digest: str
    expires_in_s: int


class ContractChange(Given):
    """``kind`` is stable, ``what`` an argument or endpoint, ``words`` for people."""

    kind: str
    what: str
    is_breaking: bool
    words: str


class Comparison(Given):
    """What changed from release ``old`` to release ``new``; the changes that break something come first."""

    old: int
    new: int
    is_breaking: bool
    changes: list[ContractChange]
