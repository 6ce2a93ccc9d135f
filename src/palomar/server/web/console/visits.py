"""A request for a page: who makes it, what they typed, and where they may be sent."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from urllib.parse import parse_qs, quote, urlsplit

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from palomar.contract.actions import Action
from palomar.contract.errors import BadRequestBody, TooLarge
from palomar.server.access.policy import Resource, require
from palomar.server.accounts.credentials import Holder
from palomar.server.web.address import client_address
from palomar.server.web.console.contexts import Frame, Page
from palomar.server.web.console.rendering import redirect, render
from palomar.server.web.csrf import refuse_cross_site_write
from palomar.server.web.identity import identify_browser, to_subject
from palomar.server.wiring import Hub

_MAX_FORM_BYTES = 64 * 1024
_MAX_FIELDS = 100


@dataclass(frozen=True, slots=True)
class Visit:
    hub: Hub
    request: Request
    holder: Holder | None

    @property
    def address(self) -> str:
        return client_address(self.request, self.hub.settings)

    @property
    def account(self) -> Holder:
        """Whose page it is; only for views that are `private`."""
        if self.holder is None:
            raise TypeError("this view must be marked private")
        return self.holder

    def require(self, action: Action) -> None:
        """Raises NotAllowed if the visitor may not do this to their own account."""
        holder = self.account
        require(to_subject(holder), action, Resource("account", holder.account_name, holder.account_id))

    def render(self, page: Page, *, status: int = 200, form_targets: str = "'self'") -> Response:
        frame = Frame(
            account_name=None if self.holder is None else self.holder.account_name,
            sign_up_is_open=self.hub.settings.sign_up == "open",
        )
        return render(page, frame, status=status, form_targets=form_targets)

    async def form(self) -> dict[str, list[str]]:
        """The fields of a urlencoded form, each with all its values."""
        try:
            return parse_qs((await self._body()).decode(), keep_blank_values=True, max_num_fields=_MAX_FIELDS)
        except ValueError:
            raise BadRequestBody("it is no urlencoded form in UTF-8") from None

    async def _body(self) -> bytes:
        body = b""
        try:
            async for piece in self.request.stream():
                body += piece
                if len(body) > _MAX_FORM_BYTES:
                    raise TooLarge("The form", _MAX_FORM_BYTES)
        except ClientDisconnect:
            raise BadRequestBody("it was cut off") from None
        return body


View = Callable[[Visit], Awaitable[Response]]
Endpoint = Callable[[Request], Awaitable[Response]]


def view(function: View) -> Endpoint:
    """An endpoint of the console; what changes something is refused if another site sent it."""

    async def endpoint(request: Request) -> Response:
        hub: Hub = request.app.state.hub
        refuse_cross_site_write(request, hub.settings)
        return await function(Visit(hub, request, await identify_browser(hub, request)))

    return endpoint


def private(function: View) -> Endpoint:
    """As `view`, for people who are logged in; others log in first and then come back."""

    async def gate(visit: Visit) -> Response:
        if visit.holder is None:
            return redirect("/login?next=" + quote(_here(visit.request), safe=""))
        return await function(visit)

    return view(gate)


def first(form: dict[str, list[str]], name: str) -> str:
    return form.get(name, [""])[0]


def local_path(text: str | None, *, otherwise: str = "/settings") -> str:
    """``text`` if it leads to a page of this hub, whatever a browser may make of it."""
    if not text or not text.startswith("/") or text.startswith("//") or "\\" in text or not text.isprintable():
        return otherwise
    parts = urlsplit(text)
    return otherwise if parts.scheme or parts.netloc else text


def _here(request: Request) -> str:
    """Where to come back to: the page itself, or the settings if a form was posted."""
    if request.method != "GET":
        return "/settings"
    return request.url.path + (f"?{request.url.query}" if request.url.query else "")
