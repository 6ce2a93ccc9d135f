"""An old client in a few lines: what it sends, and the answers that it would get."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import httpx2

from palomar.server.wiring import Hub
from tests.api.native import sign_up
from tests.fixtures.hubs import ClientFactory
from tests.unit.documents.streams import document, stream

RPC = "/v2/rpc/"
SUMMARY = {"summary": [{"name": "Type", "value": "DocumentArrayInMemory"}, {"name": "Length", "value": 3}]}
STREAM = stream([document(number) for number in range(3)])


@dataclass
class OldClient:
    client: httpx2.AsyncClient

    async def post(self, method: str, *, status: int = 200, **options: Any) -> dict[str, Any]:
        """The whole envelope; a wrong HTTP status is a failure."""
        answer = await self.client.post(RPC + method, **options)
        assert answer.status_code == status, answer.text
        envelope: dict[str, Any] = answer.json()
        assert envelope["code"] == status
        return envelope

    async def call(self, method: str, *, status: int = 200, **fields: Any) -> Any:
        """A JSON call; its ``data``."""
        return (await self.post(method, status=status, json=fields))["data"]

    async def push(self, name: str, data: bytes = STREAM, *, status: int = 200, **fields: str) -> dict[str, Any]:
        """As docarray: the file first, then what it is."""
        sent = {"name": name, "type": "documentArray", "public": "True", "metaData": json.dumps(SUMMARY)} | fields
        sent = {key: value for key, value in sent.items() if value}
        envelope = await self.post(
            "artifact.upload", status=status, files={"file": ("DocumentArray", data)} | _as_parts(sent)
        )
        return envelope if status != 200 else envelope["data"]

    async def upload(self, data: bytes = b"bytes", *, status: int = 200, **fields: str) -> dict[str, Any]:
        """As the SDK: `public` first, a file called 'file', no type."""
        parts = _as_parts({"public": "False"} | fields)
        public = {"public": parts.pop("public")}
        envelope = await self.post("artifact.upload", status=status, files=public | {"file": ("file", data)} | parts)
        return envelope if status != 200 else envelope["data"]

    async def download_url(self, name: str) -> str:
        answer = await self.client.get(RPC + "artifact.getDownloadUrl", params={"name": name})
        assert answer.status_code == 200, answer.text
        return str(answer.json()["data"]["download"])

    async def pull(self, name: str, **headers: str) -> httpx2.Response:
        return await self.client.get(await self.download_url(name), headers=headers)

    async def names(self, **asked: Any) -> list[str]:
        return [row["name"] for row in await self.call("artifact.list", **asked)]


def _as_parts(fields: dict[str, str]) -> dict[str, Any]:
    return {key: (None, value) for key, value in fields.items()}


async def old_client(hub: Hub, client_factory: ClientFactory, name: str | None, **headers: str) -> OldClient:
    """Of a new person, or of nobody."""
    if name is not None:
        headers["Authorization"] = f"token {await sign_up(hub, name)}"
    return OldClient(client_factory(hub, headers=headers))
