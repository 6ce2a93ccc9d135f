"""The machine that was measured on, in one line."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from pathlib import Path

from benchmarks.rows import GIB

_VERSION = re.compile(r"\d+(?:\.\d+)+")


def machine() -> str:
    """Cores, memory, kernel and the versions of what takes part."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / GIB
    parts = [
        f"{os.cpu_count()} cores ({_processor()})",
        f"{memory:.0f} GiB of memory",
        f"{platform.system()} {platform.release()}",
        f"Python {platform.python_version()}",
        *filter(None, (_version("nginx", "-v"), _version("curl", "--version"))),
    ]
    return ", ".join(parts)


def _processor() -> str:
    try:
        facts = Path("/proc/cpuinfo").read_text()
    except OSError:
        return platform.machine()
    found = re.search(r"model name\s*:\s*(.+)", facts)
    return found[1].strip() if found else platform.machine()


def _version(program: str, option: str) -> str | None:
    path = shutil.which(program, path=f"{os.environ.get('PATH', os.defpath)}:/usr/local/sbin:/usr/sbin")
    if path is None:
        return None
    done = subprocess.run([path, option], capture_output=True, text=True, check=False)
    found = _VERSION.search(done.stdout + done.stderr)
    return f"{program} {found[0]}" if found else program
