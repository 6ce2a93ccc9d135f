"""Referrers: everything that was attached to a manifest, whether that is there or not."""

from __future__ import annotations

import json
from typing import Any

import pytest
from sqlalchemy import update

from palomar.contract.actions import Action
from palomar.contract.errors import BadParameter
from palomar.contract.images import OCI_CONFIG, OCI_EMPTY, OCI_INDEX, OCI_MANIFEST, ImageDigest
from palomar.server.access.policy import Subject
from palomar.server.db.columns import utc_now
from palomar.server.registry.find import find_repository
from palomar.server.registry.listing import list_referrers
from palomar.server.registry.models import ImageManifest
from palomar.server.registry.values import ReferrerPage
from palomar.server.wiring import Hub
from tests.factories.images import descriptor, digest_of, image, index
from tests.services.pushes import join_hub
from tests.services.registry_pushes import REPO, push_image, put, put_blob, remove_manifest

SUBJECT = image()


async def referrers(
    hub: Hub, subject: Subject, digest: ImageDigest, artifact_type: str | None = None
) -> list[dict[str, Any]]:
    async with hub.database.read() as session:
        repository = await find_repository(session, subject, REPO, Action.IMAGE_READ)
        return (await list_referrers(session, repository, digest, artifact_type)).descriptors


async def attach(hub: Hub, subject: Subject, **more: Any) -> bytes:
    await put_blob(hub, subject, b"{}")
    more = {"config": descriptor(b"{}", OCI_CONFIG), "subject": descriptor(SUBJECT, OCI_MANIFEST), **more}
    content = image(b"{}", **more)
    await put(hub, subject, content, digest_of(content))
    return content


def shown(content: bytes, artifact_type: str | None, media_type: str = OCI_MANIFEST, **more: Any) -> dict[str, Any]:
    expected = {"mediaType": media_type, "digest": digest_of(content), "size": len(content), **more}
    return expected if artifact_type is None else {**expected, "artifactType": artifact_type}


async def test_referrers_are_listed_with_type_and_annotations(hub: Hub) -> None:
    alice = await join_hub(hub)
    typed = await attach(hub, alice, artifactType="application/spdx+json", annotations={"made.by": "a tool"})
    plain = await attach(hub, alice)
    empty = await attach(hub, alice, artifactType="", config=descriptor(b"{}", OCI_EMPTY))
    assert await referrers(hub, alice, digest_of(SUBJECT)) == [
        shown(typed, "application/spdx+json", annotations={"made.by": "a tool"}),
        shown(plain, OCI_CONFIG),
        shown(empty, OCI_EMPTY),
    ]
    only = await referrers(hub, alice, digest_of(SUBJECT), "application/spdx+json")
    assert [referrer["digest"] for referrer in only] == [digest_of(typed)]
    for other in ("text/plain", "a/b\0", "\ud800", ""):
        assert await referrers(hub, alice, digest_of(SUBJECT), other) == []


async def test_an_index_that_refers_has_a_type_only_when_it_says_so(hub: Hub) -> None:
    alice = await join_hub(hub)
    await push_image(hub, alice)
    subject = descriptor(SUBJECT, OCI_MANIFEST)
    plain = index(SUBJECT, subject=subject)
    typed = index(SUBJECT, subject=subject, artifactType="text/plain")
    for content in (plain, typed):
        await put(hub, alice, content, digest_of(content), media_type=OCI_INDEX)
    assert await referrers(hub, alice, digest_of(SUBJECT)) == [
        shown(plain, None, OCI_INDEX),
        shown(typed, "text/plain", OCI_INDEX),
    ]


async def test_a_subject_may_come_later_and_go_before(hub: Hub) -> None:
    alice = await join_hub(hub)
    attached = await attach(hub, alice)
    before = await referrers(hub, alice, digest_of(SUBJECT))
    digest = await push_image(hub, alice)
    assert digest == digest_of(SUBJECT)
    assert await referrers(hub, alice, digest) == before == [shown(attached, OCI_CONFIG)]
    await remove_manifest(hub, alice, digest)
    assert await referrers(hub, alice, digest) == before
    await remove_manifest(hub, alice, digest_of(attached))
    assert await referrers(hub, alice, digest) == []


async def test_what_nothing_refers_to_has_an_empty_list(hub: Hub) -> None:
    alice = await join_hub(hub)
    await push_image(hub, alice)
    assert await referrers(hub, alice, digest_of(b"nothing")) == []
    assert await referrers(hub, alice, digest_of(b"nothing", "sha512")) == []


