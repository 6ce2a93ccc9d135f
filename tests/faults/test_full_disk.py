"""A disk without room fails the push that needs it, and nothing else."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.state import state_of, wait_for_state
from tests.faults.streams import documents_of, numbered_stream
from tests.faults.wire import Answer, Wire
from tests.fixtures.environment import lacking
from tests.fixtures.old_clients import OldClientFactory
from tools.live_hub import LiveHub

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

DISK_MIB = 24
SMALL = numbered_stream(1)
LARGE = numbered_stream(2, documents=400, padding=100_000)  # 40 MB


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = shutil.which("mount")
    if mount is None or os.geteuid() != 0:
        lacking("mounting a small disk needs root")
    done = subprocess.run(
        [mount, "-t", "tmpfs", "-o", f"size={DISK_MIB}m", "tmpfs", folder], capture_output=True, text=True, check=False
    )
    if done.returncode:
        lacking(f"a small disk cannot be mounted: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.fixture
def hub(small_disk: Path) -> Iterator[LiveHub]:
    hub = LiveHub(small_disk)
    hub.log_path = small_disk.parent / "serve.log"
    hub.start()
    yield hub
    hub.kill()


@pytest.fixture
def alice(hub: LiveHub) -> Wire:
    return Wire(hub.url, hub.add_user("alice"))


def assert_refused(answer: Answer) -> None:
    assert answer.http == 507, answer.body
    assert answer.json["status"] == 50002
    assert "The hub's disk is full. Nothing was stored; ask the operator to make room" in answer.message


def fill(folder: Path) -> Path:
    """Takes all the room that there is."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file:
        try:
            while file.write(bytes(4096)):
                pass
        except OSError:
            pass
    return ballast


def test_a_push_that_does_not_fit_leaves_nothing(hub: LiveHub, alice: Wire):
    assert alice.push(SMALL, "alice/kept").http == 200
    before = state_of(hub.data)
    for name in ("alice/large", "alice/kept"):
        assert_refused(alice.push(LARGE, name))
        assert wait_for_state(hub.data, before) == before
    assert documents_of(alice.pull("alice/kept").body) == documents_of(SMALL)
    assert alice.pull("alice/large").http == 404
    assert alice.push(numbered_stream(3), "alice/next").http == 200


def test_a_disk_without_any_room(hub: LiveHub, alice: Wire, small_disk: Path):
    assert alice.push(SMALL, "alice/kept").http == 200
    ballast = fill(small_disk)
    for number in range(4, 8):
        assert_refused(alice.push(numbered_stream(number), "alice/kept"))
    # Reading needs no room.
    assert documents_of(alice.pull("alice/kept").body) == documents_of(SMALL)
    assert alice.call("artifact.list").json["meta"]["total"] == 1
    ballast.unlink()
    answer = alice.push(numbered_stream(9), "alice/kept")
    assert answer.http == 200, answer.body
    assert answer.json["data"]["receipt"]["version"] == 2
    assert documents_of(alice.pull("alice/kept").body) == documents_of(numbered_stream(9))
    hub.restart()
    assert documents_of(alice.pull("alice/kept").body) == documents_of(numbered_stream(9))


def test_the_old_client_shows_the_reason(hub: LiveHub, alice: Wire, old_client: OldClientFactory):
    done = old_client("d021").run(
        """
import os
from docarray import Document, DocumentArray

DocumentArray([Document(blob=os.urandom(1 << 20)) for _ in range(40)]).push("alice/large")
""",
        registry=hub.url,
        token=alice.token,
    )
    assert done.exit_code == 1
    assert "The hub's disk is full. Nothing was stored" in " ".join(done.stderr.split())
