"""Two clients push the same name at once: both get a version, and neither is torn."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from palomar.contract.actions import Scope
from palomar.server.access.policy import Credential, Subject
from palomar.server.artifacts.find import find_readable
from palomar.server.artifacts.models import DOCUMENT_ARRAY
from palomar.server.artifacts.values import PushRequest, Receipt
from palomar.server.artifacts.versions import list_versions
from palomar.server.wiring import Hub
from tests.factories.accounts import make_person
from tests.faults.streams import documents_of, numbered_stream
from tests.faults.wire import Answer, Wire

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

CLIENTS = 4
ROUNDS = 8


def test_both_get_versions_over_the_wire(alice: Wire, name: str):
    barrier = threading.Barrier(CLIENTS)

    def push(number: int) -> tuple[int, Answer]:
        barrier.wait()
        return number, alice.push(numbered_stream(number), name)

    with ThreadPoolExecutor(CLIENTS) as pool:
        for turn in range(ROUNDS):
            numbers = [turn * CLIENTS + client for client in range(CLIENTS)]
            answers = dict(pool.map(push, numbers))
            assert {answer.http for answer in answers.values()} == {200}, answers
            versions = {answers[n].json["data"]["receipt"]["version"]: n for n in numbers}
            assert sorted(versions) == [turn * CLIENTS + i for i in range(1, CLIENTS + 1)]
            last = numbered_stream(versions[max(versions)])
            assert documents_of(alice.pull(name).body) == documents_of(last)


async def test_both_get_versions_on_every_database_and_store(hub: Hub):
    async with hub.database.write() as session:
        person = await make_person(session)
        subject = Subject(
            account_id=person.account.id,
            account_name="alice",
            credential=Credential.CLI_SESSION,
            scopes=frozenset(Scope),
        )
    receipts = await asyncio.gather(*(push(hub, subject, number) for number in range(CLIENTS)))
    assert sorted(receipt.version for receipt in receipts) == [1, 2, 3, 4]
    async with hub.database.read() as session:
        found = await find_readable(session, subject, name="alice/digits", bare_means_own=False)
        versions = {version.number: version for version in await list_versions(session, found.artifact)}
    for number, receipt in enumerate(receipts):
        version = versions[receipt.version]
        pieces = [piece async for piece in hub.arrays.old_stream(version, 0, version.stream_bytes)]
        assert documents_of(b"".join(pieces)) == documents_of(numbered_stream(number))


async def push(hub: Hub, subject: Subject, number: int) -> Receipt:
    async with hub.pusher.begin(subject) as push:
        push.open_array()
        await push.write(numbered_stream(number))
        content = await push.finish_file()
        return await push.commit(PushRequest(name="alice/digits", type=DOCUMENT_ARRAY), content)
