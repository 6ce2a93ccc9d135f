"""Bases unpacked to folders, for sandboxes to run in: one for each manifest, made once and then only read.

A folder has its whole name from the moment it is complete. Whoever uses one holds a shared lock on the file beside it,
so that what is not used can be told and removed, by this process or another one on the same data folder.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import shutil
from collections.abc import AsyncIterator, Collection, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from palomar.contract.errors import DataCorrupt
from palomar.server.builds.bases.exporting import save_blob
from palomar.server.builds.bases.values import Base, BasePlatform
from palomar.server.builds.layer_reader import BadLayer, LayerLimits, LayerReader
from palomar.server.builds.unpacking import Unpacking
from palomar.server.registry.writer import ImageWriter

_UNFINISHED: Final = "unfinished-"
_LOCK_EVERY_S: Final = 0.1


@asynccontextmanager
async def unpacked_base(writer: ImageWriter, base: Base, found: BasePlatform, folder: Path) -> AsyncIterator[Path]:
    """The root of one platform of a base below ``folder``, unpacked if need be. Only to be read, and not moved.

    Raises ImageBlobUnknown for a base that was replaced or removed meanwhile, DataCorrupt, and OSError.
    """
    await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
    root = folder / found.manifest.digest.hex
    while True:
        async with _locked(root, fcntl.LOCK_SH):
            if root.exists():
                yield root
                return
        async with _locked(root, fcntl.LOCK_EX):
            if not root.exists():
                await _unpack(writer, base, found, root)


@asynccontextmanager
async def _locked(root: Path, kind: int) -> AsyncIterator[None]:
    descriptor = _open_lock(root)
    try:
        # Asked again and again instead of waited for in a thread, which could not be called back.
        while not _may_lock(descriptor, kind):  # noqa: ASYNC110 - no event tells of another process's lock
            await asyncio.sleep(_LOCK_EVERY_S)
        yield
    finally:
        os.close(descriptor)


def _open_lock(root: Path) -> int:
    return os.open(root.with_name(f"{root.name}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _may_lock(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


async def _unpack(writer: ImageWriter, base: Base, found: BasePlatform, root: Path) -> None:
    """Under the lock, so there is one at most, and what is there already is from somebody who died."""
    unfinished = root.with_name(f"{_UNFINISHED}{root.name}")
    tree, packed = unfinished / "root", unfinished / "layer"
    await asyncio.to_thread(shutil.rmtree, unfinished, ignore_errors=True)
    try:
        await asyncio.to_thread(tree.mkdir, 0o755, parents=True)
        unpacking = Unpacking(tree)
        for layer in found.layers:
            await save_blob(writer.stream_blob(base.repository_id, layer.digest), packed)
            # Shielded, since a thread goes on when its caller is cancelled, and would meet the removal below.
            await _to_the_end(asyncio.to_thread(_add, unpacking, packed, layer.media_type))
        # Else a crash of the machine could leave the name and lose what is in the files.
        await asyncio.to_thread(os.sync)
        await asyncio.to_thread(tree.rename, root)
    finally:
        await asyncio.shield(asyncio.to_thread(shutil.rmtree, unfinished, ignore_errors=True))


async def _to_the_end(work: Coroutine[Any, Any, None]) -> None:
    task = asyncio.ensure_future(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        raise


def _add(unpacking: Unpacking, packed: Path, media_type: str) -> None:
    with packed.open("rb") as file:
        try:
            unpacking.add(LayerReader(file, media_type, LayerLimits()))
        except BadLayer as error:
            # It was read to its end when the base was added.
            raise DataCorrupt("A layer of the base image") from error
    packed.unlink()


def remove_unused(folder: Path, *, keep: Collection[str]) -> int:
    """Removes the roots of manifests that are not in ``keep`` and that nobody uses, and what crashes left behind.

    Returns how many folders went. Blocking: call it in a thread.
    """
    if not folder.is_dir():
        return 0
    kept = {digest.rpartition(":")[2] for digest in keep}
    gone = [path for path in folder.iterdir() if path.is_dir() and path.name not in kept]
    return sum(map(_remove, gone))


def _remove(path: Path) -> bool:
    """Unless somebody works with it."""
    descriptor = _open_lock(path.with_name(path.name.removeprefix(_UNFINISHED)))
    try:
        if not _may_lock(descriptor, fcntl.LOCK_EX):
            return False
        shutil.rmtree(path, ignore_errors=True)
        return True
    finally:
        os.close(descriptor)
