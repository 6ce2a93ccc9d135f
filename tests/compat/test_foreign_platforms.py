"""Images for another platform than the machine's: what is in them, and what there cannot be."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from palomar.contract.images import OCI_INDEX, OCI_MANIFEST
from palomar.server.builds.bases.administration import WantedBase, copy_base
from palomar.server.builds.models import Build
from palomar.server.builds.values import own_platform
from palomar.server.settings import Settings
from palomar.server.wiring import Hub
from tests.compat.workshop import Workshop
from tests.factories.bases import SYSTEM, Layout, config_of, tar
from tests.factories.python_packages import make_jina, make_sdist, make_wheel
from tests.services.building import log_of
from tests.services.executor_pushes import package
from tests.services.pushes import join_hub

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

SITE = "opt/palomar/site-packages/"
MACHINES = {"linux/amd64": "x86_64", "linux/arm64": "aarch64"}
OTHER = next(name for name in MACHINES if name != own_platform())
BOTH = ",".join(MACHINES)


def tag_for(platform: str) -> str:
    return f"cp311-cp311-manylinux_2_17_{MACHINES[platform]}"


def make_packages(folder: Path) -> None:
    """Native ones, one that asks for another on this platform alone, and sources that are and are not pure."""
    make_jina(folder)
    for platform, machine in MACHINES.items():
        make_wheel(folder, "native", "1.0", files={"native.py": f"{machine}\n"}, tag=tag_for(platform))
        make_wheel(folder, f"on-{machine}", "1.0")
    markers = tuple(f"on-{machine}; platform_machine == {machine!r}" for machine in MACHINES.values())
    make_wheel(folder, "marked", "1.0", requires=markers)
    make_wheel(folder, "here-only", "1.0", tag=tag_for(own_platform()))
    make_sdist(folder, "homemade", "1.0", "import sys; found.append(sys.version_info[:2])")
    make_sdist(folder, "impure", "1.0", tag=tag_for(own_platform()))
    make_sdist(folder, "compiled", "1.0", "print(\"error: command 'gcc' failed: No such file\"); raise SystemExit(1)")


def two_platforms(debian: Path, target: Path, python: str = "3.11") -> Path:
    """Debian for this machine, and for the other one some files, of which nothing could be run here."""
    shutil.copytree(debian, target)
    (real,) = json.loads((debian / "index.json").read_text())["manifests"]
    layout, layers = Layout(), [tar(SYSTEM), tar({f"usr/local/bin/python{python}": b"\x7fELF of another machine"})]
    architecture = OTHER.partition("/")[2]
    platform = {"os": "linux", "architecture": architecture}
    other = layout.image(*layers, config=config_of(layers, architecture=architecture), platform=platform)
    names = {"org.opencontainers.image.ref.name": "python:3.11"}
    layout.manifests.append(layout.index(other, real, annotations=names))
    return layout.write(target)


@pytest.fixture
def small_settings(settings: Settings, tmp_path: Path) -> Settings:
    make_packages(tmp_path / "packages")
    return settings.model_copy(update={"build_find_links": tmp_path / "packages"})


async def workshop_on(hub: Hub, base: Path) -> Workshop:
    scratch = hub.settings.data / "builds" / "bases"
    await copy_base(hub.registry.writer, WantedBase(str(base)), scratch=scratch)
    return Workshop(hub, await join_hub(hub))


@pytest.fixture
async def workshop(small_hub: Hub, debian_layout: Path, tmp_path: Path) -> Workshop:
    return await workshop_on(small_hub, two_platforms(debian_layout, tmp_path / "base"))


async def libraries(workshop: Workshop, build: Build, digest: str) -> dict[str, bytes]:
    """What is in the layers above the base, of one platform's manifest."""
    manifest = await workshop.manifest(build, digest)
    found: dict[str, bytes] = {}
    for layer in manifest["layers"][-3:]:
        found |= await workshop.files(build, layer)
    return found


