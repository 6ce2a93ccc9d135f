"""The folders that builds work in: one for each run, and none left behind by a process that died."""

from __future__ import annotations

import asyncio
import fcntl
import os
import secrets
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from palomar.server.blobs.scratch import sweep


@asynccontextmanager
async def workspace(parent: Path) -> AsyncIterator[Path]:
    """An empty folder that goes with everything in it. Its lock tells those who sweep that somebody works there."""
    folder, lock = await asyncio.to_thread(_claim, parent)
    try:
        yield folder
    finally:
        await asyncio.shield(asyncio.to_thread(_give_back, folder, lock))


def _claim(parent: Path) -> tuple[Path, int]:
    parent.mkdir(parents=True, exist_ok=True)
    sweep(parent)
    while True:
        folder = parent / secrets.token_hex(8)
        folder.mkdir(mode=0o700)
        try:
            lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            # A sweep came in between: it saw a folder without a lock.
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            continue
        if folder.exists():
            return folder, lock
        os.close(lock)


def _give_back(folder: Path, lock: int) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    os.close(lock)
