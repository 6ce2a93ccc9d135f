"""What each page shows: one dataclass per template, and nothing else reaches it but the `Frame` around all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import ClassVar


@dataclass(frozen=True, slots=True)
class Frame:
    """Around every page: who looks at it."""

    account_name: str | None
    sign_up_is_open: bool


@dataclass(frozen=True, slots=True)
class Form:
    """What was typed, so that it need not be typed again, and what was wrong with it, by field ('' for the whole)."""

    values: Mapping[str, str] = field(default_factory=dict)
    errors: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class LandingPage:
    template: ClassVar[str] = "landing.html"
    hub_url: str
    namespace: str


@dataclass(frozen=True, slots=True)
class SignUpPage:
    template: ClassVar[str] = "signup.html"
    form: Form
    is_open: bool
    next_path: str
    min_password_length: int


@dataclass(frozen=True, slots=True)
class LoginPage:
    template: ClassVar[str] = "login.html"
    form: Form
    next_path: str


@dataclass(frozen=True, slots=True)
class ConfirmPage:
    template: ClassVar[str] = "confirm.html"
    request_id: str
    client_address: str
    own_address: str
    begun_at: datetime


@dataclass(frozen=True, slots=True)
class DeliverPage:
    """The browser itself carries the code to a command line that listens on its own machine."""

    template: ClassVar[str] = "deliver.html"
    target: str
    code: str
    state: str


@dataclass(frozen=True, slots=True)
class MessagePage:
    template: ClassVar[str] = "message.html"
    title: str
    message: str


@dataclass(frozen=True, slots=True)
class TokenRow:
    name: str
    hint: str
    scopes: str
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None


@dataclass(frozen=True, slots=True)
class SessionRow:
    session_id: str
    label: str
    is_this: bool
    created_at: datetime
    expires_at: datetime
    last_used_at: datetime | None


@dataclass(frozen=True, slots=True)
class ScopeChoice:
    value: str
    label: str
    is_chosen: bool


@dataclass(frozen=True, slots=True)
class SettingsPage:
    template: ClassVar[str] = "settings.html"
    account_name: str
    email: str | None
    tokens: Sequence[TokenRow]
    sessions: Sequence[SessionRow]
    scopes: Sequence[ScopeChoice]
    max_days: int
    min_password_length: int
    token_form: Form
    password_form: Form
    new_token: str | None
    notice: str | None


Page = LandingPage | SignUpPage | LoginPage | ConfirmPage | DeliverPage | MessagePage | SettingsPage
