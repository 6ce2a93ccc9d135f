"""A row of the access matrix."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from palomar.contract.actions import Scope
from tests.access.world import Thing

Body = Callable[[Thing], dict[str, Any]]


def nothing(_thing: Thing) -> dict[str, Any]:
    return {}


@dataclass(frozen=True)
class Row:
    """``key`` is a route's method and path, or the method of an RPC."""

    key: str
    expected: str
    body: Body = nothing
    needs: Scope = Scope.READ
    is_open: bool = False
    is_deleted: bool = False
    is_console: bool = False
    query: Callable[[Thing], str] = lambda _thing: ""

    @property
    def is_rpc(self) -> bool:
        return " " not in self.key

    @property
    def is_executor(self) -> bool:
        """Whether it needs an Executor to be there."""
        return self.key.startswith("executor.") or "/executors/" in self.key

    @property
    def is_image(self) -> bool:
        """Whether it needs a repository of images to be there."""
        return self.key.partition(" ")[2].startswith("/v2/{name:path}")

    @property
    def needed(self) -> dict[str, bool]:
        """What `World.make_thing` must make."""
        return {"is_deleted": self.is_deleted, "is_executor": self.is_executor, "is_image": self.is_image}

    @property
    def method(self) -> str:
        return "POST" if self.is_rpc else self.key.partition(" ")[0]

    def path(self, thing: Thing) -> str:
        template = f"/v2/rpc/{self.key}" if self.is_rpc else self.key.partition(" ")[2]
        values = {
            "namespace": thing.namespace,
            "name": thing.resource,
            "number": 1,
            "digest": thing.digest,
            "push_id": thing.push_id,
            "token_id": "f" * 32,
            "version_id": thing.version_id,
            "version": "1",
            "release_id": "f" * 32,
            "tag": "latest",
            "build_id": thing.build_id,
        }
        if self.is_image:
            template = template.replace("{name:path}", "{name}")
            values |= {
                "name": thing.name,
                "reference": thing.image.digest,
                "digest": thing.image.blob,
                "upload_id": thing.image.upload_id,
            }
        return template.format(**values) + self.query(thing)

    @property
    def is_about_a_thing(self) -> bool:
        return "/" in self.expected

    def statuses(self, *, is_public: bool) -> list[int]:
        """Of the four callers."""
        public, _, private = self.expected.partition("/")
        return [int(status) for status in (public if is_public or not private else private).split()]
