"""Where a request comes from and how the hub is reached, believing proxies only where the operator says so."""

from __future__ import annotations

import re

from starlette.requests import Request

from palomar.contract.errors import BadParameter
from palomar.server.settings import Settings

_HOST = re.compile(r"[A-Za-z0-9.-]{1,253}(?::\d{1,5})?|\[[0-9A-Fa-f:.]{2,45}\](?::\d{1,5})?", re.ASCII)


def client_address(request: Request, settings: Settings) -> str:
    peer = request.client.host if request.client else "unknown"
    if peer not in settings.trusted_proxies:
        return peer
    # The last address is the one that the trusted proxy itself saw.
    return request.headers.get("x-forwarded-for", peer).rpartition(",")[2].strip() or peer


def is_https(request: Request, settings: Settings) -> bool:
    if settings.public_url is not None:
        return settings.public_url.startswith("https://")
    peer = request.client.host if request.client else ""
    if peer in settings.trusted_proxies:
        return request.headers.get("x-forwarded-proto", request.url.scheme) == "https"
    return request.url.scheme == "https"


def base_url(request: Request, settings: Settings) -> str:
    """``scheme://host[:port]`` as the caller reached the hub; the configured one where there is one.

    The Host header only ever comes back to its own sender, but what is no host at all is refused.
    """
    if settings.public_url is not None:
        return settings.public_url
    host = request.headers.get("host", "")
    if not _HOST.fullmatch(host):
        raise BadParameter("Host header", "it is no host name; set PALOMAR_PUBLIC_URL if a proxy changes it")
    return f"{'https' if is_https(request, settings) else 'http'}://{host}"
