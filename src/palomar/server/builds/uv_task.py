"""uv in a sandbox: what is mounted, how it reaches the index, and what it may not look at."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from palomar.server.builds.egress import Egress
from palomar.server.builds.package_rules import PackageRules
from palomar.server.builds.sandbox import Mount, Task

UV: Final = "/run/palomar/uv"
_CA: Final = "/run/palomar/ca.pem"
FIND_LINKS: Final = "/run/palomar/packages"


@dataclass(frozen=True, slots=True)
class UvTasks:
    """Makes tasks for one sandboxed piece of work; ``refused`` is filled while they run."""

    rules: PackageRules
    folder: Path
    socket: Path | None
    refused: list[str]

    def task(
        self,
        argv: tuple[str, ...],
        *,
        mounts: tuple[Mount, ...] = (),
        environment: Mapping[str, str] | None = None,
    ) -> Task:
        return Task(
            argv,
            self.folder,
            (*self._mounts(), *mounts),
            {**self._environment(), **(environment or {})},
            self.socket,
        )

    def _mounts(self) -> tuple[Mount, ...]:
        uv = self.rules.find_uv()
        bundle = self.rules.find_ca_bundle()
        found = [Mount(uv, UV)] if uv else []
        if bundle:
            found.append(Mount(bundle.resolve(), _CA))
        if self.rules.find_links:
            found.append(Mount(self.rules.find_links, FIND_LINKS))
        return tuple(found)

    def _environment(self) -> dict[str, str]:
        bundle = dict.fromkeys(("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "PIP_CERT", "GIT_SSL_CAINFO"), _CA)
        return {
            **(bundle if self.rules.find_ca_bundle() else {}),
            "UV_NO_CONFIG": "1",
            "UV_NO_PROGRESS": "1",
            "UV_PYTHON_DOWNLOADS": "never",
            "UV_LINK_MODE": "copy",
            "UV_HTTP_TIMEOUT": "60",
            "UV_CONCURRENT_DOWNLOADS": "16",
            "NO_COLOR": "1",
            # Installing from a list of files is new in uv, and says so on every run.
            "UV_PREVIEW_FEATURES": "pylock",
            "GIT_TERMINAL_PROMPT": "0",
            **self._index(),
        }

    def _index(self) -> dict[str, str]:
        links = {"UV_FIND_LINKS": FIND_LINKS} if self.rules.find_links else {}
        if self.rules.index_url:
            return {**links, "UV_DEFAULT_INDEX": self.rules.index_url}
        return {**links, "UV_NO_INDEX": "1", "UV_OFFLINE": "1"}


@asynccontextmanager
async def uv_tasks(rules: PackageRules, work: Path, name: str) -> AsyncIterator[UvTasks]:
    """A new folder of its own for a piece of work, with a way to the index; both go when it is done."""
    folder = work / name
    inner = folder / "build"
    inner.mkdir(parents=True)
    try:
        if not rules.index_url:
            yield UvTasks(rules, inner, None, [])
            return
        egress = Egress(rules.hosts(), rules.near_hosts(), max_bytes=2 * rules.limits.disk_bytes)
        async with egress.serve(folder) as socket:
            yield UvTasks(rules, inner, socket, egress.refused)
    finally:
        await asyncio.shield(asyncio.to_thread(discard, folder))


def discard(folder: Path) -> None:
    """Removes what a sandbox left, which may have taken the hub's own right to look into a folder."""
    for parent, folders, _ in os.walk(folder):
        for each in folders:
            path = Path(parent, each)
            if not path.is_symlink():
                path.chmod(0o700)
    shutil.rmtree(folder, ignore_errors=True)
