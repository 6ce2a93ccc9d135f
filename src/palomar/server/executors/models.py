"""Executors, their immutable releases, and the tags that point at them."""

from __future__ import annotations

from enum import StrEnum

from sqlalchemy import BigInteger, ForeignKey, Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from palomar.server.db.base import Base
from palomar.server.db.columns import Created, Id, Json, Moment


class Executor(Base):
    """The row is never deleted: ``deleted_at`` makes it a tombstone, and a push by the owner revives it."""

    __tablename__ = "executors"
    __table_args__ = (
        UniqueConstraint("namespace_id", "name_key"),
        Index("ix_executors_namespace_id_updated_at", "namespace_id", "updated_at", "id"),
        Index("ix_executors_updated_at", "updated_at", "id"),
        Index("ix_executors_deleted_at", "deleted_at"),
    )

    id: Mapped[Id]
    # What the wire calls the id: eight characters, and the name of the folder that a client unpacks to.
    short_id: Mapped[str] = mapped_column(String(8), unique=True)
    namespace_id: Mapped[str] = mapped_column(ForeignKey("namespaces.id"))
    name: Mapped[str] = mapped_column(String(128))
    name_key: Mapped[str] = mapped_column(String(128))
    visibility: Mapped[str] = mapped_column(String(8))
    description: Mapped[str] = mapped_column(String(2000), default="")
    keywords: Mapped[Json]
    url: Mapped[str] = mapped_column(String(2000), default="")
    # Of old un-namespaced Executors only: SHA-256 of what stood behind the colon of jinahub://Name:secret.
    secret_hash: Mapped[str | None] = mapped_column(String(64))
    owner_id: Mapped[str | None] = mapped_column(ForeignKey("accounts.id", ondelete="SET NULL"))
    releases: Mapped[int] = mapped_column(default=0)
    created_at: Mapped[Created]
    updated_at: Mapped[Created]
    deleted_at: Mapped[Moment | None]


class Release(Base):
    """One pushed state; its id is the wire's ``commit.id``, which changes with every push."""

    __tablename__ = "releases"
    __table_args__ = (
        UniqueConstraint("executor_id", "number"),
        Index("ix_releases_package_id", "package_id"),
    )

    id: Mapped[Id]
    executor_id: Mapped[str] = mapped_column(ForeignKey("executors.id"))
    number: Mapped[int]
    package_id: Mapped[int | None] = mapped_column(ForeignKey("blobs.id"))
    package_bytes: Mapped[int] = mapped_column(BigInteger)
    # MD5 of the package, which the old clients check it by, and our SHA-256.
    md5: Mapped[str] = mapped_column(String(32))
    digest: Mapped[str] = mapped_column(String(64))
    # What was read from the package without running any of it: class, arguments, endpoints, requirements, readme...
    facts: Mapped[Json]
    # Names of build environment variables; their values are never kept.
    build_env_names: Mapped[Json]
    platform: Mapped[str] = mapped_column(String(200), default="")
    pushed_by: Mapped[str | None] = mapped_column(ForeignKey("accounts.id", ondelete="SET NULL"))
    created_at: Mapped[Created]
    # Set when the package was given up after the undelete window.
    purged_at: Mapped[Moment | None]


class ReleaseTag(Base):
    """A name of a release. A protected one never moves: that is a rule of this table, not of a handler."""

    __tablename__ = "release_tags"
    __table_args__ = (Index("ix_release_tags_release_id", "release_id"),)

    executor_id: Mapped[str] = mapped_column(ForeignKey("executors.id"), primary_key=True)
    name: Mapped[str] = mapped_column(String(128), primary_key=True)
    release_id: Mapped[str] = mapped_column(ForeignKey("releases.id"))
    is_protected: Mapped[bool] = mapped_column(default=False)
    moved_at: Mapped[Created]


class TaskState(StrEnum):
    PENDING = "pending"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


class PushTask(Base):
    """What a push went through, for ``jina hub status`` and its replay."""

    __tablename__ = "push_tasks"
    __table_args__ = (Index("ix_push_tasks_executor_id_created_at", "executor_id", "created_at", "id"),)

    id: Mapped[Id]
    executor_id: Mapped[str | None] = mapped_column(ForeignKey("executors.id"))
    account_id: Mapped[str | None] = mapped_column(ForeignKey("accounts.id", ondelete="SET NULL"))
    release_id: Mapped[str | None] = mapped_column(ForeignKey("releases.id"))
    state: Mapped[str] = mapped_column(String(16), default=TaskState.PENDING)
    # The lines that the client was shown, as {"type", "subject", "payload"} with milliseconds since the beginning.
    lines: Mapped[Json]
    error: Mapped[str] = mapped_column(String(4000), default="")
    created_at: Mapped[Created]
    ended_at: Mapped[Moment | None]
