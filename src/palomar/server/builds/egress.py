"""The only way out of a sandbox: a proxy on a unix socket that knows the package index and nothing else.

It takes ``CONNECT host:port`` and ``GET``/``HEAD`` of an absolute http URL, as clients send them that were told
``HTTPS_PROXY`` and ``HTTP_PROXY``. A host is allowed by its name, looked up here and once, and refused all the same
when it turns out to be an address of this machine or its neighbours, unless the operator named it.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from palomar.server.builds.package_rules import address

_MAX_HEAD: Final = 16 * 1024
_BLOCK: Final = 256 * 1024
_MAX_CONNECTIONS: Final = 128
_CONNECT_S: Final = 30
_IDLE_S: Final = 120
_MAX_REFUSED: Final = 20
#: Where services live that trust whoever reaches them. Ranges for examples are not among them: nobody is there.
_NEAR: Final = tuple(
    ipaddress.ip_network(text)
    for text in (
        *("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12"),
        *("192.168.0.0/16", "224.0.0.0/4", "240.0.0.0/4"),
        *("::/128", "::1/128", "64:ff9b::/96", "fc00::/7", "fe80::/10", "ff00::/8"),
    )
)
# Hop by hop (RFC 9110 section 7.6.1), and what is set anew.
_DROPPED: Final = frozenset(
    {
        "connection",
        "host",
        "keep-alive",
        "proxy-authorization",
        "proxy-connection",
        "te",  # codespell:ignore te
        "trailer",
        "upgrade",
    }
)


class EgressRefused(Exception):
    """The status line's code and what to say."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class _Head(NamedTuple):
    method: str
    target: str
    headers: list[tuple[str, str]]


@dataclass(slots=True)
class Egress:
    """``hosts`` may be reached; those in ``near_hosts`` even when they are close by. ``refused`` tells what was not."""

    hosts: frozenset[tuple[str, int]]
    near_hosts: frozenset[tuple[str, int]] = frozenset()
    max_bytes: int = 50 * 1024**3
    refused: list[str] = field(default_factory=list)
    received_bytes: int = 0
    _open: set[asyncio.Task[None]] = field(default_factory=set)

    @asynccontextmanager
    async def serve(self, folder: Path) -> AsyncIterator[Path]:
        """The socket's path; connections that are still open are cut at the end."""
        path = folder / "egress.sock"
        listener = _listen(path)
        server = await asyncio.start_unix_server(self._accept, sock=listener, limit=_MAX_HEAD)
        try:
            yield path
        finally:
            server.close()
            for task in self._open:
                task.cancel()
            await asyncio.gather(*self._open, return_exceptions=True)
            path.unlink(missing_ok=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None or len(self._open) >= _MAX_CONNECTIONS:
            writer.close()
            return
        self._open.add(task)
        try:
            await self._handle(reader, writer)
        except EgressRefused as refusal:
            await _answer(writer, refusal)
        except (OSError, EOFError, ValueError, TimeoutError, asyncio.LimitOverrunError, asyncio.CancelledError):
            # The other side went away, or the build is over: nobody is left to be told.
            pass
        finally:
            self._open.discard(task)
            writer.close()

    async def _handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await _read_head(reader)
        if head.method == "CONNECT":
            target = address(head.target)
            first = b""
        else:
            target, first = _forwarded(head)
        far_reader, far_writer = await self._connect(target)
        try:
            if head.method == "CONNECT":
                writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            else:
                far_writer.write(first)
            await asyncio.gather(self._copy(reader, far_writer), self._copy(far_reader, writer, is_answer=True))
        finally:
            far_writer.close()

    async def _connect(self, target: tuple[str, int]) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        host, port = target
        if target not in self.hosts:
            self._refuse(f"{host}:{port}")
        reason = ""
        for found in await _look_up(host, port):
            if target not in self.near_hosts and _is_near(found):
                self._refuse(f"{host}:{port}")
            try:
                # The very address that was checked: a second look-up might give another.
                return await asyncio.wait_for(asyncio.open_connection(found, port), _CONNECT_S)
            except (OSError, TimeoutError) as error:
                reason = str(error)
        raise EgressRefused(502, f"{host} cannot be reached {reason}".rstrip())

    def _refuse(self, what: str) -> None:
        if len(self.refused) < _MAX_REFUSED and what not in self.refused:
            self.refused.append(what[:200])
        raise EgressRefused(403, f"builds may not reach {what[:200]}")

    async def _copy(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, is_answer: bool = False
    ) -> None:
        with contextlib.suppress(OSError, TimeoutError):
            while block := await asyncio.wait_for(reader.read(_BLOCK), _IDLE_S):
                if is_answer:
                    self.received_bytes += len(block)
                if self.received_bytes > self.max_bytes:
                    break
                writer.write(block)
                await asyncio.wait_for(writer.drain(), _IDLE_S)
        with contextlib.suppress(OSError, NotImplementedError, RuntimeError):
            writer.write_eof()


def _listen(path: Path) -> socket.socket:
    """A socket's path may have 108 bytes: it is named by its folder's descriptor, however deep that lies."""
    folder = os.open(path.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(f"/proc/self/fd/{folder}/{path.name}")
        # Whoever can enter the folder: the sandbox's user, who is not the hub's.
        path.chmod(0o666)
        return listener
    finally:
        os.close(folder)


async def _read_head(reader: asyncio.StreamReader) -> _Head:
    raw = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), _CONNECT_S)
    first, *lines = raw.decode("latin-1").split("\r\n")[:-2]
    words = first.split(" ")
    if len(words) != 3 or words[0] not in {"CONNECT", "GET", "HEAD"}:
        raise EgressRefused(405, "only CONNECT, GET and HEAD are forwarded")
    headers = [(name.strip(), value.strip()) for name, _, value in (line.partition(":") for line in lines)]
    return _Head(words[0], words[1], headers)


def _forwarded(head: _Head) -> tuple[tuple[str, int], bytes]:
    """Where an absolute URL leads, and the request as the server there expects it (RFC 9112 section 3.2.2)."""
    parts = urlsplit(head.target)
    if parts.scheme != "http" or not parts.hostname:
        raise EgressRefused(400, "only absolute http URLs are forwarded")
    target = (parts.hostname.rstrip("."), parts.port or 80)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    kept = [(name, value) for name, value in head.headers if name.lower() not in _DROPPED]
    shown = target[0] if target[1] == 80 else f"{target[0]}:{target[1]}"
    lines = [f"{head.method} {path} HTTP/1.1", f"Host: {shown}", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in kept]
    return target, ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


async def _look_up(host: str, port: int) -> list[str]:
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise EgressRefused(502, f"{host[:200]} is not known") from error
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def _is_near(text: str) -> bool:
    found = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(found, ipaddress.IPv6Address) and found.ipv4_mapped:
        found = found.ipv4_mapped
    return any(found in network for network in _NEAR)


async def _answer(writer: asyncio.StreamWriter, refusal: EgressRefused) -> None:
    body = f"{refusal}\n".encode()
    head = f"HTTP/1.1 {refusal.status} Refused\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    with contextlib.suppress(OSError):
        writer.write(head.encode() + body)
        await writer.drain()
