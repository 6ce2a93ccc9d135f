"""Another registry, by the pull part of the distribution specification and the token service of Docker's clients."""

from __future__ import annotations

import ipaddress
import re
from base64 import b64encode
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Self
from urllib.parse import urlsplit

import httpx2

from palomar.contract.errors import BadParameter, SourceLost
from palomar.contract.images import MANIFEST_TYPES
from palomar.server.builds.bases.reference import DEFAULT_HOST, Reference
from palomar.server.builds.bases.sources.graph import Found, find_images
from palomar.server.builds.bases.sources.images import (
    MAX_JSON_BYTES,
    SourceImage,
    digest_of,
    json_object,
    one_per_platform,
    refused,
)
from palomar.server.builds.image_config import Platform
from palomar.server.builds.layer_reader import Readable

_ACCEPT: Final = ", ".join(sorted(MANIFEST_TYPES))
# The host of references without a host answers under this name.
_API_HOSTS: Final = {DEFAULT_HOST: f"index.{DEFAULT_HOST}"}
_SCHEMES: Final = ("docker://", "https://", "http://")
_CHALLENGE: Final = re.compile(r'(\w+)="([^"]*)"', re.ASCII)
_BLOCK_BYTES: Final = 1 << 20
_TIMEOUT: Final = httpx2.Timeout(60.0, connect=15.0)
_MAX_TOKEN_BYTES: Final = 64 * 1024
_UNAUTHORISED: Final = 401


@dataclass(frozen=True, slots=True)
class Login:
    username: str
    password: str = field(repr=False)


class RemoteSource:
    """One image of a registry. A context manager, whose connections are closed in the end."""

    def __init__(self, address: str, login: Login | None = None) -> None:
        """``address`` is a reference, after docker://, or after http:// for a registry without TLS.

        Raises BadParameter.
        """
        scheme, text = _split_scheme(address)
        try:
            self._reference = Reference.parse(text)
        except ValueError as error:
            raise refused(str(error)) from None
        host = self._reference.host
        is_plain = scheme == "http://" or (scheme != "https://" and _is_loopback(host))
        self._url = f"{'http' if is_plain else 'https'}://{_API_HOSTS.get(host, host)}/v2/{self._reference.path}"
        self._login = login
        self._client = httpx2.Client(timeout=_TIMEOUT, follow_redirects=True, max_redirects=5)
        self._authorisation: dict[str, str] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    @property
    def name(self) -> Reference:
        return self._reference

    def images(self, wanted: Sequence[Platform]) -> list[SourceImage]:
        return one_per_platform(list(find_images([self._root()], self, wanted)), wanted)

    def read(self, found: Found) -> bytes:
        kind = "manifests" if found.media_type in MANIFEST_TYPES else "blobs"
        with self._answer(f"{kind}/{found.digest}", accept=_ACCEPT) as response:
            return _bounded(response, MAX_JSON_BYTES)

    @contextmanager
    def open(self, found: Found) -> Iterator[Readable]:
        with self._answer(f"blobs/{found.digest}") as response:
            # Raw, since the digest is that of the blob as it is stored, whatever Content-Encoding says of it.
            yield _Body(response.iter_raw(_BLOCK_BYTES), self._reference.host)

    def _root(self) -> Found:
        wanted = self._reference.digest or self._reference.tag
        with self._answer(f"manifests/{wanted}", accept=_ACCEPT) as response:
            content = _bounded(response, MAX_JSON_BYTES)
        algorithm = (self._reference.digest or "sha256:").partition(":")[0]
        digest = digest_of(content, algorithm)
        if self._reference.digest not in {None, digest}:
            raise refused(f"the registry answered with {digest}, which was not asked for")
        media_type = response.headers.get("content-type", "").partition(";")[0].strip()
        if media_type not in MANIFEST_TYPES:
            raise refused(f"the registry answered with {media_type[:100]!a}, which is no image in a form that is known")
        return Found(media_type, digest, len(content))

    # --- one request ---------------------------------------------------------------------------------------------

    @contextmanager
    def _answer(self, path: str, accept: str = "*/*") -> Iterator[httpx2.Response]:
        """Raises BadParameter for everything but success, and SourceLost where trying again may help."""
        try:
            with self._sent(path, accept) as response:
                _check(response, self._reference)
                yield response
        except httpx2.InvalidURL as error:
            raise refused(f"the registry sent a wrong address: {error}") from None
        except httpx2.HTTPError as error:
            raise _lost(self._reference.host, error) from None

    @contextmanager
    def _sent(self, path: str, accept: str) -> Iterator[httpx2.Response]:
        headers = {"Accept": accept, "Accept-Encoding": "identity"}
        with self._client.stream("GET", f"{self._url}/{path}", headers={**headers, **self._authorisation}) as response:
            # After a redirect it is somebody else who asks.
            if response.status_code != _UNAUTHORISED or response.history:
                yield response
                return
            challenge = response.headers.get("www-authenticate", "")
        self._authorisation = self._authorise(challenge)
        with self._client.stream("GET", f"{self._url}/{path}", headers={**headers, **self._authorisation}) as response:
            yield response

    def _authorise(self, challenge: str) -> dict[str, str]:
        """The header that answers the registry's challenge; none where there is nothing to answer it with."""
        scheme, _, rest = challenge.partition(" ")
        if scheme.lower() == "bearer":
            return {"Authorization": f"Bearer {self._token(dict(_CHALLENGE.findall(rest)))}"}
        if scheme.lower() == "basic" and self._login:
            told = b64encode(f"{self._login.username}:{self._login.password}".encode()).decode()
            return {"Authorization": f"Basic {told}"}
        return {}

    def _token(self, challenge: dict[str, str]) -> str:
        realm = challenge.get("realm", "")
        self._check_realm(realm)
        scope = challenge.get("scope") or f"repository:{self._reference.path}:pull"
        query = {"service": challenge.get("service", ""), "scope": scope}
        auth = httpx2.BasicAuth(self._login.username, self._login.password) if self._login else None
        with self._client.stream("GET", realm, params=query, auth=auth) as response:
            if response.status_code in {400, 401, 403}:
                raise refused(f"{self._reference.host} does not accept this login for {self._reference.path}")
            _check(response, self._reference)
            content = _bounded(response, _MAX_TOKEN_BYTES)
        return _token_in(content, self._reference.host)

    def _check_realm(self, realm: str) -> None:
        """A password that came by TLS must not leave without it."""
        parts = urlsplit(realm)
        is_plain_here = self._url.startswith("http://") and parts.scheme == "http"
        if not parts.hostname or (parts.scheme != "https" and not is_plain_here):
            raise refused(f"{self._reference.host} names a token service that is not on https://")


