"""A native client in a few lines, and the people that the tests of the native API are about."""

from __future__ import annotations

import gzip
from base64 import b64encode
from dataclasses import dataclass, field
from typing import Any

import httpx2

from palomar.contract.actions import ALL_SCOPES, Scope
from palomar.documents.chunks import walk
from palomar.documents.facts import SealedChunk
from palomar.documents.kinds import DocumentKind
from palomar.documents.manifest import Manifest, ManifestChunk
from palomar.documents.packing import pack
from palomar.server.accounts.personal_tokens import create_token
from palomar.server.wiring import Hub
from tests.factories.accounts import make_person
from tests.fixtures.hubs import ClientFactory
from tests.unit.documents.streams import document

API = "/api/v1"


async def sign_up(hub: Hub, name: str) -> str:
    """A token of a new person."""
    async with hub.database.write() as session:
        person = await make_person(session, name)
        return await create_token(
            session, account_id=person.account.id, name="tests", days=None, scopes=frozenset(ALL_SCOPES)
        )


async def token_with(hub: Hub, account_id: str, *scopes: Scope) -> str:
    async with hub.database.write() as session:
        return await create_token(session, account_id=account_id, name="-".join(scopes), days=1, scopes=scopes)


@dataclass
class Actor:
    """Somebody with a client. Every answer but a wanted one is a failure."""

    client: httpx2.AsyncClient

    async def call(self, method: str, path: str, *, status: int = 200, **options: Any) -> httpx2.Response:
        response = await self.client.request(method, API + path, **options)
        assert response.status_code == status, response.text
        return response

    async def get(self, path: str, **options: Any) -> Any:
        return (await self.call("GET", path, **options)).json()

    async def open(self, name: str, kind: DocumentKind = DocumentKind.V1, **order: Any) -> str:
        body = {"name": name, "kind": kind, **order}
        return str((await self.call("POST", "/pushes", json=body, status=201)).json()["push_id"])

    async def missing(self, push_id: str, digests: list[str]) -> list[str]:
        answer = await self.call("POST", f"/pushes/{push_id}/missing", json={"digests": digests})
        return list(answer.json()["missing"])

    async def send(self, push_id: str, chunk: SealedChunk, *, digest: str | None = None, status: int = 204) -> Any:
        path = f"/pushes/{push_id}/chunks/{digest or chunk.facts.digest}"
        headers = {"Palomar-Encoding": chunk.facts.encoding}
        return await self.call("PUT", path, content=chunk.stored, headers=headers, status=status)

    async def commit(self, push_id: str, manifest: bytes, *, status: int = 201) -> Any:
        body = {"manifest": b64encode(manifest).decode()}
        return (await self.call("POST", f"/pushes/{push_id}/commit", json=body, status=status)).json()

    async def push(self, name: str, array: LocalArray, **order: Any) -> Any:
        """All of it as the new client does; the receipt."""
        push_id = await self.open(name, array.kind, **order)
        missing = await self.missing(push_id, [chunk.facts.digest for chunk in array.chunks])
        for chunk in array.chunks:
            if chunk.facts.digest in missing:
                await self.send(push_id, chunk)
        return await self.commit(push_id, array.manifest)


@dataclass
class LocalArray:
    """Documents and what the new client makes of them."""

    documents: list[bytes]
    kind: DocumentKind = DocumentKind.V1
    chunks: list[SealedChunk] = field(init=False)

    def __post_init__(self) -> None:
        self.chunks = list(pack(self.documents, self.kind))

    @property
    def manifest(self) -> bytes:
        listed = [ManifestChunk(one.facts.digest, one.facts.raw_bytes, one.facts.documents) for one in self.chunks]
        return Manifest.of(self.kind, listed).encode()

    @property
    def index(self) -> bytes:
        return b"".join(chunk.facts.index for chunk in self.chunks)


def array_of(*numbers: int, padding: int = 0, kind: DocumentKind = DocumentKind.V1) -> LocalArray:
    return LocalArray([document(number, padding=padding, kind=kind) for number in numbers], kind)


@dataclass
class World:
    hub: Hub
    alice: Actor
    bob: Actor
    nobody: Actor


async def make_world(hub: Hub, client_factory: ClientFactory) -> World:
    def actor(token: str) -> Actor:
        return Actor(client_factory(hub, headers={"Authorization": f"Bearer {token}"}))

    alice, bob = await sign_up(hub, "alice"), await sign_up(hub, "bob")
    return World(hub, actor(alice), actor(bob), Actor(client_factory(hub)))


def read_stream(data: bytes) -> list[bytes]:
    """What docarray reads out of a download."""
    documents = [gzip.decompress(member) for member in walk(data[9:])]
    assert int.from_bytes(data[1:9], "big") == len(documents)
    return documents


def same_refusal(one: httpx2.Response, other: httpx2.Response, *, names: tuple[str, str]) -> bool:
    """Equal but for the names that were sent and the request's id."""

    def told(response: httpx2.Response, name: str) -> tuple[int, str]:
        body = {key: value for key, value in response.json().items() if key != "request_id"}
        return response.status_code, str(body).replace(name, "NAME")

    return told(one, names[0]) == told(other, names[1])
