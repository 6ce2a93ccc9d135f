"""``palomar admin base-add``: from what an operator typed to a base in the hub, and what is told of it."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from palomar.contract.errors import BadParameter, PalomarError, StorageFull
from palomar.server.builds.bases.adding import AddedBase, add_base
from palomar.server.builds.bases.sources.images import refused
from palomar.server.builds.bases.sources.open import open_source
from palomar.server.builds.bases.sources.remote import Login
from palomar.server.builds.bases.values import Base
from palomar.server.builds.image_config import Platform
from palomar.server.builds.workspace import workspace
from palomar.server.registry.writer import ImageWriter


@dataclass(frozen=True, slots=True)
class WantedBase:
    """``platforms`` as linux/amd64; without any, all of Linux that the source has."""

    source: str
    name: str | None = None
    is_default: bool = False
    platforms: Sequence[str] = ()
    username: str | None = None
    password: str | None = field(default=None, repr=False)


async def copy_base(writer: ImageWriter, wanted: WantedBase, *, scratch: Path) -> AddedBase:
    """``scratch`` is a folder that several of these may share. Raises as `add_base`."""
    login = Login(wanted.username, wanted.password or "") if wanted.username is not None else None
    platforms = [_platform(text) for text in wanted.platforms]
    try:
        async with workspace(scratch) as folder:
            with open_source(wanted.source, folder, login=login) as source:
                return await add_base(
                    writer, source, folder, name=wanted.name, is_default=wanted.is_default, platforms=platforms
                )
    except PalomarError:
        raise
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise StorageFull from error
        raise refused(f"{error.filename or wanted.source} cannot be used ({error.strerror or error})") from error


def _platform(text: str) -> Platform:
    try:
        return Platform.parse(text)
    except ValueError as error:
        raise BadParameter("--platform", str(error)) from None


def described(base: Base) -> list[str]:
    """What was found in it, one line each."""
    pythons = ", ".join(dict.fromkeys(found.version for found in base.platforms))
    libcs = ", ".join(dict.fromkeys(found.libc for found in base.platforms))
    return [
        f"  digest     {base.digest}",
        f"  platforms  {', '.join(str(found.platform) for found in base.platforms)}",
        f"  python     {pythons}",
        f"  libc       {libcs}",
    ]
