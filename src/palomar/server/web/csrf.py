"""Cross-site writes are refused by what the browser itself says about a request's origin.

A cookie goes with a form that another site submits, so a page that changes something must know where the form came
from. Every current browser says so in ``Sec-Fetch-Site``; older ones, and those that reach the hub by plain HTTP on
another host than localhost, say ``Origin``. A request with neither header comes from no browser and so carries
nobody's cookie against their will; ``SameSite=Lax`` holds for whatever is left. No token has to be put into forms.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from starlette.requests import Request

from palomar.contract.errors import NotAllowed
from palomar.server.settings import Settings
from palomar.server.web.address import base_url

_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
# 'none': the person themselves, by address bar or bookmark.
_OWN_SITES = frozenset({"same-origin", "none"})


def refuse_cross_site_write(request: Request, settings: Settings) -> None:
    """Raises NotAllowed if a browser says that another site made it send this."""
    if request.method in _SAFE_METHODS:
        return
    site = request.headers.get("sec-fetch-site")
    is_own = site in _OWN_SITES if site is not None else _is_own_origin(request, settings)
    if not is_own:
        raise NotAllowed("submit", request.url.path, "the form was sent by a page of another site")


def _is_own_origin(request: Request, settings: Settings) -> bool:
    """Hosts are compared and schemes are not: a proxy may speak https outside and http inside."""
    origin = request.headers.get("origin")
    return origin is None or urlsplit(origin).netloc.lower() == urlsplit(base_url(request, settings)).netloc.lower()
