"""What a sandbox may use, and the watch that holds it to that."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

MIB: Final = 1024**2
GIB: Final = 1024**3

Excess = Literal["time", "memory", "processes", "disk"]

_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")
# So much is left to the hub whatever the sandbox may use: a full disk stops everybody's pushes.
_MIN_FREE_BYTES: Final = 512 * MIB
_MAX_FILES: Final = 2_000_000


@dataclass(frozen=True, slots=True)
class SandboxLimits:
    """``memory_bytes`` holds for all processes together, by a watch, and for each address space, by the kernel."""

    time_s: int = 1800
    memory_bytes: int = 4 * GIB
    disk_bytes: int = 20 * GIB
    processes: int = 512
    open_files: int = 4096

    def kernel_limits(self) -> dict[str, int]:
        """By the names of the ``resource`` module; threads count as processes."""
        return {
            "RLIMIT_AS": self.memory_bytes,
            "RLIMIT_FSIZE": self.disk_bytes,
            "RLIMIT_NPROC": self.processes,
            "RLIMIT_NOFILE": self.open_files,
            "RLIMIT_CORE": 0,
        }


class Watch:
    """Looks at a sandbox every half second, for what no kernel limit covers without privileges.

    Between two looks a sandbox can write some hundred MiB more than it may; one file can never pass the limit.
    """

    def __init__(self, limits: SandboxLimits, folder: Path, process_id: int) -> None:
        self._limits = limits
        self._folder = folder
        self._process_id = process_id
        self._free_bytes = _free(folder)
        self._used_bytes = 0
        self._looks = 0

    async def excess(self) -> Excess:
        """Returns when a limit is passed, and never otherwise."""
        loop = asyncio.get_running_loop()
        end = loop.time() + self._limits.time_s
        while loop.time() < end:
            if found := await asyncio.to_thread(self._look):
                return found
            await asyncio.sleep(min(0.5, max(0.0, end - loop.time())))
        return "time"

    def _look(self) -> Excess | None:
        processes, memory_bytes = usage(self._process_id)
        if processes > self._limits.processes + 8:
            return "processes"
        if memory_bytes > self._limits.memory_bytes:
            return "memory"
        return "disk" if self._is_disk_full() else None

    def _is_disk_full(self) -> bool:
        free = _free(self._folder)
        if free < _MIN_FREE_BYTES:
            return True
        self._looks += 1
        # Walking takes time: it is done where the file system lost enough for the limit to be near, and, since others
        # may have given space back meanwhile, every ten seconds.
        if self._looks % 20 and self._free_bytes - free + self._used_bytes < self._limits.disk_bytes // 2:
            return False
        self._used_bytes, files = folder_usage(self._folder)
        self._free_bytes = free
        return self._used_bytes > self._limits.disk_bytes or files > _MAX_FILES


def _free(folder: Path) -> int:
    status = os.statvfs(folder)
    return status.f_bavail * status.f_frsize


def folder_usage(folder: Path) -> tuple[int, int]:
    """Bytes on disk and number of entries; what vanishes meanwhile does not count, and no link is followed."""
    used, files, pending = 0, 0, [str(folder)]
    while pending:
        try:
            with os.scandir(pending.pop()) as entries:
                for entry in entries:
                    files += 1
                    used += _entry_bytes(entry)
                    if entry.is_dir(follow_symlinks=False):
                        pending.append(entry.path)
        except OSError:
            continue
    return used, files


def _entry_bytes(entry: os.DirEntry[str]) -> int:
    try:
        return entry.stat(follow_symlinks=False).st_blocks * 512
    except OSError:
        return 0


def usage(process_id: int) -> tuple[int, int]:
    """How many processes descend from one, and the private memory of all of them."""
    children: dict[int, list[int]] = {}
    for entry in os.scandir("/proc"):
        if entry.name.isdigit() and (parent := _parent(entry.name)) is not None:
            children.setdefault(parent, []).append(int(entry.name))
    found, pending = 0, list(children.get(process_id, ()))
    memory_bytes = 0
    while pending:
        current = pending.pop()
        found += 1
        memory_bytes += _private_bytes(current)
        pending.extend(children.get(current, ()))
    return found, memory_bytes


def _parent(name: str) -> int | None:
    try:
        stat = Path("/proc", name, "stat").read_bytes()
    except OSError:
        return None
    # The program's name stands in brackets and may hold anything, brackets and spaces too.
    return int(stat[stat.rindex(b")") + 2 :].split()[1])


def _private_bytes(process_id: int) -> int:
    try:
        fields = Path("/proc", str(process_id), "statm").read_text().split()
    except OSError:
        return 0
    return (int(fields[1]) - int(fields[2])) * _PAGE_BYTES
