"""Layers that were built already: found by what went into them, shared between repositories, forgotten in the end."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import delete, update

from palomar.contract.errors import Busy
from palomar.contract.images import OCI_CONFIG, OCI_MANIFEST
from palomar.server.blobs.collection import Collector
from palomar.server.builds.image_config import build_manifest
from palomar.server.builds.layer_cache import (
    UNUSED_FOR,
    CachedLayerRow,
    find_layer,
    forget_layer,
    keep_layer,
    layer_key,
    prune_layers,
    use_layer,
)
from palomar.server.builds.layers import LayerFile, WrittenLayer, write_layer
from palomar.server.db.columns import utc_now
from palomar.server.namespaces.service import legacy_namespace
from palomar.server.registry.models import RepositoryBlob
from palomar.server.wiring import Hub

KEY = layer_key(base="sha256:0", pins=["numpy==1"])
DAY = timedelta(days=1)


async def repository(hub: Hub, path: str) -> str:
    async with hub.database.write() as session:
        namespace = await legacy_namespace(session)
        return await hub.registry.writer.ensure_repository(session, namespace_id=namespace.id, path=path)


async def kept(hub: Hub, tmp_path: Path, path: str = "one") -> WrittenLayer:
    """Built and remembered, in a repository of that name."""
    layer = write_layer([LayerFile.of_bytes("opt/a", b"a")], tmp_path / "layer")
    repository_id = await repository(hub, path)
    await hub.registry.writer.add_blob(repository_id, tmp_path / "layer")
    async with hub.database.write() as session:
        await keep_layer(session, KEY, layer, repository_id=repository_id, facts={"pins": ["numpy==1"]})
    return layer


async def age(hub: Hub, by: timedelta) -> None:
    async with hub.database.write() as session:
        await session.execute(update(CachedLayerRow).values(used_at=utc_now() - by))


def test_key_depends_on_every_input_and_not_on_their_order() -> None:
    assert layer_key(a=1, b=[2]) == layer_key(b=[2], a=1)
    assert len({layer_key(a=1), layer_key(a="1"), layer_key(b=1), layer_key(a=1, b=None)}) == 4


async def test_a_layer_is_found_by_its_key_and_used_in_another_repository(hub: Hub, tmp_path: Path) -> None:
    layer = await kept(hub, tmp_path)
    found = await find_layer(hub.database, KEY)
    assert found is not None
    assert (found.layer, found.facts) == (layer, {"pins": ["numpy==1"]})
    other = await repository(hub, "two")
    await use_layer(hub.database, found, repository_id=other)
    await use_layer(hub.database, found, repository_id=other)
    blocks = [block async for block in hub.registry.writer.stream_blob(other, found.descriptor.digest)]
    assert b"".join(blocks) == (tmp_path / "layer").read_bytes()
    config = await hub.registry.writer.add_blob(other, b"{}")
    manifest = build_manifest(replace(config, media_type=OCI_CONFIG), [found.descriptor])
    await hub.registry.writer.put_manifest(other, manifest.content, OCI_MANIFEST)


async def test_an_unknown_key_finds_nothing(small_hub: Hub, tmp_path: Path) -> None:
    await kept(small_hub, tmp_path)
    assert await find_layer(small_hub.database, layer_key(base="sha256:0", pins=["numpy==2"])) is None


async def test_the_first_of_two_builds_is_remembered(hub: Hub, tmp_path: Path) -> None:
    layer = await kept(hub, tmp_path)
    repository_id = await repository(hub, "one")
    other = write_layer([LayerFile.of_bytes("opt/b", b"b")], tmp_path / "other")
    await hub.registry.writer.add_blob(repository_id, tmp_path / "other")
    async with hub.database.write() as session:
        await keep_layer(session, KEY, other, repository_id=repository_id)
    found = await find_layer(hub.database, KEY)
    assert found is not None
    assert found.layer == layer


async def test_what_nobody_used_for_long_is_forgotten_and_use_is_noted(hub: Hub, tmp_path: Path) -> None:
    await kept(hub, tmp_path)
    await age(hub, UNUSED_FOR - DAY)
    assert await prune_layers(hub.database) == 0
    await find_layer(hub.database, KEY)
    assert await prune_layers(hub.database, unused_for=DAY) == 0, "it was used just now"
    await age(hub, UNUSED_FOR + DAY)
    assert await prune_layers(hub.database) == 1
    assert await find_layer(hub.database, KEY) is None


async def test_a_layer_can_be_forgotten_at_once(small_hub: Hub, tmp_path: Path) -> None:
    await kept(small_hub, tmp_path)
    async with small_hub.database.write() as session:
        await forget_layer(session, KEY)
    assert await find_layer(small_hub.database, KEY) is None


async def test_the_cache_keeps_bytes_from_collection_and_lets_them_go(hub: Hub, tmp_path: Path) -> None:
    await kept(hub, tmp_path)
    found = await find_layer(hub.database, KEY)
    assert found is not None
    async with hub.database.write() as session:
        await session.execute(delete(RepositoryBlob))
    collector = Collector(hub.database, hub.blobs, grace=timedelta(0))
    await collector.run()
    await use_layer(hub.database, found, repository_id=await repository(hub, "two"))
    async with hub.database.write() as session:
        await session.execute(delete(RepositoryBlob))
    await prune_layers(hub.database, unused_for=-DAY)
    await collector.run()
    with pytest.raises(Busy):
        await use_layer(hub.database, found, repository_id=await repository(hub, "two"))
