"""Pages to responses: templates, and the headers that keep a page from being framed, sniffed, cached or scripted."""

from __future__ import annotations

import hashlib
from datetime import datetime
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from palomar.contract.errors import PalomarError
from palomar.server.web.console.contexts import Frame, MessagePage, Page

_TEMPLATES = Path(__file__).parent / "templates"
_STYLE = (Path(__file__).parent / "static" / "palomar.css").read_bytes()
# The address changes with the content, so that browsers may keep the file for ever.
_STYLE_URL = f"/static/{hashlib.sha256(_STYLE).hexdigest()[:12]}/palomar.css"


def when(moment: datetime | None, *, otherwise: str = "never") -> Markup | str:
    if moment is None:
        return otherwise
    return Markup('<time datetime="{}">{}</time>').format(moment.isoformat(), moment.strftime("%Y-%m-%d %H:%M UTC"))


_environment = Environment(loader=FileSystemLoader(_TEMPLATES), autoescape=True, undefined=StrictUndefined)
_environment.filters["when"] = when
_environment.globals["style_url"] = _STYLE_URL


async def style(_request: Request) -> Response:
    headers = {"Cache-Control": "public, max-age=31536000, immutable"}
    return Response(_STYLE, media_type="text/css", headers=headers)


def render(page: Page, frame: Frame, *, status: int = 200, form_targets: str = "'self'") -> Response:
    html = _environment.get_template(page.template).render(page=page, frame=frame)
    return protect(HTMLResponse(html, status), form_targets=form_targets)


def redirect(path: str) -> Response:
    """303: whatever was posted, the next page is fetched by GET."""
    return protect(RedirectResponse(path, 303))


def render_error(error: PalomarError, status: int, request_id: str) -> Response:
    """The form of `palomar.server.web.errors.Renderer`."""
    message = error.detail if status < 500 else f"{error.detail} The operator can find it as request {request_id}."
    return render(MessagePage(error.title, message), Frame(None, sign_up_is_open=False), status=status)


def protect(response: Response, *, form_targets: str = "'self'") -> Response:
    response.headers["Content-Security-Policy"] = (
        f"default-src 'none'; style-src 'self'; img-src 'self' data:; form-action {form_targets}; "
        "frame-ancestors 'none'; base-uri 'none'"
    )
    response.headers["X-Content-Type-Options"] = "nosniff"
    response.headers["Cache-Control"] = "no-store"
    # Not 'no-referrer': with it browsers send 'Origin: null' with the page's own forms.
    response.headers["Referrer-Policy"] = "same-origin"
    response.headers["Cross-Origin-Opener-Policy"] = "same-origin"
    return response
