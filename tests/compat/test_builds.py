"""Both real builders: what is in their images, that it is the same twice, and what they refuse."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from pathlib import Path

import pytest

from palomar.contract.images import ImageDigest
from palomar.server.builds.bases.administration import WantedBase, copy_base
from palomar.server.registry.find import FoundRepository
from palomar.server.registry.listing import list_referrers
from palomar.server.registry.writer import _found as found_repository
from palomar.server.settings import Settings
from palomar.server.wiring import Hub
from tests.compat.workshop import Workshop
from tests.factories.python_packages import make_jina, make_sdist
from tests.fixtures.environment import lacking
from tests.services.building import log_of
from tests.services.executor_pushes import package
from tests.services.pushes import join_hub

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

SECRET = "hunter2-and-more"
ENTRY = 'ENTRYPOINT ["jina","executor","--uses","config.yml"]\n'


@pytest.fixture
def small_settings(settings: Settings, tmp_path: Path) -> Settings:
    make_jina(tmp_path / "packages")
    make_sdist(tmp_path / "packages", "homemade", "1.0")
    more = {"build_find_links": tmp_path / "packages", "dockerfile_builds": "on"}
    return settings.model_copy(update=more)


@pytest.fixture(autouse=True)
def programs(request: pytest.FixtureRequest) -> None:
    """What the machine must have."""
    needed = ["bwrap", "buildah"] if "dockerfile" in request.node.name else ["bwrap"]
    for name in needed:
        if shutil.which(name) is None:
            lacking(f"{name} is not installed")
    if "buildah" in needed and os.geteuid() != 0:
        lacking("images of Dockerfiles are built by root alone")


@pytest.fixture
async def workshop(small_hub: Hub, debian_layout: Path) -> Workshop:
    scratch = small_hub.settings.data / "builds" / "bases"
    await copy_base(small_hub.registry.writer, WantedBase(str(debian_layout), "python:3.11"), scratch=scratch)
    return Workshop(small_hub, await join_hub(small_hub))


async def test_an_image_is_its_base_its_libraries_and_its_package(workshop: Workshop) -> None:
    build = await workshop.build(package(requirements_txt=b"homemade\n"))
    manifest = await workshop.manifest(build)
    *_, runtime, requirements, own = manifest["layers"]
    site = "opt/palomar/site-packages/"
    assert {f"{site}jina.py", f"{site}docarray.py", f"{site}bin/jina"} <= set(await workshop.files(build, runtime))
    assert f"{site}homemade.py" in await workshop.files(build, requirements)
    assert {"workspace/config.yml", "workspace/executor.py"} <= set(await workshop.files(build, own))
    config = json.loads(await workshop.blob(build, manifest["config"]))
    assert config["config"]["Entrypoint"] == ["jina", "executor", "--uses", "config.yml"]
    assert config["config"]["WorkingDir"] == "/workspace"
    assert len(config["rootfs"]["diff_ids"]) == len(manifest["layers"])


async def test_lock_sbom_and_provenance_are_beside_it(workshop: Workshop) -> None:
    build = await workshop.build(package())
    await workshop.manifest(build)
    async with workshop.hub.database.read() as session:
        repository: FoundRepository = await found_repository(session, str(build.repository_id))
        listed = (await list_referrers(session, repository, ImageDigest(str(build.manifest_digest)))).descriptors
    assert {one["artifactType"] for one in listed} == {
        "application/vnd.cyclonedx+json",
        "application/vnd.in-toto+json",
        "application/vnd.palomar.lock.v1+text",
    }


async def test_what_is_built_twice_is_the_same_with_the_cache_and_without(workshop: Workshop) -> None:
    data = package(requirements_txt=b"homemade\n")
    first = await workshop.build(data)
    second = await workshop.build(data, no_cache=True)
    one, other = await workshop.manifest(first), await workshop.manifest(second)
    assert one["layers"] == other["layers"]
    third = await workshop.build(data)
    assert (await workshop.manifest(third))["layers"] == one["layers"]
    told = await log_of(workshop.hub, third.id)
    assert any("resolved before" in line for line in told)
    assert sum("built before" in line for line in told) == 2


async def test_what_cannot_be_resolved_is_the_packages_fault_with_its_line(workshop: Workshop) -> None:
    build = await workshop.build(package(requirements_txt=b"# first\nno-such-package==1\n"))
    assert (build.state, build.is_hubs_fault) == ("failed", False)
    assert "line 2" in build.error
    assert "no-such-package" in build.error
    assert build.hint


# --- Dockerfiles ---------------------------------------------------------------------------------------------------


async def test_a_dockerfile_is_built_on_a_base_image_of_the_hub(workshop: Workshop) -> None:
    text = (
        "ARG PYTHON=3.11\nFROM python:${PYTHON}\nARG JINA_VERSION\nARG TOKEN\nCOPY . /workspace\nWORKDIR /workspace\n"
        'RUN echo jina $JINA_VERSION > /made && test -n "$TOKEN" && ! ls /dev/vda /dev/sda\n'
    )
    data = package(Dockerfile=(text + ENTRY).encode())
    build = await workshop.build(data, build_env={"TOKEN": SECRET})
    manifest = await workshop.manifest(build)
    assert build.builder == "buildah"
    last = await workshop.files(build, manifest["layers"][-1])
    assert last["made"] == b"jina 3.34.0\n"
    assert "workspace/executor.py" in last
    told = [
        await workshop.blob(build, manifest["config"]),
        *(line.encode() for line in await log_of(workshop.hub, build.id)),
    ]
    assert not any(SECRET.encode() in text for text in told)


async def test_a_dockerfile_reaches_no_network_and_nothing_of_the_hub(workshop: Workshop, tmp_path: Path) -> None:
    server = await asyncio.start_server(lambda _reader, writer: writer.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    probe = f"import socket; socket.create_connection((chr(49)+'27.0.0.1', {port}), 2)"
    text = f'FROM python:3.11\nRUN ! python3 -c "{probe}" && ! ls {tmp_path}\n'
    build = await workshop.build(package(Dockerfile=(text + ENTRY).encode()))
    server.close()
    await workshop.manifest(build)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("FROM nobody/has:this\n" + ENTRY, "'nobody/has:this'"),
        ("FROM python:3.11\nRUN false\n" + ENTRY, "could not be built"),
        ("FROM python:3.11\nCMD true\n", "ENTRYPOINT"),
        (f"FROM python:3.11\nARG TOKEN\nENV KEPT=$TOKEN\n{ENTRY}", "the value of TOKEN"),
    ],
)
async def test_what_a_dockerfile_may_not_is_said_in_a_sentence(workshop: Workshop, text: str, said: str) -> None:
    build = await workshop.build(package(Dockerfile=text.encode()), build_env={"TOKEN": SECRET})
    assert (build.state, build.is_hubs_fault) == ("failed", False)
    assert said in build.error
    assert SECRET not in build.error
    assert build.hint
    assert list((workshop.hub.settings.data / "builds" / "work").iterdir()) == []
