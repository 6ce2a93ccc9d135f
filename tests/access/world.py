"""A hub with an owner, a stranger, every kind of credential, and a fresh thing for every request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from enum import StrEnum
from typing import Any

import httpx2
from sqlalchemy import update

from palomar.contract.actions import ALL_SCOPES, Scope
from palomar.server.access.policy import Subject
from palomar.server.accounts.models import Account, PersonalAccessToken, SessionClient
from palomar.server.accounts.personal_tokens import create_token, delete_token
from palomar.server.accounts.sessions import start_session
from palomar.server.artifacts.manage import delete_artifact
from palomar.server.db.columns import utc_now
from palomar.server.executors.manage import delete_executor
from palomar.server.executors.values import ExecutorPush
from palomar.server.web.identity import SESSION_COOKIE
from palomar.server.wiring import Hub
from tests.access.builds import make_build
from tests.access.images import ABSENT_IMAGE, ImageThing, make_image
from tests.api.packages import push_package
from tests.fixtures.hubs import BASE_URL
from tests.services.pushes import documents, join_hub, push_array, version_of

ABSENT_ID = "f" * 32


class Caller(StrEnum):
    ANONYMOUS = "anonymous"
    STRANGER = "stranger"
    OWNER = "owner"
    WRONG_SCOPE = "wrong scope"
    EXPIRED = "expired"
    REVOKED = "revoked"


@dataclass(frozen=True)
class Thing:
    """What a request is about; every text of it that a refusal may echo is as long as any other thing's."""

    namespace: str
    resource: str
    id: str
    version_id: str
    digest: str
    push_id: str
    # Of the Executor of the same name.
    short_id: str = ""
    # In the repository of the same name.
    image: ImageThing = ABSENT_IMAGE
    # Of the first release of the Executor.
    build_id: str = "f" * 32

    @property
    def name(self) -> str:
        return f"{self.namespace}/{self.resource}"


ABSENT = Thing("alice", "thing-none", ABSENT_ID, ABSENT_ID, "f" * 64, ABSENT_ID, "zzzzzzzz")


@dataclass
class World:
    hub: Hub
    client: httpx2.AsyncClient
    alice: Subject
    bob: Subject
    made: int = 0
    cookies: dict[Caller, str] = field(default_factory=dict)

    @classmethod
    async def make(cls, hub: Hub, client: httpx2.AsyncClient) -> World:
        return cls(hub, client, await join_hub(hub), await join_hub(hub, "bob"))

    async def make_thing(
        self, *, is_public: bool, is_deleted: bool = False, is_executor: bool = False, is_image: bool = False
    ) -> Thing:
        """An array of alice's, and a push of hers that is open.

        Beside it, if wanted, an Executor of the same name, or a repository of images.
        """
        self.made += 1
        name = f"alice/thing-{self.made:04}"
        receipt = await push_array(self.hub, self.alice, name, documents(2, first=self.made), is_public=is_public)
        version = await version_of(self.hub, self.alice, name)
        manifest = await self.hub.arrays.manifest(version)
        thing = Thing(
            "alice",
            name.partition("/")[2],
            receipt.artifact_id,
            version.id,
            manifest.chunks[0].digest,
            await self._open_push(),
        )
        if is_executor:
            short_id, build_id = await self._make_executor(name, is_public=is_public, is_deleted=is_deleted)
            thing = replace(thing, short_id=short_id, build_id=build_id)
        elif is_image:
            thing = replace(thing, image=await make_image(self.hub, self.alice, name, is_public=is_public))
        elif is_deleted:
            async with self.hub.database.write() as session:
                await delete_artifact(session, self.alice, self.hub.artifact_rules, name=name)
        return thing

    async def _make_executor(self, name: str, *, is_public: bool, is_deleted: bool) -> tuple[str, str]:
        """Its short id, and the id of a build of its release."""
        receipt = await push_package(self.hub, self.alice, ExecutorPush(name, is_public=is_public))
        build_id = await make_build(self.hub, receipt)
        if is_deleted:
            async with self.hub.database.write() as session:
                await delete_executor(session, self.alice, name)
        return receipt.short_id, build_id

    async def _open_push(self) -> str:
        order = {"name": "alice/pushed", "kind": "v1"}
        headers = await self.headers(Caller.OWNER, Scope.READ)
        opened = await self.client.post("/api/v1/pushes", json=order, headers=headers)
        assert opened.status_code == 201, opened.text
        push_id: str = opened.json()["push_id"]
        return push_id

    async def headers(self, caller: Caller, needed: Scope) -> dict[str, str]:
        if caller is Caller.ANONYMOUS:
            return {}
        return {"Authorization": f"token {await self.token(caller, needed)}"}

    async def token(self, caller: Caller, needed: Scope) -> str:
        """A new personal access token; the one of the wrong scope has every scope but the one that is needed."""
        self.made += 1
        who = self.bob if caller is Caller.STRANGER else self.alice
        name, account_id = f"token-{self.made}", str(who.account_id)
        scopes = ALL_SCOPES - {needed} if caller is Caller.WRONG_SCOPE else ALL_SCOPES
        async with self.hub.database.write() as session:
            token = await create_token(session, account_id=account_id, name=name, days=None, scopes=scopes)
            if caller is Caller.REVOKED:
                await session.flush()
                await delete_token(session, account_id=account_id, name=name)
        if caller is Caller.EXPIRED:
            await self._expire(name)
        return token

    async def _expire(self, name: str) -> None:
        async with self.hub.database.write() as session:
            named = update(PersonalAccessToken).where(PersonalAccessToken.name == name)
            await session.execute(named.values(expires_at=utc_now() - timedelta(seconds=1)))

    async def cookie(self, caller: Caller) -> dict[str, str]:
        """A browser's session; a token and a command line's session in its place are 'wrong scope'."""
        if caller is Caller.ANONYMOUS:
            return {}
        who = self.bob if caller is Caller.STRANGER else self.alice
        client = SessionClient.COMMAND_LINE if caller is Caller.WRONG_SCOPE else SessionClient.BROWSER
        ttl = timedelta(days=-1 if caller is Caller.EXPIRED else 1)
        async with self.hub.database.write() as session:
            account = await session.get(Account, who.account_id)
            assert account is not None
            jwt = await start_session(session, self.hub.identity.keys, account, client=client, ttl=ttl, issuer=BASE_URL)
        if caller is Caller.REVOKED:
            await self.client.post("/logout", headers={"Cookie": f"{SESSION_COOKIE}={jwt}"})
        return {"Cookie": f"{SESSION_COOKIE}={jwt}"}

    async def send(
        self,
        method: str,
        path: str,
        credential: Mapping[str, str],
        headers: Mapping[str, str] | None = None,
        **body: Any,
    ) -> httpx2.Response:
        return await self.client.request(method, path, headers={**credential, **(headers or {})}, **body)
