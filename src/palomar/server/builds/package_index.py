"""The package index of builds: uv's own where the operator chose none, and the hosts that its files lie on.

Neither is written down here. uv says which index it takes, and the index says where its files are.
"""

from __future__ import annotations

import asyncio
import json
import ssl
import sys
import time
from collections.abc import Iterable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urljoin, urlsplit

import httpx2

from palomar.contract.errors import shorten
from palomar.server.builds.builder import BuildFailure
from palomar.server.builds.package_rules import PackageRules, url_address

#: What every image has, so that an index without its page can serve no build.
_PROJECT: Final = "jina"
_JSON: Final = "application/vnd.pypi.simple.v1+json"
_ACCEPT: Final = f"{_JSON}, application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1"
_KNOWN_FOR_S: Final = 6 * 3600
_ANSWER_S: Final = 30
_UV_S: Final = 60
_MAX_PAGE_BYTES: Final = 32 * 1024**2
_MAX_REDIRECTS: Final = 5
_MAX_HOSTS: Final = 20

_Hosts = frozenset[tuple[str, int]]
# Of this process: uv's own index by the program, and the hosts of an index by its URL, with when they were learned.
_own_indexes: dict[Path, str] = {}
_known_hosts: dict[str, tuple[float, _Hosts]] = {}


async def with_index(rules: PackageRules) -> PackageRules:
    """The rules with the index that uv takes where they name none. It asks uv, and nobody else.

    Raises:
        BuildFailure: There is no uv, or it does not say.
    """
    if rules.index_url is not None:
        return rules
    url = await _own_index(uv_of(rules))
    return replace(rules, index_url=url, learned_hosts=frozenset({url_address(url)}))


async def with_hosts(rules: PackageRules) -> PackageRules:
    """The same with the hosts that the index has its files on, which it is asked for once in some hours.

    Raises:
        BuildFailure: As ``with_index``, or the index cannot be reached.
    """
    rules = await with_index(rules)
    if not rules.index_url:
        return rules
    own = url_address(rules.index_url)
    found = await _hosts(rules, rules.index_url)
    # The operator's index stays the operator's, who may have it close by.
    learned = found if own in rules.learned_hosts else found - {own}
    return replace(rules, learned_hosts=rules.learned_hosts | learned)


def uv_of(rules: PackageRules) -> Path:
    """Raises BuildFailure where there is none."""
    uv = rules.find_uv()
    if uv is None:
        raise BuildFailure("The hub has no 'uv', which installs packages.", "Ask its operator.", is_hubs_fault=True)
    return uv


# --- which index -------------------------------------------------------------------------------------------------


async def _own_index(uv: Path) -> str:
    if uv not in _own_indexes:
        _own_indexes[uv] = await _ask(uv)
    return _own_indexes[uv]


async def _ask(uv: Path) -> str:
    """Resolving nothing, it writes the index that it would have looked in."""
    argv = (
        *("pip", "compile", "-", "--emit-index-url", "--no-header", "--no-config", "--no-cache", "--offline"),
        *("--quiet", "--python", sys.executable, "--no-python-downloads"),
    )
    try:
        said = await asyncio.wait_for(_said(uv, argv), _UV_S)
    except (OSError, TimeoutError):
        said = ""
    for line in said.splitlines():
        option, _, url = line.strip().partition(" ")
        if option in {"--index-url", "-i", "--default-index"} and url.startswith("https://"):
            return url.strip()
    raise BuildFailure(
        "The hub's 'uv' does not say which package index it uses.",
        "The hub's operator can name one with PALOMAR_BUILD_INDEX_URL.",
        is_hubs_fault=True,
    )


async def _said(uv: Path, argv: tuple[str, ...]) -> str:
    process = await asyncio.create_subprocess_exec(
        *(str(uv), *argv),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        # Nothing of the hub's environment: what people set for their own uv is not the operator's choice for builds.
        env={},
        cwd="/",
    )
    try:
        output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return output.decode(errors="replace")


# --- where its files are -----------------------------------------------------------------------------------------


