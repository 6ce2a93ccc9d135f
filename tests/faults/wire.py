"""Old clients' requests over plain sockets, so that they can be wrong, slow or cut off."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPResponse
from typing import Any
from urllib.parse import quote, urlsplit

BOUNDARY = "a-boundary-that-occurs-nowhere-else"
CONTENT_TYPE = f"multipart/form-data; boundary={BOUNDARY}"
TIMEOUT_S = 60


def part(name: str, value: bytes | str, *, filename: str | None = None) -> bytes:
    data = value.encode() if isinstance(value, str) else value
    disposition = f'form-data; name="{name}"' + ("" if filename is None else f'; filename="{filename}"')
    head = f"--{BOUNDARY}\r\nContent-Disposition: {disposition}\r\n\r\n"
    return head.encode() + data + b"\r\n"


def form(*parts: bytes) -> bytes:
    return b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()


def upload_form(stream: bytes, name: str, *, public: bool = True) -> bytes:
    """The parts of docarray's push, in its order."""
    file = part("file", stream, filename="DocumentArray")
    fields = {"name": name, "type": "documentArray", "public": str(public)}
    return form(file, *(part(key, value) for key, value in fields.items()))


@dataclass(frozen=True, slots=True)
class Answer:
    http: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, Any]:
        value: dict[str, Any] = json.loads(self.body)
        return value

    @property
    def message(self) -> str:
        return str(self.json["message"])


@dataclass(frozen=True, slots=True)
class Wire:
    """One caller of one hub."""

    url: str
    token: str | None

    def headers(self) -> dict[str, str]:
        return {} if self.token is None else {"Authorization": f"token {self.token}"}

    def post(
        self, method: str, body: bytes | Iterable[bytes] = b"", content_type: str | None = "application/json"
    ) -> Answer:
        headers = self.headers() | ({} if content_type is None else {"Content-Type": content_type})
        return self._ask("POST", f"/v2/rpc/{method}", body, headers)

    def call(self, method: str, **fields: object) -> Answer:
        return self.post(method, json.dumps(fields).encode())

    def push(self, stream: bytes, name: str, *, public: bool = True) -> Answer:
        return self.post("artifact.upload", upload_form(stream, name, public=public), CONTENT_TYPE)

    def get(self, path: str, **headers: str) -> Answer:
        return self._ask("GET", path, b"", headers)

    def pull(self, name: str) -> Answer:
        """As docarray does it; the answer of the first step if that is a refusal."""
        told = self._ask("GET", f"/v2/rpc/artifact.getDownloadUrl?name={quote(name)}", b"", self.headers())
        if told.http != 200:
            return told
        parts = urlsplit(told.json["data"]["download"])
        return self.get(f"{parts.path}?{parts.query}")

    def _ask(self, method: str, path: str, body: bytes | Iterable[bytes], headers: dict[str, str]) -> Answer:
        parts = urlsplit(self.url)
        connection = HTTPConnection(str(parts.hostname), parts.port, timeout=TIMEOUT_S)
        try:
            connection.request(method, path, body, headers, encode_chunked=not isinstance(body, bytes))
            return answer_of(connection.getresponse())
        finally:
            connection.close()


def answer_of(response: HTTPResponse) -> Answer:
    return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())


def open_socket(url: str) -> socket.socket:
    parts = urlsplit(url)
    return socket.create_connection((str(parts.hostname), parts.port or 80), timeout=TIMEOUT_S)


def request_head(path: str, *, token: str | None, length: int | None, content_type: str = CONTENT_TYPE) -> bytes:
    """The head of a POST; without ``length`` the body is to come in chunks."""
    body = "Transfer-Encoding: chunked" if length is None else f"Content-Length: {length}"
    lines = [f"POST {path} HTTP/1.1", "Host: 127.0.0.1", f"Content-Type: {content_type}", body]
    lines += [] if token is None else [f"Authorization: token {token}"]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def read_answer(sock: socket.socket) -> Answer:
    """What the hub says, whether or not it has read the whole request."""
    response = HTTPResponse(sock, method="POST")
    response.begin()
    return answer_of(response)
