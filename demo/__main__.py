"""``python -m demo``: tells the story step by step, and ends with 1 at the first step that does not come out."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from importlib import import_module
from pathlib import Path

from demo.stage import DemoFailed, Stage, open_stage
from demo.story import STEPS, Step
from tools.live_hub import HubFailed
from tools.old_clients import OldClientsMissing

# In the order of the story: importing a chapter registers its steps, which stand on those of the ones before.
for _chapter in ("demo.sharing", "demo.executors", "demo.images"):
    import_module(_chapter)

_EXPECTED = (DemoFailed, HubFailed, OldClientsMissing, subprocess.TimeoutExpired)


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="palomar-demo-") as folder:
        try:
            return _play(Path(folder))
        except _EXPECTED as error:
            print(f"\nFAILED: {error}", file=sys.stderr)
            return 1


def _play(folder: Path) -> int:
    with open_stage(folder) as stage:
        print(f"A temporary hub runs at {stage.hub.url}; its data is in {stage.hub.data}\n")
        for number, step in enumerate(STEPS, 1):
            _take(number, step, stage)
    print(f"\nAll {len(STEPS)} steps came out as they must.")
    return 0


def _take(number: int, step: Step, stage: Stage) -> None:
    print(f"{number:2}. {step.title}", flush=True)
    for line in step.run(stage):
        print(f"      {line}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
