"""Packages that nobody means well with, over the wire: each refused with its reason, and nothing of it kept."""

from __future__ import annotations

import io
import stat
import tarfile
from dataclasses import replace

import pytest
from sqlalchemy import func, select

from palomar.server.blobs.models import BlobRow
from palomar.server.executors.models import Executor, Release, ReleaseTag
from palomar.server.settings import Settings
from palomar.server.wiring import Hub
from tests.api.hubble import OldClient, old_client
from tests.api.packages import jina_push, package_of, pushed
from tests.fixtures.hubs import ClientFactory
from tests.unit.packages.zips import CONFIG, EXECUTOR, Raw, raw_zip, zipped

GOOD = (Raw(name=b"config.yml", data=CONFIG), Raw())


def with_raw(entry: Raw) -> bytes:
    return raw_zip(*GOOD, entry)


def special(kind: int) -> bytes:
    return with_raw(Raw(name=b"link", data=b"/etc/passwd", attributes=(kind | 0o777) << 16))


def tar() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        info = tarfile.TarInfo("executor.py")
        info.size = len(EXECUTOR)
        archive.addfile(info, io.BytesIO(EXECUTOR))
    return buffer.getvalue()


def exploding_anchors() -> bytes:
    levels = [b"a0: &a0 [x, x, x, x, x, x, x, x, x]\n"]
    levels += [b"a%d: &a%d [%s]\n" % (n, n, b", ".join([b"*a%d" % (n - 1)] * 9)) for n in range(1, 12)]
    return package_of(config_yml=CONFIG + b"".join(levels))


HOSTILE = {
    "path traversal": (lambda: with_raw(Raw(name=b"../evil.py")), "../evil.py"),
    "traversal inside": (lambda: with_raw(Raw(name=b"a/../../evil.py")), "evil.py"),
    "absolute name": (lambda: with_raw(Raw(name=b"/etc/evil.py")), "/etc/evil.py"),
    "drive letter": (lambda: with_raw(Raw(name=b"C:\\evil.py")), "evil.py"),
    "symlink": (lambda: special(stat.S_IFLNK), "link"),
    "device": (lambda: special(stat.S_IFCHR), "link"),
    "named pipe": (lambda: special(stat.S_IFIFO), "link"),
    "duplicate name": (lambda: with_raw(Raw()), "executor.py"),
    "name that differs in case": (lambda: with_raw(Raw(name=b"Executor.py")), "executor.py"),
    "control characters": (lambda: with_raw(Raw(name=b"a\x1b[2J.py")), "character"),
    "bomb by ratio": (lambda: package_of({"zeros": bytes(20 * 1024**2)}), "zip bomb"),
    "bomb by count": (lambda: zipped({"config.yml": CONFIG} | {f"{n}.txt": b"" for n in range(10_001)}), "10,000"),
    "directory that disagrees": (
        lambda: raw_zip(GOOD[0], replace(GOOD[1], central={"name": b"executor.pY"})),
        "executor.p",
    ),
    "sizes that disagree": (lambda: raw_zip(GOOD[0], replace(GOOD[1], local={"size": 1})), "executor.py"),
    "tar in disguise": (tar, "tar"),
    "no archive at all": (lambda: b"<html>", "zip"),
    "nothing": (lambda: b"", "empty"),
    "YAML with tags": (
        lambda: package_of(config_yml=CONFIG + b"x: !!python/object/apply:os.system ['id']\n"),
        "config.yml",
    ),
    "YAML with anchors that explode": (exploding_anchors, "config.yml"),
    "endless requirements": (lambda: package_of(requirements_txt=b"numpy\n" * 400_000), "requirements.txt"),
}


@pytest.fixture
async def alice(small_hub: Hub, client_factory: ClientFactory) -> OldClient:
    return await old_client(small_hub, client_factory, "alice")


async def kept(hub: Hub, settings: Settings) -> tuple[list[int], set[str]]:
    """Rows, and files of the blob store."""
    async with hub.database.read() as session:
        tables = (Executor, Release, ReleaseTag, BlobRow)
        counts = [await session.scalar(select(func.count()).select_from(table)) or 0 for table in tables]
    blobs = settings.data / "blobs"
    return counts, {str(path) for path in blobs.rglob("*") if path.is_file()}


@pytest.mark.parametrize("kind", HOSTILE)
async def test_refused_with_its_reason_and_nothing_kept(
    alice: OldClient, small_hub: Hub, settings: Settings, kind: str
):
    make, words = HOSTILE[kind]
    await pushed(alice, tags="v1")
    before = await kept(small_hub, settings)
    assert before[0] == [1, 1, 1, 1]
    error = (await jina_push(alice, make(), tags="v1"))[-1]
    assert error["type"] == "error"
    assert words in error["payload"]["readableMessage"]
    assert not any(ord(character) < 32 for character in error["payload"]["readableMessage"])
    assert await kept(small_hub, settings) == before


async def test_a_refused_first_push_makes_no_executor(alice: OldClient, small_hub: Hub, settings: Settings):
    before = await kept(small_hub, settings)
    assert (await jina_push(alice, tar()))[-1]["type"] == "error"
    assert await kept(small_hub, settings) == before == ([0, 0, 0, 0], before[1])
    await alice.post("executor.getPackage", status=404, json={"id": "alice/MyExecutor"})


async def test_a_package_above_the_limit(small_settings: Settings, small_hub: Hub, client_factory: ClientFactory):
    limited = small_hub.executor_pusher.rules
    assert limited.max_package_bytes == small_settings.max_package_bytes
    alice = await old_client(small_hub, client_factory, "alice")
    (refused,) = await jina_push(alice, bytes(small_settings.max_package_bytes + 1), status=413)
    assert "package" in refused["readableMessage"]


@pytest.fixture
def small_settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"max_package_bytes": 1024**2})


async def test_a_readme_with_a_script_is_text_and_no_page(alice: OldClient):
    await pushed(alice, package_of(README_md=b"<script>alert(1)</script>"))
    answer = await alice.client.get("/api/v1/executors/alice/MyExecutor/releases/1", params={"readme": "true"})
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["readme"] == "<script>alert(1)</script>"
