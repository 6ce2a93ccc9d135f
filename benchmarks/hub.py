"""A temporary hub as a real process, and a client that speaks its wire with nothing in between."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from benchmarks.rows import NotMeasurable
from tools.live_hub import LiveHub

_TIMEOUT_S = 3600.0
_BOUNDARY = "palomar-benchmark"
_NOT_FOUND = 404


class Refused(RuntimeError):
    """The hub answered with an error; its text is the message."""


@dataclass(frozen=True, slots=True)
class Caller:
    """One account of one hub."""

    live: LiveHub
    namespace: str
    token: str

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"token {self.token}"}

    @property
    def blobs(self) -> Path:
        return self.live.data / "blobs"

    def name(self, array: str) -> str:
        return f"{self.namespace}/{array}"

    def push(self, array: str, blocks: Iterable[bytes]) -> dict[str, Any]:
        """Pushes a stream as docarray does, chunked and with the file first; returns the receipt."""
        headers = {
            **self.headers,
            "Content-Type": f"multipart/form-data; boundary={_BOUNDARY}",
            "Transfer-Encoding": "chunked",
        }
        with closing(Connection(self.live.url)) as connection:
            body = _multipart(blocks, self.name(array))
            answer = connection.ask("POST", "/v2/rpc/artifact.upload", body, headers)
        receipt: dict[str, Any] = json.loads(answer)["data"]["receipt"]
        return receipt

    def download_url(self, array: str) -> str:
        with closing(Connection(self.live.url)) as connection:
            answer = connection.ask("GET", self.download_path(array), headers=self.headers)
        url: str = json.loads(answer)["data"]["download"]
        return url

    def download_path(self, array: str) -> str:
        return f"/v2/rpc/artifact.getDownloadUrl?name={self.name(array)}"

    def version_path(self, array: str, version: int = 1) -> str:
        return f"/api/v1/arrays/{self.name(array)}/versions/{version}"

    def stored_bytes(self) -> int:
        """What the blob folder takes."""
        return sum(path.stat().st_size for path in self.blobs.rglob("*") if path.is_file())


class Connection:
    """One kept-alive connection."""

    def __init__(self, url: str) -> None:
        self._connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=_TIMEOUT_S)

    def ask(
        self, method: str, path: str, body: bytes | Iterable[bytes] | None = None, headers: Mapping[str, str] = {}
    ) -> bytes:
        """The body of a good answer. Raises Refused, and NotMeasurable for a route that this hub does not have."""
        self._connection.request(method, path, body, dict(headers), encode_chunked="Transfer-Encoding" in headers)
        response = self._connection.getresponse()
        answer = response.read()
        if response.status == _NOT_FOUND and b"unknown-method" in answer:
            raise NotMeasurable(f"this hub has no {method} {path}")
        if response.status >= http.client.BAD_REQUEST:
            raise Refused(f"{method} {path}: {response.status} {answer[:300]!r}")
        return answer

    def close(self) -> None:
        self._connection.close()


@contextmanager
def temporary_hub(folder: Path) -> Iterator[Caller]:
    """A hub of its own with one account, alice; everything is gone afterwards with the folder."""
    live = LiveHub(folder)
    try:
        live.start()
        yield Caller(live, "alice", live.add_user("alice"))
    finally:
        live.kill()


def _multipart(blocks: Iterable[bytes], name: str) -> Iterator[bytes]:
    disposition = 'Content-Disposition: form-data; name="file"; filename="DocumentArray"'
    yield f"--{_BOUNDARY}\r\n{disposition}\r\nContent-Type: application/octet-stream\r\n\r\n".encode()
    yield from filter(None, blocks)
    for key, value in (("name", name), ("type", "documentArray"), ("public", "True")):
        yield f'\r\n--{_BOUNDARY}\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}'.encode()
    yield f"\r\n--{_BOUNDARY}--\r\n".encode()
