"""``make demo`` comes out."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from demo.__main__ import STEPS
from tools.live_hub import clean_environ

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800), pytest.mark.xdist_group("engine")]


def test_every_step_comes_out():
    done = subprocess.run(
        [sys.executable, "-m", "demo"],
        cwd=Path(__file__).parents[2],
        env=clean_environ(),
        capture_output=True,
        text=True,
        timeout=1700,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    titles = [step.title for step in STEPS]
    assert titles
    assert all(f". {title}\n" in done.stdout for title in titles)
    assert done.stdout.endswith(f"All {len(titles)} steps came out as they must.\n")
