"""A registry client in a few lines, and the content that it pushes."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx2

from palomar.contract.images import OCI_CONFIG, OCI_EMPTY, OCI_INDEX, OCI_LAYER_GZIP, OCI_MANIFEST
from palomar.server.wiring import Hub
from tests.api.native import sign_up
from tests.fixtures.hubs import ClientFactory

REPOSITORY = "alice/birds"
ABSENT_DIGEST = "sha256:" + "ab" * 32
_CHALLENGE = re.compile(r'(\w+)="([^"]*)"')


def sha256(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def sha512(data: bytes) -> str:
    return "sha512:" + hashlib.sha512(data).hexdigest()


def descriptor(media_type: str, data: bytes, **more: Any) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": sha256(data), "size": len(data), **more}


def encode(document: Any) -> bytes:
    return json.dumps(document).encode()


@dataclass
class Image:
    """Bytes that make up an image; different ``words`` make different ones."""

    words: str = "an image"
    layers: int = 2
    subject: dict[str, Any] | None = None
    artifact_type: str | None = None
    annotations: dict[str, str] | None = None
    config_type: str = OCI_CONFIG
    blobs: list[bytes] = field(init=False)
    manifest: bytes = field(init=False)

    def __post_init__(self) -> None:
        config = encode({"architecture": "amd64", "os": "linux", "words": self.words})
        if self.config_type == OCI_EMPTY:
            config = b"{}"
        layers = [f"layer {number} of {self.words}".encode() for number in range(self.layers)]
        self.blobs = [config, *layers]
        document = {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": descriptor(self.config_type, config),
            "layers": [descriptor(OCI_LAYER_GZIP, layer) for layer in layers],
            "subject": self.subject,
            "artifactType": self.artifact_type,
            "annotations": self.annotations,
        }
        self.manifest = encode({key: value for key, value in document.items() if value is not None})

    @property
    def digest(self) -> str:
        return sha256(self.manifest)

    @property
    def descriptor(self) -> dict[str, Any]:
        return descriptor(OCI_MANIFEST, self.manifest)


def index_of(*images: Image, **more: Any) -> bytes:
    manifests = [image.descriptor for image in images]
    return encode({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests, **more})


def basic(user: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


def challenge_of(response: httpx2.Response) -> dict[str, str]:
    """The parameters of a Bearer challenge."""
    header = response.headers["www-authenticate"]
    assert header.startswith("Bearer "), header
    return dict(_CHALLENGE.findall(header))


def codes_of(response: httpx2.Response) -> list[str]:
    """The codes of a refusal, whose body must have the form of the specification."""
    assert response.headers["content-type"] == "application/json"
    body = response.json()
    assert body.keys() == {"errors"}
    assert all(one.keys() == {"code", "message", "detail"} for one in body["errors"])
    return [one["code"] for one in body["errors"]]


@dataclass
class Registry:
    """Somebody with a client. A status that is not the wanted one is a failure."""

    client: httpx2.AsyncClient
    name: str = REPOSITORY

    def path(self, rest: str) -> str:
        return f"/v2/{self.name}/{rest}"

    async def call(
        self, method: str, path: str, *, status: int, code: str | None = None, **options: Any
    ) -> httpx2.Response:
        """Of a path that begins with '/', or one of the repository."""
        url = path if path.startswith("/") else self.path(path)
        response = await self.client.request(method, url, **options)
        assert response.status_code == status, (response.status_code, response.text)
        if code is not None and method != "HEAD":
            assert set(codes_of(response)) == {code}
        return response

    async def get(self, path: str, **headers: str) -> httpx2.Response:
        return await self.call("GET", path, status=200, headers=headers)

    async def start(self, query: str = "", status: int = 202) -> str:
        """The location of a new upload."""
        response = await self.call("POST", f"blobs/uploads/{query}", status=status)
        location: str = response.headers["location"]
        return location

    async def patch(self, location: str, data: bytes, *, at: int | None = None, status: int = 202) -> httpx2.Response:
        headers = {} if at is None else {"Content-Range": f"{at}-{at + len(data) - 1}"}
        return await self.call("PATCH", location, status=status, content=data, headers=headers)

    async def close(
        self, location: str, digest: str, data: bytes = b"", *, status: int = 201, **headers: str
    ) -> httpx2.Response:
        return await self.call("PUT", f"{location}?digest={digest}", status=status, content=data, headers=headers)

    async def push_blob(self, data: bytes, digest: str | None = None) -> str:
        digest = digest or sha256(data)
        await self.close(await self.start(), digest, data)
        return digest

    async def put(
        self, reference: str, manifest: bytes, *, media_type: str = OCI_MANIFEST, status: int = 201, **options: Any
    ) -> httpx2.Response:
        headers = {"Content-Type": media_type}
        path = f"manifests/{reference}"
        return await self.call("PUT", path, status=status, content=manifest, headers=headers, **options)

    async def push(self, image: Image, *references: str) -> Image:
        for blob in image.blobs:
            await self.push_blob(blob)
        for reference in references or (image.digest,):
            await self.put(reference, image.manifest)
        return image

    async def referrers(self, digest: str, query: str = "") -> list[dict[str, Any]]:
        listed: list[dict[str, Any]] = (await self.get(f"referrers/{digest}{query}")).json()["manifests"]
        return listed

    async def tags(self, query: str = "") -> list[str]:
        listed: list[str] = (await self.get(f"tags/list{query}")).json()["tags"]
        return listed

    def at(self, name: str) -> Registry:
        """The same person at another repository."""
        return Registry(self.client, name)


@dataclass
class People:
    hub: Hub
    client_factory: ClientFactory
    tokens: dict[str, str] = field(default_factory=dict)

    async def token(self, name: str) -> str:
        if name not in self.tokens:
            self.tokens[name] = await sign_up(self.hub, name)
        return self.tokens[name]

    async def registry(self, name: str | None, repository: str = REPOSITORY) -> Registry:
        """Of a person who sends their token as Bearer, or of nobody."""
        return self.with_headers({} if name is None else bearer(await self.token(name)), repository)

    def with_headers(self, headers: Mapping[str, str], repository: str = REPOSITORY) -> Registry:
        return Registry(self.client_factory(self.hub, headers=dict(headers)), repository)


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def one_piece(data: bytes) -> AsyncIterator[bytes]:
    """A body, as use cases take it."""
    if data:
        yield data
