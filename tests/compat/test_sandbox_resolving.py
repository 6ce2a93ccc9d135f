"""Resolving and installing from a real index on this machine, with the real uv in real sandboxes."""

from __future__ import annotations

import base64
import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from palomar.packages.requirements import Requirements, parse_line
from palomar.server.builds.builder import BuildFailure
from palomar.server.builds.install import SITE_PACKAGES, install
from palomar.server.builds.limits import SandboxLimits
from palomar.server.builds.lock import Lock
from palomar.server.builds.package_rules import PackageRules
from palomar.server.builds.partition import split
from palomar.server.builds.python_base import PythonBase
from palomar.server.builds.resolve import resolve
from palomar.server.builds.wanted import Wanted
from tests.factories.python_packages import make_jina, make_sdist, make_wheel
from tests.fixtures.package_index import local_index
from tests.fixtures.sandboxes import bookworm

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

PASSWORD = "t0ken-of-the-index"


class Index(BaseHTTPRequestHandler):
    """A package index (PEP 503) over a folder; what is below /private/ wants a password."""

    def __init__(self, folder: Path, seen: list[str], *arguments: object) -> None:
        self.folder = folder
        self.seen = seen
        super().__init__(*arguments)  # type: ignore[arg-type]

    def do_GET(self) -> None:
        self.seen.append(self.path)
        parts = self.path.strip("/").split("/")
        wanted = base64.b64encode(f"me:{PASSWORD}".encode()).decode()
        if parts[0] == "private" and self.headers.get("Authorization") != f"Basic {wanted}":
            self._reply(401, b"")
        elif parts[1] == "simple":
            self._listing(parts[0], parts[2])
        else:
            path = self.folder / parts[0] / parts[-1]
            self._reply(200, path.read_bytes()) if path.is_file() else self._reply(404, b"")

    def do_HEAD(self) -> None:
        self.do_GET()

    def _listing(self, place: str, name: str) -> None:
        files = [path for path in sorted((self.folder / place).iterdir()) if self._is_of(path, name)]
        links = [f'<a href="/{place}/files/{path.name}#sha256={self._digest(path)}">{path.name}</a>' for path in files]
        self._reply(200 if files else 404, ("<!DOCTYPE html><html><body>" + "\n".join(links)).encode(), "text/html")

    @staticmethod
    def _is_of(path: Path, name: str) -> bool:
        return path.name.partition("-")[0].replace("_", "-") == name

    def _digest(self, path: Path) -> str:
        return "0" * 64 if path.name.startswith("forged") else hashlib.sha256(path.read_bytes()).hexdigest()

    def _reply(self, status: int, body: bytes, kind: str = "application/octet-stream") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "max-age=600, public")
        if status == 401:
            self.send_header("WWW-Authenticate", 'Basic realm="x"')
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the library's
        pass


class Resolving:
    def __init__(self, folder: Path, port: int, base: PythonBase) -> None:
        self.folder = folder
        self.base = base
        self.public = folder / "index" / "public"
        self.private = folder / "index" / "private"
        self.private.mkdir(parents=True)
        make_jina(self.public)
        self.lines: list[str] = []
        self.port = port
        self.rules = PackageRules(
            folder / "cache",
            index_url=f"http://127.0.0.1:{port}/public/simple",
            index_hosts=(),
            limits=SandboxLimits(time_s=120),
        )
        self.count = 0

    def work(self) -> Path:
        self.count += 1
        folder = self.folder / f"work-{self.count}"
        folder.mkdir()
        return folder

    async def lock(self, *lines: str, **build_env: str) -> Lock:
        parsed = tuple(parse_line(text, file="requirements.txt", number=n) for n, text in enumerate(lines, 1))
        wanted = Wanted(Requirements(parsed), "3.34.0", "0.21.0", build_env)
        return await resolve(self.base, wanted, self.rules, self.lines.append, work=self.work())

    async def site(self, lock: Lock, **build_env: str) -> Path:
        part = lock.part(split(lock)[1], build_env)
        work = self.work()
        installed = await install(self.base, part, work / "root", self.rules, self.lines.append, work=work)
        return installed.root / SITE_PACKAGES

    async def failure(self, *lines: str, **build_env: str) -> BuildFailure:
        with pytest.raises(BuildFailure) as failure:
            await self.site(await self.lock(*lines, **build_env), **build_env)
        return failure.value


