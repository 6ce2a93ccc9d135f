"""What is decided before anything is built for another platform than the hub's."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from palomar.contract.images import OCI_CONFIG, OCI_LAYER_GZIP, OCI_MANIFEST, ImageDigest
from palomar.server.builds import foreign
from palomar.server.builds.bases.values import Base, BasePlatform
from palomar.server.builds.builder import BuildFailure
from palomar.server.builds.explain_failures import explain_source
from palomar.server.builds.foreign import python_of, runner_of, uv_platform, wanted_platforms
from palomar.server.builds.image_config import Platform
from palomar.server.builds.python_base import PythonBase
from palomar.server.registry.values import Descriptor


@pytest.fixture(autouse=True)
def on_amd64(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(foreign, "own_platform", lambda: "linux/amd64")


def platform(name: str, version: str = "3.11", libc: str = "glibc 2.36") -> BasePlatform:
    digest = ImageDigest.of_sha256(f"{len(name)}" * 64)
    one, other, third = (Descriptor(kind, digest, 1) for kind in (OCI_MANIFEST, OCI_CONFIG, OCI_LAYER_GZIP))
    python = f"/usr/{'local/' if 'arm' in name else ''}bin/python{version}"
    return BasePlatform(Platform.parse(name), one, other, (third,), (str(digest),), python, version, libc)


def base(*platforms: BasePlatform) -> Base:
    digest = ImageDigest.of_sha256("b" * 64)
    now = datetime(2024, 1, 1, tzinfo=UTC)
    return Base("b", "python:3.11", "r", digest, True, "3.11", "glibc 2.36", platforms, frozenset(), now)


AMD64, ARM64 = platform("linux/amd64"), platform("linux/arm64")


@pytest.mark.parametrize(
    ("name", "libc", "expected"),
    [
        ("linux/arm64", "glibc 2.36", "aarch64-manylinux_2_36"),
        ("linux/arm64", "glibc 2.29", "aarch64-manylinux_2_28"),
        ("linux/arm64", "glibc 2.17", "aarch64-manylinux_2_17"),
        ("linux/amd64", "glibc 2.41", "x86_64-manylinux_2_40"),
        ("linux/arm64", "musl", "aarch64-unknown-linux-musl"),
    ],
)
def test_uv_is_told_the_platform_and_its_c_library(name: str, libc: str, expected: str) -> None:
    assert uv_platform(name, libc) == expected


@pytest.mark.parametrize(
    ("name", "libc"),
    [
        ("linux/arm64", "glibc 2.12"),
        ("linux/arm64", "uclibc"),
        ("linux/s390x", "glibc 2.36"),
        ("linux/riscv64", "musl"),
    ],
)
def test_what_uv_does_not_know_is_refused(name: str, libc: str) -> None:
    with pytest.raises(BuildFailure, match=f"runs on linux/amd64 and cannot choose packages for {name} with {libc}"):
        uv_platform(name, libc)


def test_its_own_platform_runs_itself_and_uv_is_told_nothing() -> None:
    assert runner_of(base(AMD64, ARM64), AMD64) is AMD64
    python = python_of(AMD64, AMD64, Path("rootfs"))
    assert python == PythonBase(Path("rootfs"), "/usr/bin/python3.11", "3.11", "linux/amd64", "glibc 2.36")
    assert python.uv_target() == ()


def test_another_one_is_made_on_the_hubs_own() -> None:
    assert runner_of(base(AMD64, ARM64), ARM64) is AMD64
    python = python_of(ARM64, AMD64, Path("rootfs"))
    assert (python.platform, python.runs_on, python.is_foreign) == ("linux/arm64", "linux/amd64", True)
    assert (python.python, python.image_python) == ("/usr/bin/python3.11", "/usr/local/bin/python3.11")
    assert python.uv_target() == ("--python-platform", "aarch64-manylinux_2_36")


def test_a_base_without_the_hubs_own_platform_is_refused() -> None:
    with pytest.raises(BuildFailure, match="for linux/arm64 on this hub takes a base image for linux/amd64 too"):
        runner_of(base(ARM64), ARM64)


def test_a_base_with_another_python_on_each_platform_is_refused() -> None:
    with pytest.raises(BuildFailure, match=r"Python 3\.11 on linux/arm64 and Python 3\.12 on linux/amd64"):
        runner_of(base(platform("linux/amd64", "3.12"), ARM64), ARM64)


def test_a_platform_that_the_base_lacks_is_named() -> None:
    assert wanted_platforms(base(AMD64, ARM64), ("linux/arm64", "linux/amd64")) == [ARM64, AMD64]
    for name in ("linux/riscv64", "what/is/this/now"):
        with pytest.raises(BuildFailure) as failure:
            wanted_platforms(base(AMD64, ARM64), ("linux/amd64", name))
        told = f"The base image python:3.11 is for linux/amd64 and linux/arm64, and not for {name}."
        assert failure.value.sentence == told
        assert f"--platform {name}" in failure.value.hint


def test_what_would_have_to_be_compiled_is_said_in_a_sentence() -> None:
    python = python_of(ARM64, AMD64, Path("rootfs"))
    output = ["error: Failed to build `fast==1.0`", "[stderr]", "error: command 'gcc' failed: No such file"]
    failure = explain_source(output, python, (), lambda _: "requirements.txt line 1 ('fast')")
    assert failure is not None
    assert failure.sentence == (
        "requirements.txt line 1 ('fast'): fast has no wheel for linux/arm64 and has to be compiled there; "
        "this hub runs on linux/amd64."
    )
