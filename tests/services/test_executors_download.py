"""The release that a pull gets: the one SELECT and the steps that it stands for say the same of everything."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import pytest
from sqlalchemy import delete as delete_rows
from sqlalchemy import select, update

from palomar.contract.actions import ALL_SCOPES, Visibility
from palomar.contract.errors import NotFound, PalomarError
from palomar.server.access.policy import ANONYMOUS, Credential, Subject
from palomar.server.db.columns import utc_now
from palomar.server.executors.download import PackageDownload, find_package, find_package_by_steps
from palomar.server.executors.models import Executor, Release, ReleaseTag
from palomar.server.wiring import Hub
from tests.services.executor_pushes import delete, package, push, set_namespace, tags
from tests.services.pushes import join_hub
from tests.services.test_executors_find import make_legacy

_REFERENCES = (
    *("alice/Open", "alice/open", "alice/Hidden", "alice/Gone", "alice/None", "alice/Untagged", "alice/Purged"),
    *("Open", "Hidden", "Old", "nobody/Open", "_legacy/Old", "alice/", "alice/x\0", "a/b/c", "\ud800/x", "UPPER/Open"),
)
_TAGS = (None, "latest", "v1", "v9", "not a tag", "\ud800")
_SECRETS = (None, "", "sesame")

Outcome = PackageDownload | tuple[type[PalomarError], str]


async def outcome_of(hub: Hub, subject: Subject, reference: str, tag: str | None, secret: str | None) -> Outcome:
    """The one way's, when the other's is the same."""
    outcomes: list[Outcome] = []
    for find in (find_package, find_package_by_steps):
        try:
            found = await find(hub.database, subject, reference, tag=tag, secret=secret)
            outcomes.append(found._replace(tags=list(found.tags)))
        except PalomarError as error:
            outcomes.append((type(error), error.detail))
    assert outcomes[0] == outcomes[1], (reference, tag, secret, subject)
    return outcomes[0]


async def filled(hub: Hub) -> tuple[Sequence[Subject], Sequence[str]]:
    """Callers, and the ids of Executors of every sort."""
    alice, bob = await join_hub(hub), await join_hub(hub, "bob")
    ids = [(await push(hub, alice, "Open", package("First."), tags=tags("latest", "v1", "a", "zz"))).short_id]
    await push(hub, alice, "Open", package("Second."), tags=tags("v2"), build_env={"TOKEN": "x"})
    ids.append((await push(hub, alice, "Hidden", tags=tags("latest", "v1"), is_public=False)).short_id)
    more = ("Gone", "Untagged", "Purged")
    ids += [(await push(hub, alice, name, tags=tags("latest", "v1"))).short_id for name in more]
    await delete(hub, alice, "alice/Gone")
    async with hub.database.write() as session:
        untagged = await session.scalar(select(Executor.id).where(Executor.name == "Untagged"))
        await session.execute(delete_rows(ReleaseTag).where(ReleaseTag.executor_id == untagged))
        purged = await session.scalar(select(Executor.id).where(Executor.name == "Purged"))
        await session.execute(update(Release).where(Release.executor_id == purged).values(purged_at=utc_now()))
    ids.append(await make_legacy(hub, "Old", is_public=False, secret="sesame"))
    weak = Subject(alice.account_id, "alice", Credential.TOKEN, frozenset(), "0" * 32)
    signed = Subject(bob.account_id, "bob", Credential.SIGNED_URL, frozenset(ALL_SCOPES), "0" * 32)
    return (alice, bob, weak, signed, ANONYMOUS), ids


@pytest.mark.parametrize("ceiling", list(Visibility))
async def test_both_ways_say_the_same_of_every_reference(hub: Hub, ceiling: Visibility) -> None:
    subjects, ids = await filled(hub)
    await set_namespace(hub, "alice", visibility_ceiling=ceiling)
    seen = set()
    for subject, reference, tag, secret in product(subjects, (*_REFERENCES, *ids), _TAGS, _SECRETS):
        outcome = await outcome_of(hub, subject, reference, tag, secret)
        seen.add("found" if isinstance(outcome, PackageDownload) else outcome[0].__name__)
    assert seen == {"found", "NotFound", "NotAllowed", "BadName"}


async def test_with_its_namespace_a_package_is_gone(hub: Hub) -> None:
    subjects, ids = await filled(hub)
    await set_namespace(hub, "alice", retired_at=utc_now())
    for subject, reference in product(subjects, ("alice/Open", "Open", ids[0])):
        outcome = await outcome_of(hub, subject, reference, None, None)
        assert isinstance(outcome, tuple)
        assert outcome[0] is NotFound


async def test_a_package_comes_with_the_tags_of_its_release(hub: Hub) -> None:
    (alice, *_), _ = await filled(hub)
    first = await find_package(hub.database, alice, "alice/Open")
    assert list(first.tags) == ["a", "latest", "v1", "zz"]
    second = await find_package(hub.database, alice, "alice/Open", tag="v2")
    assert (list(second.tags), list(second.build_env_names)) == (["v2"], ["TOKEN"])
    assert second.release_id != first.release_id


async def test_without_latest_the_newest_release_is_pulled(hub: Hub) -> None:
    (alice, *_), _ = await filled(hub)
    untagged = await find_package(hub.database, alice, "alice/Untagged")
    assert list(untagged.tags) == []
    with pytest.raises(NotFound, match=r"alice/Untagged:v1"):
        await find_package(hub.database, alice, "alice/Untagged", tag="v1")