async def _hosts(rules: PackageRules, index: str) -> _Hosts:
    now = time.monotonic()
    known = _known_hosts.get(index)
    if known and now - known[0] < _KNOWN_FOR_S:
        return known[1]
    try:
        async with asyncio.timeout(_ANSWER_S):
            found = await _fetch_hosts(rules, index)
    except (httpx2.HTTPError, httpx2.InvalidURL, OSError, TimeoutError):
        raise _away(index) from None
    _known_hosts[index] = (now, found)
    return found


async def _fetch_hosts(rules: PackageRules, index: str) -> _Hosts:
    """Also of those that the index sends its callers to."""
    bundle = rules.find_ca_bundle()
    client = httpx2.AsyncClient(
        verify=ssl.create_default_context(cafile=bundle),
        # As the way out of the sandboxes, which knows no other proxy either.
        trust_env=False,
        follow_redirects=True,
        max_redirects=_MAX_REDIRECTS,
        timeout=_ANSWER_S,
    )
    url, auth = _without_credentials(f"{index.rstrip('/')}/{_PROJECT}/")
    async with client, client.stream("GET", url, headers={"Accept": _ACCEPT}, auth=auth) as answer:
        page = await _page(answer, index)
        places = [str(passed.url) for passed in (*answer.history, answer)]
        links = await asyncio.to_thread(_links, page, answer.headers.get("content-type", ""), index)
    return frozenset(_addresses(places, [*places, *links]))


def _without_credentials(url: str) -> tuple[str, httpx2.BasicAuth | None]:
    """Apart, since the client logs the URLs that it asks for."""
    parts = urlsplit(url)
    user, at, host = parts.netloc.rpartition("@")
    if not at:
        return url, None
    name, _, password = user.partition(":")
    return parts._replace(netloc=host).geturl(), httpx2.BasicAuth(unquote(name), unquote(password))


async def _page(answer: httpx2.Response, index: str) -> bytes:
    """Empty where the index has no such project: a resolution says so better."""
    if answer.status_code in {404, 410}:
        return b""
    if answer.status_code in {401, 403, 407}:
        raise BuildFailure(
            f"The package index on {_host(index)} refuses the hub ({answer.status_code}).",
            "The hub's operator has to look at PALOMAR_BUILD_INDEX_URL.",
            is_hubs_fault=True,
        )
    if answer.status_code != 200:
        raise _away(index)
    page = bytearray()
    async for block in answer.aiter_bytes():
        page += block
        if len(page) > _MAX_PAGE_BYTES:
            raise _odd(index)
    return bytes(page)


def _links(page: bytes, media_type: str, index: str) -> list[str]:
    """Of the files on a project's page, in the forms of PEP 691 and PEP 503."""
    if "json" not in media_type:
        reader = _Anchors()
        reader.feed(page.decode(errors="replace"))
        return [urljoin(reader.base, link) for link in reader.links]
    try:
        return [str(file["url"]) for file in json.loads(page)["files"]] if page else []
    except (ValueError, LookupError, TypeError, RecursionError):
        raise _odd(index) from None


class _Anchors(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.base = ""
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        address = dict(attrs).get("href")
        if tag == "base" and address and not self.base:
            self.base = address
        elif tag == "a" and address:
            self.links.append(address)


def _addresses(places: list[str], links: Iterable[str]) -> set[tuple[str, int]]:
    """What is not on http is nothing that a build could fetch."""
    found: set[tuple[str, int]] = set()
    for link in links:
        try:
            url = urljoin(places[-1], link)
            if url.startswith(("https://", "http://")) and urlsplit(url).hostname:
                found.add(url_address(url))
        except ValueError:
            continue
        if len(found) == _MAX_HOSTS:
            break
    return found


def _host(index: str) -> str:
    return shorten(url_address(index)[0])


def _away(index: str) -> BuildFailure:
    return BuildFailure(
        f"The package index on {_host(index)} cannot be reached.", "Try again in a while.", is_hubs_fault=True
    )


def _odd(index: str) -> BuildFailure:
    return BuildFailure(
        f"The package index on {_host(index)} answers with something else than a list of files.",
        "The hub's operator has to look at PALOMAR_BUILD_INDEX_URL.",
        is_hubs_fault=True,
    )
