"""URLs that open one version for a short while, for clients that send no credentials with a download."""

from __future__ import annotations

import hashlib
import hmac
import time
from urllib.parse import urlencode

from palomar.contract.errors import NotFound

_SIGNATURE_BYTES = 20


def sign_path(secret: bytes, path: str, *, ttl_s: int) -> str:
    """``path`` with an expiry and a signature over both."""
    expires_at = int(time.time()) + ttl_s
    return f"{path}?{urlencode({'expires': expires_at, 'signature': _signature(secret, path, expires_at)})}"


def check_signature(secret: bytes, path: str, *, expires: str, signature: str) -> None:
    """Raises NotFound: a URL that is wrong or too old opens nothing and says nothing."""
    is_number = expires.isascii() and expires.isdecimal() and len(expires) <= 12
    expires_at = int(expires) if is_number else 0
    expected = _signature(secret, path, expires_at)
    if not hmac.compare_digest(expected.encode(), signature.encode()) or expires_at < time.time():
        raise NotFound("download", path)


def _signature(secret: bytes, path: str, expires_at: int) -> str:
    return hmac.new(secret, f"{path}\n{expires_at}".encode(), hashlib.sha256).hexdigest()[: 2 * _SIGNATURE_BYTES]
