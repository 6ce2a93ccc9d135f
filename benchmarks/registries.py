"""Two registries and one client for both, which does nothing that it could leave: no digests, no copies.

The peer is CNCF Distribution as Debian packages it, with its files in a folder and its cache of descriptors in memory.
"""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from benchmarks.hub import Caller, Connection
from benchmarks.peers import tool
from benchmarks.rows import MIB, NotMeasurable
from tools.live_hub import free_port

MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar"

_START_S = 20.0
_TIMEOUT_S = 3600.0
_CONFIG = """
version: 0.1
log: {{ level: error, accesslog: {{ disabled: true }} }}
storage:
  cache: {{ blobdescriptor: inmemory }}
  filesystem: {{ rootdirectory: {root} }}
http: {{ addr: "127.0.0.1:{port}" }}
"""


@dataclass(frozen=True, slots=True)
class Blob:
    """Bytes in a file that whoever pushes them has hashed already, as every client has."""

    path: Path
    digest: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Repository:
    """One repository of one registry, and what opens it."""

    url: str
    name: str
    headers: Mapping[str, str] = field(default_factory=dict)

    def at(self, path: str) -> str:
        return f"/v2/{self.name}/{path}"


class RegistryConnection:
    """One kept-alive connection."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._connection = http.client.HTTPConnection(urlsplit(repository.url).netloc, timeout=_TIMEOUT_S)

    def push(self, blob: Blob, *, is_streamed: bool = True) -> None:
        """POST, PATCH, PUT as docker and podman do, or POST and PUT with the whole as the specification allows."""
        place = self._ask("POST", self._repository.at("blobs/uploads/"), expected=http.client.ACCEPTED)
        if is_streamed:
            place = self._ask("PATCH", place, expected=http.client.ACCEPTED, blob=blob)
        joined = f"{place}{'&' if '?' in place else '?'}digest={blob.digest}"
        self._ask("PUT", joined, expected=http.client.CREATED, blob=None if is_streamed else blob)

    def pull(self, digest: str, buffer: bytearray) -> int:
        """How many bytes came."""
        self._send("GET", self._repository.at(f"blobs/{digest}"), None)
        with self._answer(http.client.OK) as response:
            received = 0
            while count := response.readinto(buffer):
                received += count
        return received

    def put_manifest(self, tag: str, content: bytes) -> None:
        headers = {**self._repository.headers, "Content-Type": MANIFEST_TYPE}
        self._connection.request("PUT", self._repository.at(f"manifests/{tag}"), content, headers)
        with self._answer(http.client.CREATED) as response:
            response.read()

    def close(self) -> None:
        self._connection.close()

    def _ask(self, method: str, path: str, *, expected: int, blob: Blob | None = None) -> str:
        """Where the answer points to, as a path with its query."""
        self._send(method, path, blob)
        with self._answer(expected) as response:
            response.read()
            location = urlsplit(response.headers.get("Location", ""))
        return f"{location.path}?{location.query}" if location.query else location.path

    def _send(self, method: str, path: str, blob: Blob | None) -> None:
        self._connection.putrequest(method, path)
        for name, value in self._repository.headers.items():
            self._connection.putheader(name, value)
        if method != "GET":
            self._connection.putheader("Content-Length", str(blob.size_bytes if blob else 0))
            self._connection.putheader("Content-Type", "application/octet-stream")
        self._connection.endheaders()
        if blob is not None:
            with blob.path.open("rb") as file:
                self._connection.sock.sendfile(file)

    def _answer(self, expected: int) -> http.client.HTTPResponse:
        response = self._connection.getresponse()
        if response.status != expected:
            raise RuntimeError(f"{response.status} instead of {expected}: {response.read()[:300]!r}")
        return response


def push_all(repository: Repository, blobs: Sequence[Blob], *, parallel: int) -> float:
    """MiB/s of many blobs, each over one of so many connections."""

    def push(part: Sequence[Blob]) -> None:
        with closing(RegistryConnection(repository)) as connection:
            for blob in part:
                connection.push(blob)

    return _rate(push, blobs, parallel)


def pull_all(repository: Repository, blobs: Sequence[Blob], *, parallel: int) -> float:
    def pull(part: Sequence[Blob]) -> None:
        buffer = bytearray(MIB)
        with closing(RegistryConnection(repository)) as connection:
            for blob in part:
                received = connection.pull(blob.digest, buffer)
                if received != blob.size_bytes:
                    raise RuntimeError(f"{received} bytes came instead of {blob.size_bytes}")

    return _rate(pull, blobs, parallel)


def manifests_per_s(repository: Repository, tag: str, *, parallel: int, duration_s: float) -> float:
    """GETs by tag in an endless row on each of so many connections, with no parsing but of the first answer."""
    with closing(Connection(repository.url)) as connection:
        content = connection.ask("GET", repository.at(f"manifests/{tag}"), headers=_asked(repository))
    lines = [f"GET {repository.at(f'manifests/{tag}')} HTTP/1.1", f"Host: {urlsplit(repository.url).netloc}"]
    lines += [f"{name}: {value}" for name, value in _asked(repository).items()]
    request = ("\r\n".join(lines) + "\r\n\r\n").encode()
    begin = time.perf_counter()
    with ThreadPoolExecutor(parallel) as pool:
        counts = [pool.submit(_repeat, repository.url, request, content, begin + duration_s) for _ in range(parallel)]
        total = sum(count.result() for count in counts)
    return total / (time.perf_counter() - begin)


def _asked(repository: Repository) -> dict[str, str]:
    return {**repository.headers, "Accept": MANIFEST_TYPE}


def _repeat(url: str, request: bytes, content: bytes, until: float) -> int:
    address = urlsplit(url)
    count = 0
    with socket.create_connection((address.hostname, address.port), timeout=60) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while time.perf_counter() < until:
            connection.sendall(request)
            _read_answer(connection, content)
            count += 1
    return count


def _read_answer(connection: socket.socket, content: bytes) -> None:
    """An answer ends with the content that the first one had; anything else is a failure."""
    answer = b""
    while not answer.endswith(content):
        more = connection.recv(65536)
        if not more:
            raise RuntimeError(f"another answer than the first: {answer[:300]!r}")
        answer += more
    if not answer.startswith(b"HTTP/1.1 200"):
        raise RuntimeError(f"another answer than the first: {answer[:300]!r}")


def _rate(work: Callable[[Sequence[Blob]], None], blobs: Sequence[Blob], parallel: int) -> float:
    begin = time.perf_counter()
    with ThreadPoolExecutor(parallel) as pool:
        list(pool.map(work, [blobs[at::parallel] for at in range(parallel)]))
    seconds = time.perf_counter() - begin
    return sum(blob.size_bytes for blob in blobs) / MIB / seconds


def repository_of(caller: Caller, path: str) -> Repository:
    """The caller's own, opened by the token that a client fetches at the beginning of a push or pull."""
    name = f"{caller.namespace}/{path}"
    question = f"/v2/token?service={urlsplit(caller.live.url).netloc}&scope=repository:{name}:pull,push"
    basic = http.client.HTTPConnection(urlsplit(caller.live.url).netloc, timeout=60)
    with closing(basic):
        basic.request("GET", question, headers={"Authorization": f"Bearer {caller.token}"})
        token = json.loads(basic.getresponse().read())["token"]
    return Repository(caller.live.url, name, {"Authorization": f"Bearer {token}"})


@contextmanager
def docker_registry(folder: Path) -> Iterator[str]:
    """CNCF Distribution on an empty folder; yields its URL."""
    program, port = tool("docker-registry"), free_port()
    folder.mkdir(parents=True)
    config = folder / "config.yml"
    config.write_text(_CONFIG.format(root=folder / "data", port=port))
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([program, "serve", str(config)], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        _wait(process, port, folder / "log")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def _wait(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    give_up_at = time.monotonic() + _START_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            if process.poll() is not None or time.monotonic() > give_up_at:
                raise NotMeasurable(f"docker-registry does not start: {log.read_text()[-500:]}") from None
            time.sleep(0.05)
        else:
            return
