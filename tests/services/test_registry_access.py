"""Who sees what in the registry: a digest alone opens nothing, and what may not be read looks absent."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from sqlalchemy import select, update

from palomar.contract.actions import Action, Scope, Visibility
from palomar.contract.errors import (
    CredentialMissing,
    ImageBlobUnknown,
    ManifestUnknown,
    NotAllowed,
    PalomarError,
    RepositoryUnknown,
)
from palomar.contract.images import OCI_MANIFEST, ImageTag, RepositoryName
from palomar.server.access.policy import ANONYMOUS, Credential, Subject
from palomar.server.db.columns import new_id, utc_now
from palomar.server.executors.models import Executor
from palomar.server.namespaces.models import NamespaceRow
from palomar.server.namespaces.service import legacy_namespace
from palomar.server.registry.blobs import find_blob, find_blob_for, mount_blob
from palomar.server.registry.find import find_repository
from palomar.server.registry.listing import list_repositories, list_tags
from palomar.server.registry.manifests import find_manifest, find_manifest_for, put_manifest
from palomar.server.registry.models import Repository
from palomar.server.wiring import Hub
from tests.factories.images import CONFIG, LAYER, digest_of, image
from tests.services.executor_pushes import deleted_ago, set_namespace
from tests.services.executor_pushes import push as push_executor
from tests.services.pushes import join_hub, subject_of
from tests.services.registry_pushes import REPO, pull_blob, push_image, put, put_blob, remove_manifest, remove_tag

ABSENT = RepositoryName("alice/nothing")
NOBODYS = RepositoryName("nobody/nothing")
PRIVATE = RepositoryName("alice/secret")


async def hide(hub: Hub, name: RepositoryName) -> None:
    async with hub.database.write() as session:
        await session.execute(
            update(Repository).where(Repository.path == name.path).values(visibility=Visibility.PRIVATE)
        )


async def link(hub: Hub, executor_id: str, name: RepositoryName = REPO) -> None:
    async with hub.database.write() as session:
        await session.execute(update(Repository).where(Repository.path == name.path).values(executor_id=executor_id))


async def outcome(work: Awaitable[Any]) -> Any:
    """What came of it, comparable."""
    try:
        return await work
    except PalomarError as error:
        return type(error), error.fields


def narrowed(subject: Subject, *scopes: Scope) -> Subject:
    return Subject(subject.account_id, subject.account_name, Credential.TOKEN, frozenset(scopes), "token")


async def world(hub: Hub) -> dict[str, Subject]:
    """Everything that a name can mean, and everybody who can ask."""
    alice, bob = await join_hub(hub), await join_hub(hub, "bob")
    await push_image(hub, alice)
    await push_image(hub, alice, name=PRIVATE)
    await hide(hub, PRIVATE)
    for executor in ("linked", "hidden", "gone"):
        name = RepositoryName(f"alice/{executor}")
        await push_image(hub, alice, name=name)
        receipt = await push_executor(hub, alice, executor, is_public=executor != "hidden")
        await link(hub, receipt.executor_id, name)
    await deleted_ago(hub, alice, "alice/gone", utc_now() - utc_now())
    carol = await join_hub(hub, "carol")
    await push_image(hub, carol, name=RepositoryName("carol/digits"))
    await set_namespace(hub, "carol", visibility_ceiling=Visibility.PRIVATE)
    dave = await join_hub(hub, "dave")
    await push_image(hub, dave, name=RepositoryName("dave/digits"))
    await set_namespace(hub, "dave", retired_at=utc_now())
    return {
        "anonymous": ANONYMOUS,
        "owner": alice,
        "stranger": bob,
        "without scopes": narrowed(alice),
        "stranger without scopes": narrowed(bob, Scope.ACCOUNT),
        "for writing": narrowed(alice, Scope.WRITE),
        "for reading": narrowed(alice, Scope.READ),
    }


NAMES = [
    RepositoryName(name)
    for name in (
        "alice/digits",
        "alice/secret",
        "alice/linked",
        "alice/hidden",
        "alice/gone",
        "carol/digits",
        "dave/digits",
        "alice/nothing",
        "nobody/nothing",
        "legacy/abcdefgh",
    )
]


async def test_one_select_and_many_come_to_the_same(hub: Hub) -> None:
    subjects = await world(hub)

    def slowly(find: Callable[..., Awaitable[Any]], subject: Subject, name: RepositoryName, what: str) -> Any:
        async def found() -> Any:
            async with hub.database.read() as session:
                return await find(session, await find_repository(session, subject, name, Action.IMAGE_READ), what)

        return found()

    references = [ImageTag("latest"), ImageTag("v1"), digest_of(image()), digest_of(b"nothing")]
    blobs = [digest_of(LAYER), digest_of(CONFIG), digest_of(b"nothing"), digest_of(LAYER, "sha512")]
    for subject in subjects.values():
        for name in NAMES:
            for reference in references:
                fast = await outcome(find_manifest_for(hub.database, subject, name, reference))
                assert fast == await outcome(slowly(find_manifest, subject, name, reference)), (subject, name)
            for digest in blobs:
                fast = await outcome(find_blob_for(hub.database, subject, name, digest))
                assert fast == await outcome(slowly(find_blob, subject, name, digest)), (subject, name)


READABLE = {
    "anonymous": {"alice/digits", "alice/linked"},
    "stranger": {"alice/digits", "alice/linked"},
    "owner": {"alice/digits", "alice/secret", "alice/linked", "alice/hidden"},
    "for reading": {"alice/digits", "alice/secret", "alice/linked", "alice/hidden"},
    "for writing": set[str](),
    "without scopes": set[str](),
    "stranger without scopes": set[str](),
}


async def test_a_repository_is_listed_exactly_when_it_can_be_read(hub: Hub) -> None:
    for who, subject in (await world(hub)).items():
        async with hub.database.read() as session:
            listed = await list_repositories(session, subject)
        readable = set()
        for name in NAMES:
            if not isinstance(await outcome(pull_blob(hub, subject, digest_of(LAYER), name)), tuple):
                readable.add(str(name))
        assert listed.names == sorted(readable) == sorted(READABLE[who]), who


async def test_a_catalogue_is_paged_by_name(hub: Hub) -> None:
    alice = (await world(hub))["owner"]
    async with hub.database.read() as session:
        first = await list_repositories(session, alice, 3)
        rest = await list_repositories(session, alice, 3, first.names[-1])
        assert (await list_repositories(session, alice, 0)).has_more is False
        assert (await list_repositories(session, alice, last="alice/hidden\0")).names == [
            "alice/linked",
            "alice/secret",
        ]
    assert (first.names, first.has_more) == (["alice/digits", "alice/hidden", "alice/linked"], True)
    assert (rest.names, rest.has_more) == (["alice/secret"], False)


async def test_private_and_absent_are_refused_in_the_same_words(hub: Hub) -> None:
    alice, bob = await join_hub(hub), await join_hub(hub, "bob")
    await push_image(hub, alice, name=PRIVATE)
    await hide(hub, PRIVATE)
    for subject, expected in ((ANONYMOUS, CredentialMissing), (bob, RepositoryUnknown)):
        for name in (PRIVATE, ABSENT, NOBODYS):
            for refused in (
                find_manifest_for(hub.database, subject, name, ImageTag("latest")),
                find_blob_for(hub.database, subject, name, digest_of(LAYER)),
                remove_manifest(hub, subject, digest_of(image()), name),
                remove_tag(hub, subject, name=name),
            ):
                kind, fields = await outcome(refused)
                assert kind is expected
                assert fields.get("name", name) == name


async def test_what_a_public_repository_lacks_is_not_found_by_anybody(hub: Hub) -> None:
    alice = await join_hub(hub)
    await push_image(hub, alice)
    for subject in (ANONYMOUS, alice):
        with pytest.raises(ManifestUnknown):
            await find_manifest_for(hub.database, subject, REPO, ImageTag("v1"))
        with pytest.raises(ImageBlobUnknown):
            await find_blob_for(hub.database, subject, REPO, digest_of(b"nothing"))


async def test_a_stranger_changes_nothing_of_what_they_may_read(hub: Hub) -> None:
    alice, bob = await join_hub(hub), await join_hub(hub, "bob")
    digest = await push_image(hub, alice)
    for subject, expected in ((bob, NotAllowed), (ANONYMOUS, CredentialMissing), (narrowed(alice), NotAllowed)):
        for refused in (
            put(hub, subject, image()),
            put(hub, subject, image(), name=NOBODYS if subject is bob else REPO),
            remove_manifest(hub, subject, digest),
            remove_tag(hub, subject),
        ):
            with pytest.raises(expected):
                await refused


async def test_a_repository_follows_the_visibility_of_its_executor(hub: Hub) -> None:
    alice = await join_hub(hub)
    receipt = await push_executor(hub, alice, "digits", is_public=False)
    await push_image(hub, alice)
    assert await pull_blob(hub, ANONYMOUS, digest_of(LAYER)) == LAYER
    await link(hub, receipt.executor_id)
    with pytest.raises(CredentialMissing):
        await pull_blob(hub, ANONYMOUS, digest_of(LAYER))
    assert await pull_blob(hub, alice, digest_of(LAYER)) == LAYER
    await deleted_ago(hub, alice, "alice/digits", utc_now() - utc_now())
    with pytest.raises(RepositoryUnknown):
        await pull_blob(hub, alice, digest_of(LAYER))
    with pytest.raises(RepositoryUnknown):
        await put(hub, alice, image())


async def test_a_new_repository_is_as_visible_as_its_namespace_says(hub: Hub) -> None:
    alice = await join_hub(hub, default=Visibility.PRIVATE)
    await push_image(hub, alice)
    with pytest.raises(CredentialMissing):
        await pull_blob(hub, ANONYMOUS, digest_of(LAYER))


async def test_images_of_old_executors_can_be_pulled_and_never_pushed(hub: Hub) -> None:
    alice = await join_hub(hub)
    name = RepositoryName("legacy/abcdefgh")
    async with hub.database.write() as session:
        namespace = await legacy_namespace(session)
        executor = Executor(
            id=new_id(),
            short_id="abcdefgh",
            namespace_id=namespace.id,
            name="Old",
            name_key="old",
            visibility=Visibility.PUBLIC,
            keywords=[],
            owner_id=alice.account_id,
        )
        session.add(executor)
        await session.flush()
        writer = hub.registry.writer
        repository_id = await writer.ensure_repository(
            session, namespace_id=namespace.id, path="abcdefgh", executor_id=executor.id
        )
    for blob in (CONFIG, LAYER):
        await writer.add_blob(repository_id, blob)
    digest = await writer.put_manifest(repository_id, image(), OCI_MANIFEST, tags=(ImageTag("latest"),))
    assert (await find_manifest_for(hub.database, ANONYMOUS, name, ImageTag("latest"))).digest == digest
    with pytest.raises(NotAllowed):
        await put(hub, alice, image(), name=name)
    with pytest.raises(NotAllowed):
        await remove_manifest(hub, alice, digest, name)
    async with hub.database.read() as session:
        assert (await list_repositories(session, ANONYMOUS)).names == [name]


# --- mounting ----------------------------------------------------------------------------------------------------


async def mount(
    hub: Hub, subject: Subject, data: bytes, source: RepositoryName | None, name: RepositoryName = REPO
) -> bool:
    async with hub.database.write() as session:
        return await mount_blob(session, subject, name, digest_of(data), source) is not None


async def test_a_blob_is_mounted_from_what_the_caller_may_read(hub: Hub) -> None:
    alice, bob = await join_hub(hub), await join_hub(hub, "bob")
    bobs = RepositoryName("bob/digits")
    await put_blob(hub, bob, LAYER, bobs)
    assert await mount(hub, alice, LAYER, bobs)
    assert await pull_blob(hub, alice, digest_of(LAYER)) == LAYER
    assert not await mount(hub, alice, b"nothing", bobs)
    assert not await mount(hub, alice, LAYER, ABSENT)
    await put_blob(hub, bob, b"of another", bobs)
    await hide(hub, bobs)
    assert not await mount(hub, alice, b"of another", bobs)
    with pytest.raises(ImageBlobUnknown):
        await pull_blob(hub, alice, digest_of(b"of another"))


async def test_without_a_source_only_the_own_namespace_is_looked_at(hub: Hub) -> None:
    alice, bob = await join_hub(hub), await join_hub(hub, "bob")
    await put_blob(hub, bob, LAYER, RepositoryName("bob/digits"))
    assert not await mount(hub, alice, LAYER, None)
    await put_blob(hub, alice, LAYER, PRIVATE)
    await hide(hub, PRIVATE)
    assert await mount(hub, alice, LAYER, None)
    assert await pull_blob(hub, alice, digest_of(LAYER)) == LAYER


async def test_nobody_mounts_into_what_is_not_theirs(hub: Hub) -> None:
    alice, bob = await join_hub(hub), await join_hub(hub, "bob")
    await put_blob(hub, alice, LAYER)
    with pytest.raises(NotAllowed):
        await mount(hub, bob, LAYER, REPO, RepositoryName("alice/letters"))
    with pytest.raises(CredentialMissing):
        await mount(hub, ANONYMOUS, LAYER, REPO)


# --- tags --------------------------------------------------------------------------------------------------------


async def test_tags_are_listed_in_the_order_of_their_bytes(hub: Hub) -> None:
    alice = await join_hub(hub)
    digest = await push_image(hub, alice, tag="b")
    tags = tuple(map(ImageTag, ("a", "B", "_x", "a.b", "a-b", "1", "C_", "a_b")))
    await put_manifest(hub.database, alice, REPO, content=image(), media_type=OCI_MANIFEST, reference=digest, tags=tags)
    ordered = sorted((*tags, "b"))
    async with hub.database.read() as session:
        repository = await find_repository(session, alice, REPO, Action.IMAGE_READ)
        assert (await list_tags(session, repository)).names == ordered
        page = await list_tags(session, repository, 3)
        assert (page.names, page.has_more) == (ordered[:3], True)
        page = await list_tags(session, repository, 6, page.names[-1])
        assert (page.names, page.has_more) == (ordered[3:], False)
        assert (await list_tags(session, repository, 100, "aaa")).names == [tag for tag in ordered if tag > "aaa"]
        assert (await list_tags(session, repository, last="a\0z")).names == [tag for tag in ordered if tag > "a"]
        assert (await list_tags(session, repository, last="\ud800")).names == [tag for tag in ordered if tag > "?"]
        assert await list_tags(session, repository, 0) == type(page)([], has_more=False)


async def test_a_namespace_that_was_retired_has_no_repositories(hub: Hub) -> None:
    alice = await join_hub(hub)
    await push_image(hub, alice)
    await set_namespace(hub, "alice", retired_at=utc_now())
    with pytest.raises(RepositoryUnknown):
        await pull_blob(hub, alice, digest_of(LAYER))
    async with hub.database.read() as session:
        assert await session.scalar(select(NamespaceRow.name)) == "alice"
    assert subject_of(alice.account_id or "", "alice") == alice
