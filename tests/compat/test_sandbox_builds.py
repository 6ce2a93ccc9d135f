"""Hostile source distributions, built in real sandboxes: they get at nothing, and the hub goes on."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from palomar.packages.requirements import Requirements, parse_line
from palomar.server.builds.builder import BuildFailure
from palomar.server.builds.install import SITE_PACKAGES, install
from palomar.server.builds.limits import MIB, SandboxLimits
from palomar.server.builds.lock import Lock
from palomar.server.builds.package_rules import NO_INDEX, PackageRules
from palomar.server.builds.partition import split
from palomar.server.builds.python_base import PythonBase
from palomar.server.builds.resolve import resolve
from palomar.server.builds.sandbox import find_trouble
from palomar.server.builds.wanted import Wanted
from tests.factories.python_packages import make_jina, make_sdist, make_wheel
from tests.fixtures.sandboxes import bookworm

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def base() -> PythonBase:
    return bookworm()


class Builds:
    def __init__(self, folder: Path, base: PythonBase, **limits: int) -> None:
        self.folder = folder
        self.base = base
        self.packages = folder / "packages"
        self.lines: list[str] = []
        self.count = 0
        make_jina(self.packages)
        self.rules = PackageRules(
            folder / "cache",
            index_url=NO_INDEX,
            find_links=self.packages,
            limits=SandboxLimits(**{"time_s": 60, **limits}),
        )

    def work(self) -> Path:
        self.count += 1
        folder = self.folder / "private" / f"work-{self.count}"
        folder.mkdir(parents=True)
        folder.parent.chmod(0o700)
        return folder

    async def lock(self, *lines: str, build_env: dict[str, str] | None = None) -> Lock:
        parsed = tuple(parse_line(text, file="requirements.txt", number=n) for n, text in enumerate(lines, 1))
        wanted = Wanted(Requirements(parsed), "3.34.0", "0.21.0", build_env or {})
        return await resolve(self.base, wanted, self.rules, self.lines.append, work=self.work())

    async def site(
        self, lock: Lock, build_env: dict[str, str] | None = None, rules: PackageRules | None = None
    ) -> Path:
        part = lock.part(split(lock)[1], build_env)
        work = self.work()
        installed = await install(self.base, part, work / "root", rules or self.rules, self.lines.append, work=work)
        return installed.root / SITE_PACKAGES

    async def found(self, on_build: str) -> list[object]:
        """What a source distribution found while it was built."""
        make_sdist(self.packages, "hostile", "1.0", on_build)
        site = await self.site(await self.lock("hostile"))
        space: dict[str, list[object]] = {}
        exec((site / "hostile.py").read_text(), space)  # noqa: S102 - written by the test itself
        return space["found"]


@pytest.fixture
def builds(tmp_path: Path, base: PythonBase) -> Builds:
    return Builds(tmp_path, base)


async def test_this_machine_can_isolate_builds() -> None:
    assert await find_trouble(PackageRules(Path()).find_bwrap()) is None


async def test_a_build_sees_no_file_of_the_hubs(builds: Builds, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("hub's own")
    host = socket.gethostname()
    found = await builds.found(f"""
        import os, socket
        found.append(os.path.exists({str(tmp_path)!r}))
        found.append([name for name in os.environ if name.startswith(("PALOMAR", "AWS", "SECRET"))])
        found.append({str(Path.home())!r} in os.environ.get("HOME", ""))
        found.append(sorted(name for name in os.listdir("/proc") if name.isdigit() and int(name) > 50))
        found.append("debian" not in open("/etc/passwd").read() and len(open("/etc/passwd").read()))
        found.append(socket.gethostname())
    """)
    assert found[:4] == [False, [], False, []]
    assert found[4] == len((builds.base.rootfs / "etc/passwd").read_text())
    assert found[5] == "build"
    assert found[5] != host


async def test_a_build_writes_nowhere_but_in_its_own_folder(builds: Builds) -> None:
    found = await builds.found("""
        for path in ("/x", "/etc/x", "/usr/x", "/dev/x", "/run/palomar/x", "/proc/sys/kernel/core_pattern"):
            try:
                open(path, "w").write("x")
                found.append(path)
            except OSError:
                pass
    """)
    assert found == []
    assert not (builds.base.rootfs / "etc/x").exists()


@contextmanager
def listening() -> Iterator[tuple[int, list[bytes]]]:
    """A service of this machine that hears whoever comes."""
    heard: list[bytes] = []
    server = socket.create_server(("127.0.0.1", 0))
    server.settimeout(0.2)
    stop = threading.Event()

    def accept() -> None:
        while not stop.is_set():
            try:
                heard.append(repr(server.accept()[1]).encode())
            except TimeoutError:
                continue

    thread = threading.Thread(target=accept)
    thread.start()
    try:
        yield server.getsockname()[1], heard
    finally:
        stop.set()
        thread.join()
        server.close()


async def test_a_build_reaches_no_service_of_the_machine(builds: Builds) -> None:
    with listening() as (port, heard):
        found = await builds.found(f"""
            import os, socket
            for host, port in (("127.0.0.1", {port}), ("192.0.2.1", 443), ("198.51.100.7", 80)):
                try:
                    socket.create_connection((host, port), timeout=2)
                    found.append(host)
                except OSError:
                    pass
            found.append(sorted(os.listdir("/sys/class/net")) if os.path.exists("/sys/class/net") else [])
        """)
    assert found == [[]]
    assert heard == []


async def test_a_build_gets_no_rights_and_no_namespaces_of_its_own(builds: Builds) -> None:
    found = await builds.found("""
        import ctypes, os
        found.append(os.getuid())
        found.append([line.split()[1] for line in open("/proc/self/status") if line.startswith("CapEff")])
        found.append(ctypes.CDLL(None).unshare(0x10000000))
    """)
    assert found == [1000, ["0000000000000000"], -1]


async def test_a_fork_bomb_is_ended_and_nothing_of_it_is_left(tmp_path: Path, base: PythonBase) -> None:
    builds = Builds(tmp_path, base, processes=64, time_s=20)
    with pytest.raises(BuildFailure) as failure:
        await builds.found("""
            import os, time
            while True:
                try:
                    os.fork()
                except OSError:
                    time.sleep(0.2)
        """)
    assert "longer than a build may" in failure.value.sentence or "more processes" in failure.value.sentence
    assert not processes_in(builds.folder)


def processes_in(folder: Path) -> list[str]:
    """Those to which a part of a folder is mounted: what runs in sandboxes of this test, and in no others."""
    found = []
    for path in Path("/proc").iterdir():
        try:
            if path.name.isdigit() and str(folder) in (path / "mountinfo").read_text():
                found.append(path.name)
        except OSError:
            continue
    return found


@pytest.mark.parametrize(
    "on_build",
    [
        """
        for number in range(10000):
            with open(f"/build/{number}", "wb") as file:
                file.write(bytes(8 << 20))
        """,
        """
        with open("/build/one", "wb") as file:
            while True:
                file.write(bytes(8 << 20))
        """,
    ],
    ids=["many", "one"],
)
async def test_a_full_disk_is_the_builds_own(tmp_path: Path, base: PythonBase, on_build: str) -> None:
    builds = Builds(tmp_path, base, disk_bytes=100 * MIB)
    with pytest.raises(BuildFailure) as failure:
        await builds.found(on_build)
    assert "disk space" in failure.value.sentence or "File too large" in failure.value.sentence


async def test_memory_is_bounded(tmp_path: Path, base: PythonBase) -> None:
    builds = Builds(tmp_path, base, memory_bytes=1024 * MIB)
    with pytest.raises(BuildFailure, match=r"MemoryError|more memory"):
        await builds.found("""
            kept = []
            while True:
                kept.append(bytes(16 << 20))
        """)


async def test_cancelling_ends_every_process(builds: Builds) -> None:
    make_sdist(builds.packages, "hostile", "1.0", "import time; time.sleep(600)")
    lock = await builds.lock("hostile")
    running = asyncio.create_task(builds.site(lock))
    for _ in range(200):
        await asyncio.sleep(0.1)
        if any("building" in line for line in builds.lines):
            break
    await asyncio.sleep(1)
    assert processes_in(builds.folder)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert not processes_in(builds.folder)


async def test_a_link_among_the_outputs_leads_nowhere(builds: Builds) -> None:
    with pytest.raises(BuildFailure, match="did not leave a wheel"):
        await builds.found("""
            import os
            os.symlink("/etc/shadow", "/build/out/hostile-1.0-py3-none-any.whl.tmp")
            os.rename("/build/out/hostile-1.0-py3-none-any.whl.tmp", "/build/out/hostile-1.0-py2-none-any.whl")
        """)


async def test_a_value_does_not_get_into_an_image(builds: Builds) -> None:
    make_wheel(builds.packages, "leaky", "1.0", files={"leaky.py": "token = 's3cret-value'\n"})
    lock = await builds.lock("leaky==${VERSION}", build_env={"VERSION": "1.0", "TOKEN": "s3cret-value"})
    with pytest.raises(BuildFailure, match=r"holds the value of \$\{TOKEN\}") as failure:
        await builds.site(lock, {"VERSION": "1.0", "TOKEN": "s3cret-value"})
    shown = [failure.value.sentence, failure.value.hint, *builds.lines, lock.text, lock.to_json()]
    assert not any("s3cret-value" in text for text in shown)


async def test_two_installations_give_equal_bytes(builds: Builds, tmp_path: Path) -> None:
    make_sdist(builds.packages, "from-source", "1.0", "found.extend({'a', 'b', 'c'})")
    make_wheel(builds.packages, "tool", "1.0", scripts={"tool": "tool:main"})
    lock = await builds.lock("from-source", "tool")
    other = PackageRules(tmp_path / "other", index_url=NO_INDEX, find_links=builds.packages)
    first, second = await builds.site(lock), await builds.site(lock, rules=other)
    assert _bytes(first) == _bytes(second)
    assert (first / "bin/tool").read_text().startswith("#!/usr/bin/python3.11\n")
    assert not list(first.rglob("*.pyc"))
    assert not list(first.rglob("direct_url.json"))


def _bytes(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


async def test_one_builds_wheels_serve_the_next(builds: Builds) -> None:
    make_sdist(builds.packages, "from-source", "1.0")
    lock = await builds.lock("from-source")
    await builds.site(lock)
    assert "from-source 1.0: built before" not in builds.lines
    await builds.site(lock)
    assert "from-source 1.0: built before" in builds.lines
