"""Every route, every caller, public and private; and no route without a row."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from palomar.contract.actions import Scope
from palomar.server.web.app import routes
from palomar.server.web.download import download_url
from palomar.server.web.hubble.routes import METHODS
from palomar.server.wiring import Hub
from tests.access.routes import every_route
from tests.access.rows import Row
from tests.access.table import TABLE
from tests.access.world import ABSENT, Caller, Thing, World
from tests.fixtures.hubs import ClientFactory

FOUR = (Caller.ANONYMOUS, Caller.STRANGER, Caller.OWNER, Caller.WRONG_SCOPE)
DEAD = (Caller.EXPIRED, Caller.REVOKED)
WITH_CREDENTIAL = [row for row in TABLE if not row.is_open]
PRIVATE_PAGES = ("GET /settings", "POST /settings", "GET /login/cli", "POST /login/cli")
ABOUT_A_THING = [row for row in TABLE if row.is_about_a_thing]
ABOUT_A_PUSH = [row for row in TABLE if "{push_id}" in row.key]


@pytest.fixture
async def world(small_hub: Hub, client_factory: ClientFactory) -> World:
    return await World.make(small_hub, client_factory(small_hub))


def label(row: Row) -> str:
    return f"{row.key} {row.expected}"


every_row = pytest.mark.parametrize("row", TABLE, ids=label)


async def answer(world: World, row: Row, caller: Caller, thing: Thing) -> tuple[int, str]:
    if row.key == "user.identity.proxiedAuthorize":
        await world.hub.identity.logins.close()  # its stream would wait for a person
    headers = await (world.cookie(caller) if row.is_console else world.headers(caller, row.needs))
    response = await world.send(row.method, row.path(thing), headers, **row.body(thing))
    return response.status_code, response.text


@every_row
async def test_every_caller_gets_the_status_in_the_table(world: World, row: Row) -> None:
    for is_public in (True, False) if row.is_about_a_thing else (True,):
        got = []
        for caller in FOUR:
            thing = await world.make_thing(is_public=is_public, **row.needed)
            got.append((await answer(world, row, caller, thing))[0])
        assert got == row.statuses(is_public=is_public), "public" if is_public else "private"


@pytest.mark.parametrize("row", WITH_CREDENTIAL, ids=label)
async def test_an_expired_and_a_revoked_token_open_nothing(world: World, row: Row) -> None:
    thing = await world.make_thing(is_public=True, **row.needed)
    assert [(await answer(world, row, caller, thing))[0] for caller in DEAD] == [401, 401]


@pytest.mark.parametrize("row", [row for row in TABLE if row.is_console], ids=label)
async def test_an_ended_session_makes_an_anonymous_visitor(world: World, row: Row) -> None:
    thing = await world.make_thing(is_public=True)
    anonymous = row.statuses(is_public=True)[0]
    assert [(await answer(world, row, caller, thing))[0] for caller in DEAD] == [anonymous] * 2


@pytest.mark.parametrize("row", [row for row in TABLE if row.key.startswith(PRIVATE_PAGES)], ids=label)
async def test_a_private_page_leads_everybody_else_to_the_login(world: World, row: Row) -> None:
    thing = await world.make_thing(is_public=True)
    for caller, is_sent_there in ((Caller.ANONYMOUS, True), (Caller.WRONG_SCOPE, True), (Caller.OWNER, False)):
        response = await world.send(row.method, row.path(thing), await world.cookie(caller), **row.body(thing))
        assert response.headers.get("location", "").startswith("/login") is is_sent_there


def without_echo(text: str, thing: Thing) -> Any:
    """The body without the request's id and the caller's own words."""
    image = (thing.image.digest, thing.image.blob, thing.image.upload_id)
    words = (
        thing.resource,
        thing.id,
        thing.version_id,
        thing.digest,
        thing.push_id,
        thing.short_id,
        thing.build_id,
        *image,
    )
    for word in filter(None, words):
        text = text.replace(word, "ECHO")
    body = json.loads(text)
    body.pop("request_id", None)
    if isinstance(body.get("data"), dict):
        body["data"].pop("requestId", None)
    return body


async def both_answers(world: World, row: Row, caller: Caller) -> list[tuple[int, Any]]:
    hidden = await world.make_thing(is_public=False, **row.needed)
    answers = [(thing, await answer(world, row, caller, thing)) for thing in (hidden, ABSENT)]
    return [(status, without_echo(text, thing)) for thing, (status, text) in answers]


@pytest.mark.parametrize("row", [*ABOUT_A_THING, *ABOUT_A_PUSH], ids=label)
@pytest.mark.parametrize("caller", [Caller.ANONYMOUS, Caller.STRANGER])
async def test_private_and_absent_are_one_answer(world: World, row: Row, caller: Caller) -> None:
    hidden, absent = await both_answers(world, row, caller)
    assert hidden == absent
    assert hidden[0] in {401, 404}


async def test_a_private_thing_is_in_no_strangers_list(world: World) -> None:
    thing = await world.make_thing(is_public=False)
    shown = await world.make_thing(is_public=True)
    row = next(row for row in TABLE if row.key == "GET /api/v1/arrays")
    for caller, sees in ((Caller.ANONYMOUS, False), (Caller.STRANGER, False), (Caller.OWNER, True)):
        _, text = await answer(world, row, caller, thing)
        assert (thing.resource in text, shown.resource in text) == (sees, True)
    _, text = await answer(world, row, Caller.WRONG_SCOPE, thing)
    assert thing.resource not in text


@pytest.mark.parametrize("key", ["artifact.list", "user.pat.list", "user.session.getRaw", "GET /api/v1/tokens"])
async def test_lists_of_ones_own_never_show_somebody_elses(world: World, key: str) -> None:
    thing = await world.make_thing(is_public=True)
    row = next(row for row in TABLE if row.key == key)
    for own in (thing.resource, "alice", str(world.alice.account_id)):
        assert own not in (await answer(world, row, Caller.STRANGER, thing))[1]


# --- the signed URL ------------------------------------------------------------------------------------------------

SPOILERS: dict[str, Callable[[str], str]] = {
    "no signature": lambda url: url.partition("?")[0],
    "another signature": lambda url: url[:-1] + ("0" if url[-1] != "0" else "1"),
    "no letters": lambda url: url[:-1] + "é",
    "a later expiry": lambda url: url.replace("expires=", "expires=9"),
    "no expiry": lambda url: url.replace("expires=", "until="),
    "another version": lambda url: url.replace("/download/", "/download/0"),
}


async def test_a_signed_url_opens_its_version_for_whoever_has_it(world: World) -> None:
    thing = await world.make_thing(is_public=False)
    url = download_url(world.hub, "", thing.version_id)
    for caller in Caller:
        headers = await world.headers(caller, Scope.READ)
        assert (await world.send("GET", url, headers)).status_code == 200
        assert (await world.send("HEAD", url, headers)).status_code == 200


@pytest.mark.parametrize("case", SPOILERS)
async def test_a_url_that_was_changed_opens_nothing_even_for_the_owner(world: World, case: str) -> None:
    thing = await world.make_thing(is_public=True)
    url = SPOILERS[case](download_url(world.hub, "", thing.version_id))
    for caller in Caller:
        response = await world.send("GET", url, await world.headers(caller, Scope.READ))
        assert response.status_code == 404


async def test_a_url_of_a_deleted_array_opens_nothing(world: World) -> None:
    thing = await world.make_thing(is_public=True, is_deleted=True)
    response = await world.send("GET", download_url(world.hub, "", thing.version_id), {})
    assert response.status_code == 404


# --- credentials ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["token {}", "Bearer {}", "bearer  {}", "TOKEN {}", "{}"])
async def test_a_token_counts_however_its_client_sends_it(world: World, scheme: str) -> None:
    token = await world.token(Caller.OWNER, Scope.READ)
    response = await world.send("GET", "/api/v1/whoami", {"Authorization": scheme.format(token)})
    assert response.status_code == 200


@pytest.mark.parametrize("header", ["token None", "token", "Bearer", "", "none", "Bearer undefined"])
async def test_what_clients_send_without_a_token_is_anonymous(world: World, header: str) -> None:
    thing = await world.make_thing(is_public=True)
    path = f"/v2/rpc/artifact.getDetail?id={thing.id}"
    assert (await world.send("GET", path, {"Authorization": header})).status_code == 200


@pytest.mark.parametrize("header", ["Basic YWxpY2U6eA==", "token x", "token a.b.c", "Bearer plm_" + "0" * 40, "xyz"])
async def test_what_is_no_credential_is_refused_and_not_taken_for_anonymous(world: World, header: str) -> None:
    thing = await world.make_thing(is_public=True)
    path = f"/v2/rpc/artifact.getDetail?id={thing.id}"
    assert (await world.send("GET", path, {"Authorization": header})).status_code == 401


async def test_a_cookie_opens_no_api(world: World) -> None:
    thing = await world.make_thing(is_public=False)
    cookie = await world.cookie(Caller.OWNER)
    for path in (f"/v2/rpc/artifact.getDetail?id={thing.id}", f"/api/v1/arrays/alice/{thing.resource}"):
        assert (await world.send("GET", path, cookie)).status_code == 404


async def test_a_token_opens_no_page(world: World) -> None:
    headers = await world.headers(Caller.OWNER, Scope.READ)
    assert (await world.send("GET", "/settings", headers)).status_code == 303


# --- completeness --------------------------------------------------------------------------------------------------


def test_no_route_and_no_method_is_without_a_row() -> None:
    there = {key for key in every_route(routes()) if "{method}" not in key} | set(METHODS)
    listed = {row.key for row in TABLE}
    assert there - listed == set()
    assert listed - there == set()


def test_every_read_and_every_change_of_a_thing_says_what_a_private_one_answers() -> None:
    """A route about a thing whose row has no second half would not be compared with what is absent."""
    for row in TABLE:
        if "{name}" in row.key and not row.is_about_a_thing:
            pytest.fail(f"{row.key} has no statuses for a private thing")


async def test_an_unknown_method_and_an_unknown_page_are_absent_for_everybody(world: World) -> None:
    for caller in FOUR:
        headers = await world.headers(caller, Scope.READ)
        for path in ("/v2/rpc/artifact.steal", "/api/v1/absent", "/absent", "/v2/rpc/__init__"):
            assert (await world.send("GET", path, headers)).status_code == 404
