"""Container tools, unmodified, against a live hub."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

import pytest

from tests.compat.conftest import ActorFactory
from tests.compat.container_tools import Tools, need, write_layout
from tools.live_hub import LiveHub

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture
def run_root() -> Iterator[Path]:
    with TemporaryDirectory(prefix="plm-") as folder:
        yield Path(folder)


@pytest.fixture
def tools(module_hub: LiveHub, tokens: dict[str, str], tmp_path: Path, run_root: Path) -> Tools:
    """Alice's, who has logged in with a token and a user name of no meaning."""
    need("skopeo")
    tools = Tools(module_hub, tmp_path / "alice", run_root)
    tools.login("skopeo", tokens["alice"])
    return tools


@pytest.fixture
def stranger(module_hub: LiveHub, tokens: dict[str, str], tmp_path: Path, run_root: Path) -> Tools:
    need("skopeo")
    tools = Tools(module_hub, tmp_path / "bob", run_root)
    tools.login("skopeo", tokens["bob"])
    return tools


@pytest.fixture
def name() -> str:
    """A repository that no other test uses."""
    return f"alice/images-{uuid4().hex[:12]}"


# --- skopeo --------------------------------------------------------------------------------------------------------


def test_skopeo_copies_in_and_out_inspects_lists_and_deletes(tools: Tools, name: str, tmp_path: Path):
    digest = write_layout(tmp_path / "in", name)
    for tag in ("v1", "v2"):
        tools.copy_in(tmp_path / "in", f"{name}:{tag}")
    write_layout(tmp_path / "other", f"another {name}")
    tools.copy_in(tmp_path / "other", f"{name}:v3")
    remote = f"docker://{tools.host}/{name}"

    assert json.loads(tools.skopeo("inspect", "--tls-verify=false", f"{remote}:v1"))["Digest"] == digest
    assert json.loads(tools.skopeo("list-tags", "--tls-verify=false", remote))["Tags"] == ["v1", "v2", "v3"]

    tools.copy_out(f"{name}:v1", tmp_path / "out")
    copied = {path.name: path.read_bytes() for path in (tmp_path / "out" / "blobs" / "sha256").iterdir()}
    pushed = {path.name: path.read_bytes() for path in (tmp_path / "in" / "blobs" / "sha256").iterdir()}
    assert copied == pushed

    tools.skopeo("delete", "--tls-verify=false", f"{remote}:v1")
    assert json.loads(tools.skopeo("list-tags", "--tls-verify=false", remote))["Tags"] == ["v3"]


def test_skopeo_copies_from_repository_to_repository_by_mounting(tools: Tools, name: str, tmp_path: Path):
    write_layout(tmp_path / "in", name)
    tools.copy_in(tmp_path / "in", f"{name}:v1")
    source, target = f"docker://{tools.host}/{name}:v1", f"docker://{tools.host}/{name}-copy:v1"
    tools.skopeo("copy", "--src-tls-verify=false", "--dest-tls-verify=false", source, target)
    mounted = [
        entry
        for line in tools.hub.log.splitlines()
        if f"{name}-copy/blobs/uploads/" in line and '"status": 201' in line
        for entry in [json.loads(line)]
    ]
    assert any(entry["method"] == "POST" for entry in mounted)


def test_a_wrong_token_is_no_login(tools: Tools):
    told = tools.fail(
        "skopeo", "login", "--tls-verify=false", "-u", "alice", "--password-stdin", tools.host, stdin="plm_wrong"
    )
    assert "invalid username/password" in told


def test_a_stranger_is_told_that_the_namespace_is_not_theirs(stranger: Tools, name: str, tmp_path: Path):
    write_layout(tmp_path / "in", name)
    told = stranger.fail(
        "skopeo", "copy", "--dest-tls-verify=false", f"oci:{tmp_path / 'in'}:latest", f"docker://{stranger.host}/{name}"
    )
    assert "You may not push to" in told
    assert "yours is 'bob'" in told


def test_what_is_absent_is_so_for_a_stranger_and_asks_nobody_to_log_in(stranger: Tools, name: str):
    remote = f"docker://{stranger.host}/{name}:v1"
    assert "name unknown" in stranger.fail("skopeo", "inspect", "--tls-verify=false", remote)
    assert "unauthorized" in stranger.fail("skopeo", "inspect", "--tls-verify=false", "--no-creds", remote)


# --- the hubble credential helper ----------------------------------------------------------------------------------


@pytest.mark.parametrize("secret", ["token", "anonymous"])
def test_an_identity_token_pulls(tools: Tools, tokens: dict[str, str], name: str, tmp_path: Path, secret: str):
    """docker-credential-jina-hubble gives the user name '<token>', which clients exchange by POST."""
    digest = write_layout(tmp_path / "in", name)
    tools.copy_in(tmp_path / "in", f"{name}:v1")
    tools.use_helper("<token>", tokens["alice"] if secret == "token" else "anonymous")
    told = tools.skopeo("inspect", "--tls-verify=false", f"docker://{tools.host}/{name}:v1")
    assert json.loads(told)["Digest"] == digest
    assert '"method": "POST", "path": "/v2/token", "status": 200' in tools.hub.log
    if secret == "token":
        tools.copy_in(tmp_path / "in", f"{name}:v2")