# --- pages -----------------------------------------------------------------------------------------------------------


async def page_of(hub: Hub, subject: Subject, **options: Any) -> ReferrerPage:
    async with hub.database.read() as session:
        repository = await find_repository(session, subject, REPO, Action.IMAGE_READ)
        return await list_referrers(session, repository, digest_of(SUBJECT), **options)


async def walk(hub: Hub, subject: Subject, **options: Any) -> list[list[str]]:
    """The digests on every page."""
    pages, last = [], None
    while True:
        page = await page_of(hub, subject, last=last, **options)
        pages.append([referrer["digest"] for referrer in page.descriptors])
        last = page.next
        if last is None:
            return pages


async def attach_many(hub: Hub, subject: Subject, count: int, **more: Any) -> list[str]:
    made = [await attach(hub, subject, annotations={"number": str(number)}, **more) for number in range(count)]
    return [digest_of(content) for content in made]


async def test_pages_follow_each_other_in_the_order_of_pushing(hub: Hub) -> None:
    alice = await join_hub(hub)
    made = await attach_many(hub, alice, 5)
    assert await walk(hub, alice, limit=2) == [made[:2], made[2:4], made[4:]]
    assert await walk(hub, alice, limit=5) == await walk(hub, alice) == [made]
    assert await walk(hub, alice, limit=0) == [[]]


async def test_a_page_keeps_its_place_when_its_last_manifest_goes(hub: Hub) -> None:
    alice = await join_hub(hub)
    made = await attach_many(hub, alice, 4)
    first = await page_of(hub, alice, limit=2)
    await remove_manifest(hub, alice, ImageDigest(made[1]))
    second = await page_of(hub, alice, limit=2, last=first.next)
    assert [referrer["digest"] for referrer in second.descriptors] == made[2:]


async def test_manifests_of_one_moment_are_all_listed(hub: Hub) -> None:
    alice = await join_hub(hub)
    made = await attach_many(hub, alice, 4)
    async with hub.database.write() as session:
        await session.execute(update(ImageManifest).values(created_at=utc_now()))
    assert await walk(hub, alice, limit=1) == [[digest] for digest in sorted(made)]


async def test_pages_of_one_type_have_nothing_of_another(hub: Hub) -> None:
    alice = await join_hub(hub)
    plain = await attach_many(hub, alice, 3, artifactType="text/plain")
    await attach_many(hub, alice, 3, artifactType="text/html")
    plain += [digest_of(await attach(hub, alice, artifactType="text/plain"))]
    assert await walk(hub, alice, artifact_type="text/plain", limit=2) == [plain[:2], plain[2:]]


async def test_without_a_limit_a_page_is_no_larger_than_a_manifest_may_be(hub: Hub) -> None:
    """Long annotations of few manifests, since many manifests take long to push."""
    alice = await join_hub(hub)
    made = [digest_of(await attach(hub, alice, annotations={"long": f"{n}" * 1_500_000})) for n in range(5)]
    pages = await walk(hub, alice)
    assert pages == [made[:2], made[2:4], made[4:]]
    page = await page_of(hub, alice)
    assert 3_000_000 < len(json.dumps(page.descriptors)) < 4 << 20


async def test_a_manifest_as_large_as_it_may_be_has_a_page_of_its_own(hub: Hub) -> None:
    alice = await join_hub(hub)
    bare = len(await attach(hub, alice, annotations={"long": ""}))
    large = digest_of(await attach(hub, alice, annotations={"long": "x" * ((4 << 20) - bare)}))
    pages = await walk(hub, alice)
    assert [len(page) for page in pages] == [1, 1]
    assert pages[1] == [large]


@pytest.mark.parametrize("last", ["", "sha256:" + "0" * 64, "-1-x", "9" * 18 + "-x", "\u0661-x", "1.5-x"])
async def test_another_text_than_a_place_is_refused(hub: Hub, last: str) -> None:
    alice = await join_hub(hub)
    await attach(hub, alice)
    with pytest.raises(BadParameter, match="Link"):
        await page_of(hub, alice, last=last)


async def test_any_digest_in_a_place_will_do(hub: Hub) -> None:
    alice = await join_hub(hub)
    (made,) = await attach_many(hub, alice, 1)
    for digest in ("", "\0", "\ud800", "x" * 5000):
        page = await page_of(hub, alice, last=f"{'9' * 16}-{digest}")
        assert page.descriptors == []
        page = await page_of(hub, alice, last=f"0-{digest}")
        assert [referrer["digest"] for referrer in page.descriptors] == [made]