@pytest.fixture(scope="module")
def base() -> PythonBase:
    return bookworm()


@pytest.fixture
def seen() -> list[str]:
    return []


@pytest.fixture
def resolving(tmp_path: Path, base: PythonBase, seen: list[str]) -> Iterator[Resolving]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Index, tmp_path / "index", seen))
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield Resolving(tmp_path, server.server_address[1], base)
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


async def test_requirements_are_resolved_with_jina_and_the_default_constraints(resolving: Resolving) -> None:
    make_wheel(resolving.public, "own", "1.0", requires=("numpy", "extra"))
    make_wheel(resolving.public, "extra", "2.0")
    lock = await resolving.lock("own")
    versions = {pin.name: pin.version for pin in lock.pins}
    assert versions == {
        "docarray": "0.21.0",
        "extra": "2.0",
        "grpcio": "1.57.0",
        "jina": "3.34.0",
        "numpy": "1.26.4",
        "own": "1.0",
        "setuptools": "80.0.0",
    }
    assert lock.runtime == {"docarray", "grpcio", "jina", "numpy", "setuptools"}
    assert lock.text.count("--hash=sha256:") == 7
    site = await resolving.site(lock)
    assert sorted(path.name for path in site.glob("*.py")) == ["extra.py", "own.py"]


async def test_the_next_installation_downloads_nothing(resolving: Resolving, seen: list[str]) -> None:
    make_wheel(resolving.public, "own", "1.0")
    make_sdist(resolving.public, "from-source", "1.0")
    lock = await resolving.lock("own", "from-source")
    await resolving.site(lock)
    seen.clear()
    await resolving.site(lock)
    assert seen == []


async def test_a_private_package_is_fetched_and_its_password_is_nowhere(resolving: Resolving) -> None:
    make_wheel(resolving.private, "secretive", "1.0")
    address = f"http://me:${{TOKEN}}@127.0.0.1:{resolving.port}/private/files/secretive-1.0-py3-none-any.whl"
    lock = await resolving.lock(f"secretive @ {address}", TOKEN=PASSWORD)
    site = await resolving.site(lock, TOKEN=PASSWORD)
    assert (site / "secretive.py").is_file()
    assert not lock.is_shareable
    assert "${TOKEN}" in lock.text
    shown = [*resolving.lines, lock.text, lock.to_json(), *(_texts(site))]
    assert not [text for text in shown if PASSWORD in text]
    assert not [path for path in _files(resolving.rules.cache) if b"secretive" in path.read_bytes()]
    with pytest.raises(BuildFailure, match="refuses the request"):
        await resolving.site(lock, TOKEN="another")


async def test_a_private_index_is_used_and_its_password_is_nowhere(resolving: Resolving) -> None:
    make_wheel(resolving.private, "secretive", "1.0")
    line = f"--extra-index-url http://me:${{TOKEN}}@127.0.0.1:{resolving.port}/private/simple"
    lock = await resolving.lock(line, "secretive", TOKEN=PASSWORD)
    site = await resolving.site(lock, TOKEN=PASSWORD)
    assert (site / "secretive.py").is_file()
    shown = [*resolving.lines, lock.text, lock.to_json(), *(_texts(site))]
    assert not [text for text in shown if PASSWORD in text]


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def _texts(folder: Path) -> list[str]:
    return [path.read_text(errors="replace") for path in _files(folder)]


async def test_build_code_reaches_the_index_and_nothing_else(resolving: Resolving) -> None:
    make_sdist(
        resolving.public,
        "curious",
        "1.0",
        f"""
        import urllib.request
        for address in (
            "http://127.0.0.1:{resolving.port}/public/simple/numpy/",
            "http://127.0.0.1:5432/",
            "http://localhost:{resolving.port}/public/simple/numpy/",
            "https://example.org/",
        ):
            try:
                urllib.request.urlopen(address, timeout=5).read()
                found.append(address.split("/")[2])
            except OSError as error:
                found.append("403" in str(error))
        """,
    )
    site = await resolving.site(await resolving.lock("curious"))
    assert (site / "curious.py").read_text() == f"found = ['127.0.0.1:{resolving.port}', True, True, True]\n"


