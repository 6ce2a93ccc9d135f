"""The README's first push and pull, typed as printed."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from tests.fixtures.environment import lacking
from tools.blocks import marked
from tools.live_hub import LiveHub, clean_environ

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600), pytest.mark.xdist_group("port-8484")]

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
PORT = 8484


class PrintedHub(LiveHub):
    """Where and how the README says: the port that nobody chose, the data in the folder one stands in."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.port, self.url = PORT, f"http://127.0.0.1:{PORT}"
        self.environ = clean_environ(PALOMAR_DATA=str(folder / "data"))


@pytest.fixture
def checkout(tmp_path: Path) -> Iterator[Path]:
    """A folder in which ``.venv/bin/palomar`` is there, as in a checkout after ``make serve``."""
    with socket.socket() as probe:
        if probe.connect_ex(("127.0.0.1", PORT)) == 0:
            lacking(f"something else listens on port {PORT}")
    (tmp_path / ".venv").symlink_to(ROOT / ".venv")
    hub = PrintedHub(tmp_path)
    hub.start()
    yield tmp_path
    hub.kill()


def test_the_hub_is_started_by_one_command():
    assert marked(README, "serve") == "make serve\n"
    makefile = (ROOT / "Makefile").read_text()
    assert "serve: install" in makefile
    assert "$(BIN)/palomar serve\n" in makefile


def test_first_push_and_pull(checkout: Path, tmp_path: Path):
    home = tmp_path / "home"
    home.mkdir()
    environ = clean_environ(HOME=str(home))
    # A virtual environment that is active is not what the README assumes.
    environ.pop("VIRTUAL_ENV", None)
    done = subprocess.run(
        [shutil.which("bash") or "bash", "-e", "-o", "pipefail", "-c", marked(README, "first-push")],
        cwd=checkout,
        env=environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    assert done.stdout.splitlines()[-1] == "['hello', 'world']"
    assert httpx2.get(f"http://127.0.0.1:{PORT}/healthz").status_code == 200
    assert list((checkout / "data").iterdir())
