"""An Executor's package on its way, as `jina hub push` sends it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import closing
from typing import Any

from benchmarks.hub import Caller, Connection, Refused

_BOUNDARY = "palomar-benchmark"
FORM_TYPE = f"multipart/form-data; boundary={_BOUNDARY}"


def push_package(caller: Caller, name: str, package: bytes) -> list[dict[str, Any]]:
    """Everything that the hub says until the push is complete. Raises Refused."""
    headers: Mapping[str, str] = {**caller.headers, "Content-Type": FORM_TYPE}
    with closing(Connection(caller.live.url)) as connection:
        answer = connection.ask("POST", "/v2/rpc/executor.push", form(name, package), headers)
    events: list[dict[str, Any]] = [json.loads(line) for line in answer.splitlines()]
    if events[-1]["type"] != "complete":
        raise Refused(events[-1]["message"])
    return events


def form(name: str, package: bytes) -> bytes:
    md5 = hashlib.md5(package, usedforsecurity=False).hexdigest()
    fields = {"public": "True", "private": "False", "md5sum": md5, "id": name}
    parts = [
        f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n'
        for key, value in fields.items()
    ]
    head = f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="filename"\r\n\r\n'
    return "".join(parts).encode() + head.encode() + package + f"\r\n--{_BOUNDARY}--\r\n".encode()