@pytest.mark.parametrize(
    ("lines", "sentence"),
    [
        (("numpy", "no-such-thing"), "requirements.txt line 2 ('no-such-thing'): there is no package named"),
        (("own==9.9",), "requirements.txt line 1 ('own==9.9'): there is no version own==9.9"),
        (("numpy>=2",), "requirements.txt line 1 ('numpy>=2') does not go with numpy<2"),
        (
            ("grpcio>=1.68",),
            "requirements.txt line 1 ('grpcio>=1.68') does not go with jina 3.34.0, which needs grpcio",
        ),
        (("own==1.0", "own==2.0"), "requirements.txt line 1 ('own==1.0') and requirements.txt line 2"),
        (("mac",), "requirements.txt line 1 ('mac'): mac"),
        (("later",), "requirements.txt line 1 ('later'): later"),
        (("broken",), "requirements.txt line 1 ('broken'): building broken from source failed: ValueError: on purpose"),
        (("compiled",), "requirements.txt line 1 ('compiled'): compiled must be built from source for Python 3.11"),
        (("forged",), "requirements.txt line 1 ('forged'): what the index serves for forged"),
    ],
)
async def test_a_failure_names_its_line(resolving: Resolving, lines: tuple[str, ...], sentence: str) -> None:
    for version in ("1.0", "2.0"):
        make_wheel(resolving.public, "own", version)
    make_wheel(resolving.public, "mac", "1.0", tag="cp311-cp311-macosx_12_0_arm64")
    make_wheel(resolving.public, "later", "1.0", requires_python=">=3.13")
    make_sdist(resolving.public, "broken", "1.0", "raise ValueError('on purpose')")
    make_sdist(
        resolving.public, "compiled", "1.0", "print(\"error: command 'gcc' failed: No such file\"); raise SystemExit(1)"
    )
    make_wheel(resolving.public, "forged", "1.0")
    failure = await resolving.failure(*lines)
    assert failure.sentence.startswith(sentence), failure.sentence
    assert failure.hint
    assert not failure.is_hubs_fault


async def test_an_index_that_is_away_is_the_hubs_matter(tmp_path: Path, base: PythonBase) -> None:
    resolving = Resolving(tmp_path, 9, base)
    failure = await resolving.failure("numpy")
    assert failure.sentence == "The package index on 127.0.0.1 cannot be reached."
    assert failure.is_hubs_fault


async def test_files_elsewhere_close_by_are_for_the_operator_to_allow(resolving: Resolving, tmp_path: Path) -> None:
    """The index names where its files are, and may not lead builds to whatever listens on the hub's own network."""
    make_wheel(resolving.public, "own", "1.0")
    with local_index() as index:
        links: dict[str, list[str]] = {}
        for path in sorted(resolving.public.iterdir()):
            url = f"http://127.0.0.1:{resolving.port}/public/files/{path.name}"
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            links.setdefault(path.name.partition("-")[0], []).append(f"{url}#sha256={digest}")
        for name, urls in links.items():
            index.links(*urls, path=f"/simple/{name}/")
        resolving.rules = replace(resolving.rules, index_url=index.url)
        failure = await resolving.failure("own")
        assert "127.0.0.1 refuses the request (403)" in failure.sentence
        hosts = (f"127.0.0.1:{resolving.port}",)
        resolving.rules = replace(resolving.rules, index_hosts=hosts, cache=tmp_path / "another")
        assert (await resolving.site(await resolving.lock("own")) / "own.py").is_file()


def test_users_without_rights_can_isolate_builds_too(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can become somebody else")
    argv = ["bwrap", "--unshare-all", "--unshare-user", "--disable-userns", "--cap-drop", "ALL", "--ro-bind", "/", "/"]
    done = subprocess.run(
        [*argv, "--proc", "/proc", "true"], user=65534, group=65534, extra_groups=[], cwd="/", check=False
    )
    assert done.returncode == 0
    assert sys.platform == "linux"