class _Body:
    """A response's bytes as a file."""

    def __init__(self, blocks: Iterator[bytes], host: str) -> None:
        self._blocks = blocks
        self._host = host
        self._left = b""

    def read(self, count: int = -1, /) -> bytes:
        """Up to ``count`` bytes, none at the end."""
        if not self._left:
            self._left = self._next()
        end = len(self._left) if count < 0 else count
        data, self._left = self._left[:end], self._left[end:]
        return data

    def _next(self) -> bytes:
        try:
            return next(self._blocks, b"")
        except httpx2.HTTPError as error:
            raise _lost(self._host, error) from None


def _split_scheme(address: str) -> tuple[str, str]:
    scheme = next((known for known in _SCHEMES if address.startswith(known)), "")
    return scheme, address.removeprefix(scheme)


def _is_loopback(host: str) -> bool:
    name = urlsplit(f"//{host}").hostname or ""
    try:
        return name == "localhost" or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _bounded(response: httpx2.Response, limit: int) -> bytes:
    content = bytearray()
    for piece in response.iter_bytes(64 * 1024):
        content += piece
        if len(content) > limit:
            raise refused(f"the registry's answer is larger than {limit:,} bytes")
    return bytes(content)


def _token_in(content: bytes, host: str) -> str:
    told = json_object(content, f"the answer of the token service of {host}")
    token = told.get("token") or told.get("access_token")
    if not isinstance(token, str) or not token.isascii() or not token.isprintable():
        raise refused(f"the token service of {host} gave no token")
    return token


def _check(response: httpx2.Response, reference: Reference) -> None:
    status = response.status_code
    if status == httpx2.codes.OK:
        return
    if status in {401, 403}:
        raise refused(f"{reference.host} does not give {reference} to this login; see --username and --password-stdin")
    if status == httpx2.codes.NOT_FOUND:
        raise refused(f"{reference.host} has no {reference}, or does not show it to this login")
    if status == httpx2.codes.TOO_MANY_REQUESTS:
        raise refused(f"{reference.host} wants fewer requests: try again later, or log in with --username")
    if status >= httpx2.codes.INTERNAL_SERVER_ERROR:
        raise SourceLost("SOURCE", f"{reference.host} answered with status {status}")
    raise refused(f"{reference.host} answered with status {status}")


def _lost(host: str, error: httpx2.HTTPError) -> BadParameter:
    return SourceLost("SOURCE", f"{host} cannot be reached: {str(error) or type(error).__name__}")
