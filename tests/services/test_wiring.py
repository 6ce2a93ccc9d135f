"""The hub as the composition root puts it together."""

from __future__ import annotations

import asyncio

from palomar.server.jobs.jobs import Job, JobState
from palomar.server.settings import Settings
from palomar.server.wiring import Hub, open_hub
from tests.factories.blobs import make_blob
from tests.fixtures.hubs import ClientFactory


async def first_run(hub: Hub, name: str) -> Job:
    async with asyncio.timeout(60):
        while not (found := await hub.jobs.latest(name)):  # noqa: ASYNC110 - the engine tells nobody
            await asyncio.sleep(0.05)
        return await hub.jobs.wait(found[0].id)


async def test_a_worker_collects_and_scrubs_from_its_start(settings: Settings):
    """Damaged bytes are found by the scrub; it and the collection run without being asked."""
    async with open_hub(settings) as hub:
        row = await make_blob(hub.database, hub.blobs, b"nobody's")
    async with open_hub(settings, run_worker=True) as hub:
        collected, scrubbed = await first_run(hub, "collect"), await first_run(hub, "scrub")
    assert (collected.state, scrubbed.state) == (JobState.DONE, JobState.DONE)
    assert collected.result["blobs"] == 0
    assert scrubbed.result == {"blobs": 1, "blob_bytes": row.stored_bytes, "corrupt": 0}


async def test_a_hub_on_every_pair_is_ready(hub: Hub, client_factory: ClientFactory):
    response = await client_factory(hub).get("/readyz")
    assert response.status_code == 200
    assert {response.json()["database"], response.json()["blobs"]} == {"ok"}
