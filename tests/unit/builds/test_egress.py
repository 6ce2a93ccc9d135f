"""The one way out of a sandbox."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from palomar.server.builds.egress import Egress, _is_near


async def ask(socket: Path, request: bytes) -> bytes:
    reader, writer = await asyncio.open_unix_connection(str(socket))
    try:
        writer.write(request)
        await writer.drain()
        return await reader.read()
    finally:
        writer.close()


@asynccontextmanager
async def index(heard: list[bytes]) -> AsyncIterator[int]:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def test_an_allowed_index_is_reached_both_ways(tmp_path: Path) -> None:
    heard: list[bytes] = []
    async with index(heard) as port:
        here = frozenset({("127.0.0.1", port)})
        async with Egress(here, here).serve(tmp_path) as socket:
            plain = await ask(
                socket,
                f"GET http://127.0.0.1:{port}/simple/?q=1 HTTP/1.1\r\nHost: other\r\nProxy-Authorization: x\r\n"
                "Accept: text/html\r\n\r\n".encode(),
            )
            tunnel = await ask(socket, f"CONNECT 127.0.0.1:{port} HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\n\r\n".encode())
    assert plain.endswith(b"hello")
    assert heard[0].split(b"\r\n")[:4] == [
        b"GET /simple/?q=1 HTTP/1.1",
        f"Host: 127.0.0.1:{port}".encode(),
        b"Connection: close",
        b"Accept: text/html",
    ]
    assert tunnel.startswith(b"HTTP/1.1 200")
    assert tunnel.endswith(b"hello")


@pytest.mark.parametrize(
    "request_line",
    [
        "CONNECT evil.example:443 HTTP/1.1",
        "CONNECT index.example.org:22 HTTP/1.1",
        "CONNECT index.example.org.evil.example:443 HTTP/1.1",
        "CONNECT 127.0.0.1:5432 HTTP/1.1",
        "CONNECT [::1]:443 HTTP/1.1",
        "GET http://index.example.org/simple/ HTTP/1.1",
        "GET http://169.254.169.254/latest/ HTTP/1.1",
        "GET http://index.example.org@evil.example/ HTTP/1.1",
        "GET https://index.example.org/ HTTP/1.1",
        "GET /etc/passwd HTTP/1.1",
        "POST http://index.example.org/ HTTP/1.1",
        "nonsense",
    ],
)
async def test_all_else_is_refused(tmp_path: Path, request_line: str) -> None:
    async with Egress(frozenset({("index.example.org", 443)})).serve(tmp_path) as socket:
        answer = await ask(socket, f"{request_line}\r\nHost: index.example.org\r\n\r\n".encode())
    assert answer.split()[1] in {b"400", b"403", b"405"}


async def test_an_allowed_name_does_not_open_this_machine(tmp_path: Path) -> None:
    heard: list[bytes] = []
    async with index(heard) as port:
        egress = Egress(frozenset({("localhost", port)}))
        async with egress.serve(tmp_path) as socket:
            answer = await ask(socket, f"CONNECT localhost:{port} HTTP/1.1\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 403")
    assert egress.refused == [f"localhost:{port}"]
    assert heard == []


async def test_a_client_that_sends_no_end_is_not_kept(tmp_path: Path) -> None:
    async with Egress(frozenset()).serve(tmp_path) as socket:
        assert await ask(socket, b"GET " + b"x" * 100_000) == b""


async def test_a_deep_folder_is_no_hindrance(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 100) / ("e" * 100)
    deep.mkdir(parents=True)
    async with Egress(frozenset()).serve(deep) as socket:
        assert socket.is_socket()
    assert not socket.exists()


@pytest.mark.parametrize(
    "address",
    "127.0.0.1 10.1.2.3 172.31.0.1 192.168.1.1 169.254.169.254 100.64.0.1 0.0.0.0 ::1 fe80::1%eth0 fd00::1 "
    "::ffff:127.0.0.1 224.0.0.1 64:ff9b::7f00:1".split(),
)
def test_addresses_nearby_are_known(address: str) -> None:
    assert _is_near(address)


@pytest.mark.parametrize("address", ["151.101.0.223", "2a04:4e42::223"])
def test_addresses_far_away_are_known(address: str) -> None:
    assert ipaddress.ip_address(address).is_global
    assert not _is_near(address)