# --- podman and buildah --------------------------------------------------------------------------------------------


def test_podman_pushes_and_pulls(tools: Tools, tokens: dict[str, str], name: str, tmp_path: Path):
    need("podman")
    write_layout(tmp_path / "in", name)
    tools.login("podman", tokens["alice"], user="alice")
    podman, remote = tools.storage("podman"), f"{tools.host}/{name}:v1"
    image = tools.do(*podman, "pull", "-q", f"oci:{tmp_path / 'in'}:latest").strip()
    tools.do(*podman, "push", "--tls-verify=false", image, remote)
    tools.do(*podman, "rmi", "-f", image)
    assert tools.do(*podman, "pull", "-q", "--tls-verify=false", remote).strip() == image
    tools.do(*podman, "rmi", "-af")


def test_podman_pushes_an_index(tools: Tools, name: str, tmp_path: Path):
    need("podman")
    digest = write_layout(tmp_path / "in", name)
    tools.copy_in(tmp_path / "in", f"{name}:v1")
    podman, remote = tools.storage("podman"), f"docker://{tools.host}/{name}"
    tools.do(*podman, "manifest", "create", "multi")
    tools.do(*podman, "manifest", "add", "--tls-verify=false", "multi", f"{remote}:v1")
    tools.do(*podman, "manifest", "push", "--tls-verify=false", "multi", f"{remote}:multi")
    index = json.loads(tools.skopeo("inspect", "--raw", "--tls-verify=false", f"{remote}:multi"))
    assert [one["digest"] for one in index["manifests"]] == [digest]


def test_buildah_pushes_and_pulls(tools: Tools, name: str):
    need("buildah")
    buildah, remote = tools.storage("buildah"), f"{tools.host}/{name}:v1"
    container = tools.do(*buildah, "from", "scratch").strip()
    tools.do(*buildah, "config", "--entrypoint", '["/file"]', container)
    image = tools.do(*buildah, "commit", "-q", container, "mine").strip()
    tools.do(*buildah, "push", "--tls-verify=false", "mine", remote)
    tools.do(*buildah, "rm", container)
    tools.do(*buildah, "rmi", "-f", image)
    assert tools.do(*buildah, "pull", "-q", "--tls-verify=false", remote).strip() == image


# --- oras ----------------------------------------------------------------------------------------------------------

ORAS = """
import os, sys
import oras.client
import oras.oci

host, name, token = sys.argv[1:4]
client = oras.client.OrasClient(hostname=host, insecure=True)
client.login(username="whoever", password=token, hostname=host)
target = f"{host}/{name}"
"""


def test_oras_pushes_pulls_attaches_and_discovers(actor: ActorFactory, tools: Tools, tokens: dict[str, str], name: str):
    """One client for all of it: it keeps its first token, and fetches another one when it is told to."""
    script = (
        ORAS
        + """
with open("notes.txt", "w") as file:
    file.write("some notes")
with open("large.bin", "wb") as file:
    file.write(os.urandom(300_000))
pushed = client.push(files=["notes.txt"], target=f"{target}:v1", manifest_annotations={"a": "b"})
client.push(files=["large.bin"], target=f"{target}:v2", do_chunked=True, chunk_size=100_000)
assert client.get_tags(target) == ["v1", "v2"], client.get_tags(target)
client.pull(target=f"{target}:v1", outdir="out")
client.pull(target=f"{target}:v2", outdir="out")
assert open("out/notes.txt").read() == "some notes"
assert open("out/large.bin", "rb").read() == open("large.bin", "rb").read()

digest = pushed.headers["Docker-Content-Digest"]
subject = oras.oci.Subject("application/vnd.oci.image.manifest.v1+json", digest, 1)
attached = client.push(files=["notes.txt"], target=f"{target}:note", subject=subject)
assert attached.headers["OCI-Subject"] == digest
found = client.do_request(f"http://{host}/v2/{name}/referrers/{digest}").json()["manifests"]
assert [one["digest"] for one in found] == [attached.headers["Docker-Content-Digest"]]

client.push(files=["notes.txt"], target=f"{target}-other:v1")
assert client.delete_tag(f"{target}:note", "note")
print("done")
"""
    )
    oras = actor(None, "oras")
    assert oras.do(script, tools.host, name, tokens["alice"]).rstrip().endswith("done")


def test_oras_may_not_push_to_another_s_namespace(actor: ActorFactory, tools: Tools, tokens: dict[str, str], name: str):
    script = (
        ORAS
        + """
with open("notes.txt", "w") as file:
    file.write("some notes")
client.push(files=["notes.txt"], target=f"{target}:v1")
"""
    )
    assert "You may not push to" in actor(None, "oras").fail(script, tools.host, name, tokens["bob"])
