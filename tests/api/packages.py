"""Executor packages as `jina hub push` zips them, and their pushes without a wire in between."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from palomar.server.access.policy import Subject
from palomar.server.executors.values import ExecutorPush, ExecutorReceipt
from palomar.server.wiring import Hub
from tests.api.hubble import RPC, OldClient
from tests.unit.packages.zips import CONFIG, EXECUTOR, zipped

ENCODER = '''from jina import DocumentArray, Executor, requests


class MyExecutor(Executor):
    """Encodes."""

    def __init__(self, {arguments}, **kwargs):
        super().__init__(**kwargs)

    @requests(on="{endpoint}")
    def encode(self, docs: DocumentArray, **kwargs) -> DocumentArray:
        return docs
'''


def package_of(files: dict[str, bytes] | None = None, **more: bytes) -> bytes:
    """The usual files, with or without changes; a keyword is a file's name with ``_`` for its dot."""
    given = {name.replace("_", ".", 1): data for name, data in more.items()}
    return zipped({"config.yml": CONFIG, "executor.py": EXECUTOR, **(files or {}), **given})


def encoder(arguments: str = "size: int = 1", endpoint: str = "/encode") -> bytes:
    """A package with these arguments and this endpoint."""
    return package_of(executor_py=ENCODER.format(arguments=arguments, endpoint=endpoint).encode())


PACKAGE = package_of()


async def push_package(hub: Hub, subject: Subject, push: ExecutorPush, data: bytes = PACKAGE) -> ExecutorReceipt:
    pusher = hub.executor_pusher
    async with pusher.spool() as spool:
        await spool.write(data)
        return await pusher.store_release(subject, push, await pusher.read(spool, push), spool)


async def jina_push(
    client: OldClient, data: bytes = PACKAGE, *, method: str = "executor.push", status: int = 200, **fields: str
) -> list[dict[str, Any]]:
    """The lines that `jina hub push` reads, or the one JSON object of a refusal. An empty field is not sent."""
    md5 = hashlib.md5(data, usedforsecurity=False).hexdigest()
    sent = {"public": "False", "private": "False", "md5sum": md5, "id": "MyExecutor"} | fields
    parts: dict[str, Any] = {key: (None, value) for key, value in sent.items() if value}
    answer = await client.client.post(RPC + method, files=parts | {"file": ("filename", data)})
    assert answer.status_code == status, answer.text
    if status >= 400:
        return [answer.json()]
    # A last line without an end is read as well, as in the client; the stream's own always has one.
    assert answer.text.endswith("\n") or method.endswith("Async")
    return [
        json.loads(line) for line in answer.text.removesuffix("\n").split("\n")
    ]  # a blank one would be no JSON, here as in the client


async def pushed(client: OldClient, data: bytes = PACKAGE, **fields: str) -> dict[str, Any]:
    """What the client gets from a push that comes out well."""
    last = (await jina_push(client, data, **fields))[-1]
    assert last["type"] == "complete", last
    payload: dict[str, Any] = last["payload"]
    return payload
