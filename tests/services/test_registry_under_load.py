"""Purging and collecting without any grace, while people push, mount and delete: what an answer promised is there."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TypeVar

from sqlalchemy import func, select, update

from palomar.contract.errors import Busy, ImageBlobInUse, ImageBlobUnknown, ManifestIncomplete, UploadUnknown
from palomar.contract.images import ImageDigest, RepositoryName
from palomar.server.access.policy import Subject
from palomar.server.blobs.collection import Collector
from palomar.server.blobs.models import BlobRow
from palomar.server.db.columns import utc_now
from palomar.server.registry.blobs import mount_blob
from palomar.server.registry.models import ManifestBlob, RepositoryBlob
from palomar.server.registry.purge import purge_images
from palomar.server.wiring import Hub
from tests.factories.blobs import stored_keys
from tests.factories.images import CONFIG, body_of, digest_of, image
from tests.services.pushes import join_hub
from tests.services.registry_pushes import pull, pull_blob, put, put_blob, remove_blob, remove_manifest

T = TypeVar("T")

REPOS = [RepositoryName(f"alice/repo-{number}") for number in range(2)]
# Few, so that what has just become garbage is soon pushed again.
LAYERS = [f"layer {number} ".encode() * 50 for number in range(4)]
PUSHERS, TURNS, MOST_TURNS, ATTEMPTS = 3, 12, 300, 50
NOW, HOUR = timedelta(0), timedelta(hours=1)


@dataclass
class Pusher:
    """One client; its images are its own, while blobs are shared with the others."""

    hub: Hub
    subject: Subject
    number: int
    dice: random.Random
    images: dict[ImageDigest, tuple[RepositoryName, list[bytes]]] = field(default_factory=dict)

    async def run(self, reaper: Reaper) -> None:
        """On a slow machine it goes on until something was taken meanwhile: else nothing was at stake."""
        for turn in range(MOST_TURNS):
            if turn >= TURNS and reaper.taken:
                return
            await self.push(turn)
            if len(self.images) > 2:
                await self.delete(next(iter(self.images)))

    async def push(self, turn: int) -> None:
        name, layers = self.dice.choice(REPOS), self.dice.sample(LAYERS, 2)
        content = image(*layers, annotations={"of": f"{self.number}-{turn}"})

        async def attempt() -> ImageDigest:
            for blob in (CONFIG, *layers):
                await self.send(blob, name)
            return (await put(self.hub, self.subject, content, f"tag-{self.number}", name=name)).digest

        digest = await patiently(attempt)
        self.images[digest] = (name, layers)
        await self.check(digest)
        assert (await pull(self.hub, self.subject, f"tag-{self.number}", name)).digest == digest

    async def send(self, blob: bytes, name: RepositoryName) -> None:
        """As a client may: from elsewhere, in one request, in three, or in many."""
        match self.dice.randrange(4):
            case 0:
                if not await self.mount(blob, name):
                    await self.upload(blob, name, len(blob))
            case 1:
                await put_blob(self.hub, self.subject, blob, name)
            case 2:
                await self.upload(blob, name, len(blob))
            case _:
                await self.upload(blob, name, len(blob) // 2)

    async def mount(self, blob: bytes, name: RepositoryName) -> bool:
        source = self.dice.choice([None, *REPOS])
        async with self.hub.database.write() as session:
            return await mount_blob(session, self.subject, name, digest_of(blob), source) is not None

    async def upload(self, blob: bytes, name: RepositoryName, chunk_bytes: int) -> None:
        uploads = self.hub.registry.uploads
        upload = await uploads.start(self.subject, name)
        for start in range(0, len(blob), chunk_bytes):
            body = body_of(blob[start : start + chunk_bytes])
            await uploads.append(self.subject, name, upload.id, body=body, start=start)
        await uploads.finish(self.subject, name, upload.id, digest=digest_of(blob))

    async def delete(self, digest: ImageDigest) -> None:
        name, layers = self.images.pop(digest)
        await patiently(lambda: remove_manifest(self.hub, self.subject, digest, name))
        # Another image may need it, or the purge was faster.
        with suppress(ImageBlobInUse, ImageBlobUnknown, Busy):
            await remove_blob(self.hub, self.subject, digest_of(layers[0]), name)

    async def check(self, digest: ImageDigest) -> None:
        name, layers = self.images[digest]
        assert (await pull(self.hub, self.subject, digest, name)).digest == digest
        for blob in (CONFIG, *layers):
            assert await pull_blob(self.hub, self.subject, digest_of(blob), name) == blob


async def patiently(work: Callable[[], Awaitable[T]]) -> T:
    """Again for what a client is told to do again; with no grace at all a push is often too slow."""
    for _ in range(ATTEMPTS):
        try:
            return await work()
        except (Busy, ManifestIncomplete, UploadUnknown):
            await asyncio.sleep(0.01)
    return await work()


@dataclass
class Reaper:
    """Everything is old at once, and goes at once unless something holds it."""

    hub: Hub
    taken: int = 0

    async def run(self, *, until: asyncio.Event) -> None:
        while not until.is_set():
            # It takes the rows in whatever order, so the database may give it up for somebody else.
            with suppress(Busy):
                async with self.hub.database.write() as session:
                    await session.execute(update(BlobRow).values(touched_at=utc_now() - HOUR))
            purging = purge_images(self.hub.database, upload_ttl=HOUR, grace=NOW, undelete_window=HOUR, batch=2)
            self.taken += (await purging).blobs
            self.taken += (await Collector(self.hub.database, self.hub.blobs, grace=NOW, batch=2).run()).blobs
            await asyncio.sleep(0.02)


async def test_nothing_that_an_image_needs_is_lost(hub: Hub) -> None:
    alice = await join_hub(hub)
    pushers = [Pusher(hub, alice, number, random.Random(number)) for number in range(PUSHERS)]  # noqa: S311 - dice
    done = asyncio.Event()
    reaper = Reaper(hub)
    reaping = asyncio.create_task(reaper.run(until=done))
    try:
        await asyncio.gather(*(pusher.run(reaper) for pusher in pushers))
    finally:
        done.set()
    await reaping
    assert reaper.taken > 0, "nothing was ever garbage"
    for pusher in pushers:
        for digest in list(pusher.images):
            await pusher.check(digest)
            await pusher.delete(digest)
    await nothing_is_left(hub)


async def nothing_is_left(hub: Hub) -> None:
    await hub.registry.close()
    await purge_images(hub.database, upload_ttl=NOW, grace=-HOUR, undelete_window=HOUR)
    await Collector(hub.database, hub.blobs, grace=-HOUR).run()
    async with hub.database.read() as session:
        for table in (ManifestBlob, RepositoryBlob, BlobRow):
            assert await session.scalar(select(func.count()).select_from(table)) == 0
    assert await stored_keys(hub.blobs) == set()
