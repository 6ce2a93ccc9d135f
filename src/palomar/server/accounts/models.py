"""People, and what they prove who they are with."""

from __future__ import annotations

from enum import StrEnum

from sqlalchemy import ForeignKey, Index, String, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from palomar.server.db.base import Base
from palomar.server.db.columns import Created, Id, Json, Moment


class AccountStatus(StrEnum):
    """As the old clients spell it: both count as live for them."""

    ACTIVE = "active"
    DELETING = "deletion-in-progress"


class SessionClient(StrEnum):
    """Who holds a login."""

    BROWSER = "browser"
    COMMAND_LINE = "cli"


class LoginStatus(StrEnum):
    """pending -> confirmed -> coded -> granted, or pending -> refused; time ends each of them but the last two."""

    PENDING = "pending"
    CONFIRMED = "confirmed"
    REFUSED = "refused"
    CODED = "coded"
    GRANTED = "granted"


class LoginDelivery(StrEnum):
    """How the code comes to the command line: on its open stream, or as a form that the browser posts to it."""

    STREAM = "stream"
    FORM = "form"


class Account(Base):
    """A person. ``name`` is also the name of the namespace that they own."""

    __tablename__ = "accounts"

    id: Mapped[Id]
    name: Mapped[str] = mapped_column(String(39), unique=True)
    nickname: Mapped[str | None] = mapped_column(String(100))
    email: Mapped[str | None] = mapped_column(String(254))
    password_hash: Mapped[str | None] = mapped_column(String(255))
    is_admin: Mapped[bool] = mapped_column(default=False)
    status: Mapped[str] = mapped_column(String(24), default=AccountStatus.ACTIVE)
    created_at: Mapped[Created]


class PersonalAccessToken(Base):
    """Only the SHA-256 of the token is kept: it is 160 random bits, so a slow hash would add nothing but time."""

    __tablename__ = "tokens"
    __table_args__ = (UniqueConstraint("account_id", "name"),)

    id: Mapped[Id]
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id", ondelete="CASCADE"))
    name: Mapped[str] = mapped_column(String(100))
    token_hash: Mapped[str] = mapped_column(String(64), unique=True)
    hint: Mapped[str] = mapped_column(String(16))
    scopes: Mapped[Json]
    created_at: Mapped[Created]
    updated_at: Mapped[Created]
    expires_at: Mapped[Moment | None]
    last_used_at: Mapped[Moment | None]


class LoginSession(Base):
    """One login of a `SessionClient`; its JWT carries the id as ``sid`` and dies when the row is revoked."""

    __tablename__ = "login_sessions"
    __table_args__ = (Index("ix_login_sessions_account_id", "account_id"),)

    id: Mapped[Id]
    account_id: Mapped[str] = mapped_column(ForeignKey("accounts.id", ondelete="CASCADE"))
    client: Mapped[str] = mapped_column(String(16))
    label: Mapped[str] = mapped_column(String(100), default="")
    created_at: Mapped[Created]
    expires_at: Mapped[Moment]
    last_used_at: Mapped[Moment | None]
    revoked_at: Mapped[Moment | None]


class LoginRequest(Base):
    """A command line that waits for a person to confirm in a browser; the rules are in `login_flow`."""

    __tablename__ = "login_requests"
    __table_args__ = (Index("ix_login_requests_expires_at", "expires_at"),)

    id: Mapped[Id]
    state_hash: Mapped[str] = mapped_column(String(64), unique=True)
    code_hash: Mapped[str | None] = mapped_column(String(64), unique=True)
    status: Mapped[str] = mapped_column(String(16), default=LoginStatus.PENDING)
    delivery: Mapped[str] = mapped_column(String(8), default=LoginDelivery.STREAM)
    client_address: Mapped[str] = mapped_column(String(64), default="")
    account_id: Mapped[str | None] = mapped_column(ForeignKey("accounts.id", ondelete="CASCADE"))
    created_at: Mapped[Created]
    expires_at: Mapped[Moment]
    code_expires_at: Mapped[Moment | None]


class HubKey(Base):
    """Keys that the hub made for itself: ``purpose`` is 'session' (an ES256 JWK) or 'url' (a secret for signed URLs).

    They live in the database so that every replica has them; a backup of it is therefore a secret.
    """

    __tablename__ = "hub_keys"

    id: Mapped[str] = mapped_column(String(64), primary_key=True)
    purpose: Mapped[str] = mapped_column(String(16))
    secret: Mapped[Json]
    created_at: Mapped[Created]
    retired_at: Mapped[Moment | None]