async def test_each_platform_gets_its_own_files(workshop: Workshop) -> None:
    data = package(requirements_txt=b"native\nmarked\nhomemade\n")
    build = await workshop.build(data, platform=BOTH)
    index = await workshop.manifest(build)
    assert index["mediaType"] == OCI_INDEX
    named = {f"linux/{one['platform']['architecture']}": one for one in index["manifests"]}
    assert set(named) == set(MACHINES)
    for platform, machine in MACHINES.items():
        assert named[platform]["mediaType"] == OCI_MANIFEST
        files = await libraries(workshop, build, named[platform]["digest"])
        assert files[f"{SITE}native.py"] == f"{machine}\n".encode()
        others = {f"{SITE}on_{other}.py" for other in MACHINES.values()}
        assert others & set(files) == {f"{SITE}on_{machine}.py"}
        assert files[f"{SITE}homemade.py"] == b"found = [(3, 11)]\n"
        python = b"/usr/local/bin/python3.11" if platform == OTHER else b"/usr/bin/python3.11"
        assert files[f"{SITE}bin/jina"].startswith(b"#!" + python + b"\n")
        assert "workspace/executor.py" in files
        manifest = await workshop.manifest(build, named[platform]["digest"])
        config = json.loads(await workshop.blob(build, manifest["config"]))
        assert f"linux/{config['architecture']}" == platform
        assert len(config["rootfs"]["diff_ids"]) == len(manifest["layers"])


async def test_a_platform_built_before_is_found_again_and_is_the_same(workshop: Workshop) -> None:
    data = package(requirements_txt=b"native\nhomemade\n")
    built = await workshop.build(data, platform=BOTH)
    (there,) = [
        one for one in (await workshop.manifest(built))["manifests"] if one["platform"]["architecture"] in OTHER
    ]
    again = await workshop.build(data, platform=OTHER)
    manifest = await workshop.manifest(again)
    assert manifest["mediaType"] == OCI_MANIFEST
    told = await log_of(workshop.hub, again.id)
    assert sum("built before" in line for line in told) == 2
    anew = await workshop.build(data, platform=OTHER, no_cache=True)
    assert (await workshop.manifest(anew))["layers"] == manifest["layers"]
    assert (await workshop.manifest(built, there["digest"]))["layers"] == manifest["layers"]


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("impure", f"impure 1.0 has no wheel for {OTHER} and has to be compiled there; this hub runs on"),
        ("compiled", f"compiled has no wheel for {OTHER} and has to be compiled there; this hub runs on"),
        ("here-only", f"here-only==1.0 has no wheel for Python 3.11 on {OTHER}"),
    ],
)
async def test_what_has_nothing_for_the_platform_is_the_packages_matter(
    workshop: Workshop, line: str, sentence: str
) -> None:
    build = await workshop.build(package(requirements_txt=line.encode()), platform=OTHER)
    assert (build.state, build.is_hubs_fault) == ("failed", False)
    assert "line 1" in build.error
    assert sentence in build.error
    assert OTHER in build.hint or "base image" in build.hint


async def test_a_platform_that_the_base_lacks_is_named(workshop: Workshop) -> None:
    build = await workshop.build(package(), platform="linux/riscv64,linux/amd64")
    assert (build.state, build.is_hubs_fault) == ("failed", True)
    assert "linux/riscv64" in build.error


async def test_a_base_with_another_python_there_is_refused(small_hub: Hub, debian_layout: Path, tmp_path: Path) -> None:
    workshop = await workshop_on(small_hub, two_platforms(debian_layout, tmp_path / "base", "3.12"))
    build = await workshop.build(package(), platform=OTHER)
    assert (build.state, build.is_hubs_fault) == ("failed", True)
    assert f"Python 3.12 on {OTHER} and Python 3.11 on {own_platform()}" in build.error
    assert (await workshop.build(package())).state == "succeeded"
