"""Base images from another registry: a small real one, with a token service, that misbehaves when told to."""

from __future__ import annotations

import json
import threading
from base64 import b64encode
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from palomar.contract.errors import BadParameter
from palomar.contract.images import OCI_MANIFEST
from palomar.server.builds.bases.adding import AddedBase, Outcome
from palomar.server.builds.bases.administration import WantedBase, copy_base
from palomar.server.builds.bases.finding import list_bases
from palomar.server.builds.bases.sources.remote import RemoteSource
from palomar.server.wiring import Hub
from tests.factories.bases import Layout, config_of, sha256, tar, tiny_layout

SECRET = "open sesame"


class Registry(ThreadingHTTPServer):
    """Serves one image as python:tiny. ``before`` may answer a request itself; ``login`` is asked of everybody."""

    daemon_threads = True

    def __init__(self, layout: Layout) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.layout = layout
        self.login: str | None = None
        self.realm = f"http://{self.host}/token"
        self.before: Callable[[_Handler], bool] = lambda _: False
        self.seen: list[tuple[str, str | None]] = []

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: Registry

    def do_GET(self) -> None:
        authorisation = self.headers.get("Authorization")
        self.server.seen.append((self.path, authorisation))
        if self.server.before(self):
            return
        if self.path.startswith("/token"):
            self._token(authorisation)
        elif authorisation != "Bearer the-token":
            challenge = f'Bearer realm="{self.server.realm}",service="reg",scope="repository:python:pull"'
            self.answer(401, b"{}", **{"WWW-Authenticate": challenge})
        else:
            self._content()

    def _token(self, authorisation: str | None) -> None:
        assert parse_qs(urlsplit(self.path).query) == {"service": ["reg"], "scope": ["repository:python:pull"]}
        expected = self.server.login and "Basic " + b64encode(self.server.login.encode()).decode()
        if authorisation != expected:
            self.answer(401, b"{}")
        else:
            self.answer(200, json.dumps({"access_token": "the-token"}).encode())

    def _content(self) -> None:
        *_, name = self.path.split("/")
        root = self.server.layout.manifests[0]
        digest = root["digest"] if name == "tiny" else name
        if digest not in self.server.layout.blobs or not self.path.startswith("/v2/python/"):
            self.answer(404, b"{}")
        elif "/manifests/" in self.path:
            self.answer(200, self.server.layout.blobs[digest], **{"Content-Type": root["mediaType"]})
        else:
            self.answer(200, self.server.layout.blobs[digest])

    def answer(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for key, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def registry() -> Iterator[Registry]:
    with Registry(tiny_layout()) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


async def add(hub: Hub, source: str, **wanted: str) -> AddedBase:
    scratch = hub.settings.data / "builds" / "bases"
    return await copy_base(hub.registry.writer, WantedBase(source, **wanted), scratch=scratch)


async def refusal(hub: Hub, source: str, **wanted: str) -> str:
    with pytest.raises(BadParameter) as caught:
        await add(hub, source, **wanted)
    async with hub.database.read() as session:
        assert not await list_bases(session)
    assert "Traceback" not in caught.value.detail
    assert SECRET not in caught.value.detail
    return caught.value.detail


async def test_an_image_is_copied_by_tag_with_a_token_that_anybody_gets(small_hub: Hub, registry: Registry) -> None:
    added = await add(small_hub, f"{registry.host}/python:tiny")
    assert added.base.name == f"{registry.host}/python:tiny"
    assert added.base.digest == registry.layout.manifests[0]["digest"]
    assert sum("/token" in path for path, _ in registry.seen) == 1


async def test_what_is_known_already_is_not_fetched_again(small_hub: Hub, registry: Registry) -> None:
    await add(small_hub, f"docker://{registry.host}/python:tiny")
    registry.seen.clear()
    assert (await add(small_hub, f"{registry.host}/python:tiny")).outcome is Outcome.UNCHANGED
    fetched = {path.rpartition("/")[2] for path, _ in registry.seen if "/blobs/" in path}
    manifest = json.loads(registry.layout.blobs[registry.layout.manifests[0]["digest"]])
    assert fetched == {manifest["config"]["digest"]}


async def test_an_image_is_copied_by_digest(small_hub: Hub, registry: Registry) -> None:
    digest = registry.layout.manifests[0]["digest"]
    added = await add(small_hub, f"http://{registry.host}/python@{digest}", name="python:3.11")
    assert (added.base.name, added.base.digest) == ("docker.io/library/python:3.11", digest)


async def test_a_login_is_shown_to_the_token_service_alone(small_hub: Hub, registry: Registry) -> None:
    registry.login = f"bob:{SECRET}"
    refused = await refusal(small_hub, f"{registry.host}/python:tiny")
    assert "does not accept this login" in refused
    assert "does not accept" in await refusal(small_hub, f"{registry.host}/python:tiny", username="bob", password="no")
    registry.seen.clear()
    await add(small_hub, f"{registry.host}/python:tiny", username="bob", password=SECRET)
    assert all(told in {None, "Bearer the-token"} for path, told in registry.seen if "/token" not in path)


@pytest.mark.parametrize("realm", ["ftp://x/token", "/token", "", "file:///etc/passwd"])
async def test_a_token_service_that_is_none_gets_no_password(small_hub: Hub, registry: Registry, realm: str) -> None:
    registry.login, registry.realm = f"bob:{SECRET}", realm
    said = await refusal(small_hub, f"{registry.host}/python:tiny", username="bob", password=SECRET)
    assert "token service that is not on https://" in said


def test_a_password_that_came_by_tls_does_not_leave_without_it() -> None:
    with RemoteSource("registry.test/python:tiny") as source, pytest.raises(BadParameter, match="not on https://"):
        source._check_realm("http://registry.test/token")


async def test_a_basic_challenge_is_answered_too(small_hub: Hub, registry: Registry) -> None:
    expected = "Basic " + b64encode(f"bob:{SECRET}".encode()).decode()

    def before(handler: _Handler) -> bool:
        if handler.headers.get("Authorization") == expected:
            handler.headers.replace_header("Authorization", "Bearer the-token")
            handler._content()
        else:
            handler.answer(401, b"", **{"WWW-Authenticate": 'Basic realm="registry"'})
        return True

    registry.before = before
    assert "--username" in await refusal(small_hub, f"{registry.host}/python:tiny")
    await add(small_hub, f"{registry.host}/python:tiny", username="bob", password=SECRET)


async def test_a_redirect_to_another_host_does_not_take_the_token_along(small_hub: Hub, registry: Registry) -> None:
    layout = registry.layout
    with Registry(layout) as store:
        threading.Thread(target=store.serve_forever, kwargs={"poll_interval": 0.01}).start()

        def serve(handler: _Handler) -> bool:
            handler.answer(200, layout.blobs[handler.path[1:]])
            return True

        def redirect(handler: _Handler) -> bool:
            if "/blobs/" in handler.path and handler.headers.get("Authorization"):
                digest = handler.path.rpartition("/")[2]
                handler.answer(307, b"", Location=f"http://localhost:{store.server_address[1]}/{digest}")
                return True
            return False

        store.before, registry.before = serve, redirect
        await add(small_hub, f"{registry.host}/python:tiny")
        store.shutdown()
    assert len(store.seen) == 3
    assert {told for _, told in store.seen} == {None}


async def test_a_broken_connection_is_tried_again(small_hub: Hub, registry: Registry) -> None:
    broken: list[str] = []

    def before(handler: _Handler) -> bool:
        if "/blobs/" not in handler.path or handler.path in broken or not handler.headers.get("Authorization"):
            return False
        content = registry.layout.blobs[handler.path.rpartition("/")[2]]
        if content.startswith(b"{"):
            return False
        broken.append(handler.path)
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content[: len(content) // 2])
        handler.close_connection = True
        return True

    registry.before = before
    await add(small_hub, f"{registry.host}/python:tiny")
    assert len(broken) == 2


@pytest.mark.parametrize(
    ("status", "words"),
    [(403, "does not give"), (404, "has no"), (429, "fewer requests"), (500, "status 500"), (302, "status 302")],
)
async def test_refusals_of_the_registry_are_told_in_one_sentence(
    small_hub: Hub, registry: Registry, status: int, words: str
) -> None:
    def before(handler: _Handler) -> bool:
        handler.answer(status, b"<html>")
        return True

    registry.before = before
    assert words in await refusal(small_hub, f"{registry.host}/python:tiny")


async def test_what_is_not_there_is_told(small_hub: Hub, registry: Registry) -> None:
    assert "has no" in await refusal(small_hub, f"{registry.host}/python:absent")
    assert "has no" in await refusal(small_hub, f"{registry.host}/python@{sha256(b'')}")
    host = registry.host
    registry.shutdown()
    registry.server_close()
    assert "cannot be reached" in await refusal(small_hub, f"{host}/python:tiny")


async def test_another_image_than_the_one_asked_for_is_refused(small_hub: Hub, registry: Registry) -> None:
    asked, layout = sha256(b"asked"), registry.layout
    layout.blobs[asked] = layout.blobs[layout.manifests[0]["digest"]]
    assert "was not asked for" in await refusal(small_hub, f"{registry.host}/python@{asked}")


@pytest.mark.parametrize("media_type", ["text/html", "application/vnd.docker.distribution.manifest.v1+prettyjws", ""])
async def test_an_answer_that_is_no_image_is_refused(small_hub: Hub, registry: Registry, media_type: str) -> None:
    registry.layout.manifests[0]["mediaType"] = media_type
    assert "no image in a form that is known" in await refusal(small_hub, f"{registry.host}/python:tiny")


async def test_an_endless_answer_is_cut_off(small_hub: Hub, registry: Registry) -> None:
    layout = registry.layout
    digest = layout.manifests[0]["digest"]
    layout.blobs[digest] = layout.blobs[digest] + b" " * 5_000_000
    assert "is larger than" in await refusal(small_hub, f"{registry.host}/python:tiny")


async def test_layers_that_are_longer_than_announced_are_cut_off(small_hub: Hub, registry: Registry) -> None:
    layout = Layout()
    layer = tar({"a": b"x"})
    config = layout.blob(config_of([layer]), "application/vnd.oci.image.config.v1+json")
    short = {"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": sha256(layer), "size": 10}
    layout.blobs[sha256(layer)] = layer
    told = {"schemaVersion": 2, "config": config, "layers": [short]}
    layout.manifests.append(layout.blob(json.dumps(told).encode(), OCI_MANIFEST))
    registry.layout = layout
    assert "is larger than 10 bytes" in await refusal(small_hub, f"{registry.host}/python:tiny")


@pytest.mark.parametrize("source", ["docker://", "docker://a b", "https://host/UPPER:x", "http://host/a/../b:c"])
async def test_what_is_no_reference_is_refused(small_hub: Hub, source: str) -> None:
    assert "not a reference" in await refusal(small_hub, source)


def test_only_this_machine_is_spoken_to_without_tls(tmp_path: Path) -> None:
    urls = {}
    for address in (
        "localhost:5000/a:1",
        "[::1]:5000/a:1",
        "https://127.0.0.1/a:1",
        "reg.test/a:1",
        "http://reg.test/a:1",
        "a:1",
    ):
        with RemoteSource(address) as source:
            urls[address] = source._url
    assert urls == {
        "localhost:5000/a:1": "http://localhost:5000/v2/a",
        "[::1]:5000/a:1": "http://[::1]:5000/v2/a",
        "https://127.0.0.1/a:1": "https://127.0.0.1/v2/a",
        "reg.test/a:1": "https://reg.test/v2/a",
        "http://reg.test/a:1": "http://reg.test/v2/a",
        "a:1": "https://index.docker.io/v2/library/a",
    }
