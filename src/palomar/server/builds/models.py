"""Builds of images, what they said, and what they must know and nobody may keep."""

from __future__ import annotations

from sqlalchemy import BigInteger, ForeignKey, Index, String, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from palomar.server.builds.states import BuildState
from palomar.server.db.base import Base
from palomar.server.db.columns import Created, Id, Json, Moment

_IS_LIVE = text("state IN ('waiting', 'running')")


class Build(Base):
    """One attempt to make the image of a release for one variant. Its job in the engine has the same id.

    Of a variant there may be many that are over, and one that waits or runs: that is a rule of this table.
    """

    __tablename__ = "builds"
    __table_args__ = (
        Index(
            "uq_builds_live",
            "release_id",
            "variant_key",
            unique=True,
            sqlite_where=_IS_LIVE,
            postgresql_where=_IS_LIVE,
        ),
        Index("ix_builds_release_id_created_at", "release_id", "created_at", "id"),
        Index("ix_builds_state_created_at", "state", "created_at"),
    )

    id: Mapped[Id]
    release_id: Mapped[str] = mapped_column(ForeignKey("releases.id"))
    # Where its image goes; set when it first runs.
    repository_id: Mapped[str | None] = mapped_column(ForeignKey("repositories.id", ondelete="SET NULL"))
    variant_key: Mapped[str] = mapped_column(String(32))
    # Those that are built for, joined by commas.
    platform: Mapped[str] = mapped_column(String(200))
    jina: Mapped[str] = mapped_column(String(40))
    docarray: Mapped[str] = mapped_column(String(40))
    base_digest: Mapped[str] = mapped_column(String(140))
    builder: Mapped[str] = mapped_column(String(16))
    no_cache: Mapped[bool] = mapped_column(default=False)
    state: Mapped[str] = mapped_column(String(16), default=BuildState.WAITING)
    attempts: Mapped[int] = mapped_column(default=0)
    cancel_requested: Mapped[bool] = mapped_column(default=False)
    # Of one that failed or was skipped: why, in one sentence, and what to try.
    error: Mapped[str] = mapped_column(String(4000), default="")
    hint: Mapped[str] = mapped_column(String(2000), default="")
    # Whether that was the hub's fault and not the package's, so that a later try may come out otherwise.
    is_hubs_fault: Mapped[bool] = mapped_column(default=False)
    manifest_digest: Mapped[str | None] = mapped_column(String(140))
    # The tag that never moves.
    image_tag: Mapped[str | None] = mapped_column(String(128))
    log_lines: Mapped[int] = mapped_column(default=0)
    requested_by: Mapped[str | None] = mapped_column(ForeignKey("accounts.id", ondelete="SET NULL"))
    created_at: Mapped[Created]
    started_at: Mapped[Moment | None]
    ended_at: Mapped[Moment | None]

    @property
    def is_over(self) -> bool:
        return BuildState(self.state).is_over


class BuildLine(Base):
    """One line of a build's log; ``at_ms`` counts from when the build was asked for."""

    __tablename__ = "build_lines"

    build_id: Mapped[str] = mapped_column(ForeignKey("builds.id"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    at_ms: Mapped[int] = mapped_column(BigInteger)
    kind: Mapped[str] = mapped_column(String(16))
    text: Mapped[str] = mapped_column(Text)


class BuildSecret(Base):
    """Values of ``--build-env``: here and nowhere else, and only until the build ends."""

    __tablename__ = "build_secrets"

    build_id: Mapped[str] = mapped_column(ForeignKey("builds.id"), primary_key=True)
    values: Mapped[Json]


class ResolvedLock(Base):
    """What a package's requirements resolved to, by a digest of all that went into that.

    So a change of source alone asks no index, and what was pushed twice is the same twice. Gone when nobody has used it
    for a while, or when a build is to use nothing of what was kept.
    """

    __tablename__ = "resolved_locks"
    __table_args__ = (Index("ix_resolved_locks_used_at", "used_at"),)

    key: Mapped[str] = mapped_column(String(64), primary_key=True)
    text: Mapped[str] = mapped_column(Text)
    created_at: Mapped[Created]
    used_at: Mapped[Created]
