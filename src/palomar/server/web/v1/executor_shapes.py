"""From an Executor's rows to what the API gives."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from palomar.contract import v1_executors
from palomar.packages.compatibility import Change
from palomar.packages.signatures import Argument, Endpoint
from palomar.server.executors.facts import schema_in
from palomar.server.executors.models import Release, ReleaseTag
from palomar.server.executors.resource import FoundExecutor


def executor_row(found: FoundExecutor) -> v1_executors.ExecutorRow:
    executor = found.executor
    return v1_executors.ExecutorRow(
        id=executor.short_id,
        namespace=_namespace_of(found),
        name=executor.name,
        description=executor.description,
        keywords=_strings(executor.keywords),
        url=executor.url,
        releases=executor.releases,
        visibility=found.visibility,
        created_at=executor.created_at,
        updated_at=executor.updated_at,
    )


def executor_detail(found: FoundExecutor, tags: Iterable[v1_executors.TagRow]) -> v1_executors.ExecutorDetail:
    return v1_executors.ExecutorDetail(**dict(executor_row(found)), tags=list(tags))


def tag_row(tag: ReleaseTag, release: int) -> v1_executors.TagRow:
    return v1_executors.TagRow(name=tag.name, release=release, is_protected=tag.is_protected, moved_at=tag.moved_at)


def release_row(
    found: FoundExecutor, release: Release, tags: Sequence[ReleaseTag], pushed_by: str | None
) -> v1_executors.ReleaseRow:
    return v1_executors.ReleaseRow(
        namespace=_namespace_of(found),
        name=found.executor.name,
        release=release.number,
        commit_id=release.id,
        digest=release.digest,
        md5=release.md5,
        package_bytes=release.package_bytes,
        tags=[tag.name for tag in tags],
        build_env=_strings(release.build_env_names),
        platform=release.platform,
        pushed_by=pushed_by,
        created_at=release.created_at,
    )


def release_detail(
    row: v1_executors.ReleaseRow, facts: Mapping[str, Any], *, with_texts: bool
) -> v1_executors.ReleaseDetail:
    schema = schema_in(dict(facts))
    return v1_executors.ReleaseDetail(
        **dict(row),
        class_name=facts["class"],
        module=facts["module"],
        docstring=facts["docstring"],
        arguments=[_argument(one) for one in schema.arguments],
        endpoints=[_endpoint(one) for one in schema.endpoints],
        requirements=facts["requirements"],
        needed_env=facts["needed_env"],
        files=[v1_executors.PackageFile(name=file["name"], size_bytes=file["size"]) for file in facts["files"]],
        file_count=facts["file_count"],
        warnings=facts["warnings"],
        readme=facts["readme"] if with_texts else None,
        dockerfile=facts["dockerfile"] if with_texts else None,
    )


def comparison(old: Release, new: Release, changes: Sequence[Change]) -> v1_executors.Comparison:
    listed = [
        v1_executors.ContractChange(kind=change.kind, what=change.what, is_breaking=change.breaking, words=change.words)
        for change in changes
    ]
    is_breaking = any(change.breaking for change in changes)
    return v1_executors.Comparison(old=old.number, new=new.number, is_breaking=is_breaking, changes=listed)


def _argument(argument: Argument) -> v1_executors.ExecutorArgument:
    return v1_executors.ExecutorArgument(**argument._asdict())


def _endpoint(endpoint: Endpoint) -> v1_executors.ExecutorEndpoint:
    parameters = [_argument(parameter) for parameter in endpoint.parameters]
    return v1_executors.ExecutorEndpoint(**{**endpoint._asdict(), "parameters": parameters})


def _namespace_of(found: FoundExecutor) -> str | None:
    return None if found.is_legacy else found.namespace.name


def _strings(stored: Any) -> list[str]:
    return list(stored or [])
