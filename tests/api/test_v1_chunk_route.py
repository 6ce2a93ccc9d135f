"""The quick way to a chunk and the framework's: whoever asks, and for whatever, both answer the same.

A number with a leading zero goes the framework's way.
"""

from __future__ import annotations

from datetime import timedelta
from itertools import product

import pytest

from palomar.contract.actions import Scope
from palomar.server.accounts.models import Account, SessionClient
from palomar.server.accounts.sessions import start_session
from palomar.server.wiring import Hub
from tests.api.native import API, World, array_of, make_world, token_with
from tests.fixtures.hubs import BASE_URL, ClientFactory

_NAMES = ("alice/open", "alice/OPEN", "alice/hidden", "alice/gone", "alice/nothing", "nobody/open")
_BAD = ("token plm_nothing", "Bearer a.b.c", "Basic YTpi", "token None", "")


@pytest.fixture
async def world(small_hub: Hub, client_factory: ClientFactory) -> World:
    return await make_world(small_hub, client_factory)


async def _credentials(world: World) -> list[str]:
    alice = (await world.alice.get("/whoami"))["account_id"]
    hub, client, ttl = world.hub, SessionClient.COMMAND_LINE, timedelta(days=1)
    async with hub.database.write() as session:
        account = await session.get_one(Account, alice)
        jwt = await start_session(session, hub.identity.keys, account, client=client, ttl=ttl, issuer=BASE_URL)
    tokens = (await token_with(hub, alice, Scope.WRITE), jwt)
    own = [actor.client.headers["authorization"] for actor in (world.alice, world.bob)]
    return [*own, *(f"token {token}" for token in tokens), *_BAD]


async def _answer(world: World, path: str, credential: str) -> tuple[int, object, dict[str, str]]:
    answer = await world.nobody.client.get(API + path, headers={"Authorization": credential})
    headers = {name: value for name, value in answer.headers.items() if name != "x-request-id"}
    if answer.status_code == 200:
        return 200, answer.content, headers
    return answer.status_code, {name: value for name, value in answer.json().items() if name != "request_id"}, headers


async def test_both_ways_to_a_chunk_answer_alike(world: World) -> None:
    array = array_of(1, 2, 3)
    for name in ("open", "hidden", "gone"):
        await world.alice.push(f"alice/{name}", array, is_public=name != "hidden")
    await world.alice.call("DELETE", "/arrays/alice/gone", status=204)
    seen = set()
    chunk = array.chunks[0].facts.digest
    asked = product(await _credentials(world), _NAMES, (1, 9), (chunk, "0" * 64))
    for credential, name, number, digest in asked:
        quick, framework = [
            await _answer(world, f"/arrays/{name}/versions/{text}/chunks/{digest}", credential)
            for text in (f"{number}", f"0{number}")
        ]
        assert quick == framework, (credential, name, number, digest)
        seen.add(quick[0])
    assert seen == {200, 401, 403, 404}


@pytest.mark.parametrize("method", ["HEAD", "POST", "DELETE"])
async def test_other_methods_are_not_taken_for_a_download(world: World, method: str) -> None:
    await world.alice.push("alice/open", array_of(1))
    await world.alice.call(method, f"/arrays/alice/open/versions/1/chunks/{'0' * 64}", status=405)
