from __future__ import annotations

import hashlib
import io

import pytest

from palomar.contract.errors import BadPackage, InvalidInput, NoExecutorFound
from palomar.packages.limits import PackageLimits
from palomar.packages.package import PackageFile, read_package
from tests.unit.packages.zips import CONFIG, EXECUTOR, Raw, raw_zip, zipped

DOCKERFILE = b"FROM jinaai/jina:latest\n"
# What 'jina hub new' makes, and a little more.
FILES = {
    "requirements.txt": b"git+https://${TOKEN}@example.org/x.git\n?!\n",
    "executor.py": EXECUTOR,
    "README.md": b"# MyExecutor\r\n<script>alert(1)</script>\x00",
    "Dockerfile": DOCKERFILE,
    "config.yml": CONFIG,
    "docker/gpu.Dockerfile": b"FROM gpu\n",
}


def test_a_whole_package() -> None:
    data = zipped(FILES)
    package = read_package(io.BytesIO(data))
    assert package.files == tuple(PackageFile(name, len(content)) for name, content in FILES.items())
    assert (package.config.name, package.executor.name) == ("MyExecutor", "MyExecutor")
    assert package.executor.docstring == "Counts."
    assert [endpoint.name for endpoint in package.schema.endpoints] == ["/default"]
    assert package.readme == "# MyExecutor\n<script>alert(1)</script>\ufffd"
    assert package.dockerfile == DOCKERFILE.decode()
    assert package.needed_env == ("TOKEN",)
    assert package.warnings == ("requirements.txt line 2: '?!' is not understood",)
    assert (package.size, package.md5) == (len(data), hashlib.md5(data).hexdigest())  # noqa: S324
    assert package.sha256 == hashlib.sha256(data).hexdigest()


def test_the_same_bytes_give_the_same_result() -> None:
    data = zipped(FILES)
    assert read_package(io.BytesIO(data)) == read_package(io.BytesIO(data))


def test_the_least_package() -> None:
    package = read_package(io.BytesIO(zipped({"executor.py": EXECUTOR})))
    assert (package.readme, package.dockerfile, package.warnings, package.config.name) == (None, None, (), None)


@pytest.mark.parametrize("name", ["docker/gpu.Dockerfile", "./docker/gpu.Dockerfile"])
def test_another_dockerfile(name: str) -> None:
    assert read_package(io.BytesIO(zipped(FILES)), dockerfile=name).dockerfile == "FROM gpu\n"


@pytest.mark.parametrize("name", ["gone", "../Dockerfile", "/Dockerfile", "docker", ""])
def test_a_dockerfile_that_is_not_there(name: str) -> None:
    with pytest.raises(BadPackage) as caught:
        read_package(io.BytesIO(zipped(FILES)), dockerfile=name)
    assert caught.value.reason == f"there is no {name!r} in it, which was to be its Dockerfile"


@pytest.mark.parametrize("name", ["README.md", "readme.md", "README.rst", "Readme", "README.txt"])
def test_readmes(name: str) -> None:
    assert read_package(io.BytesIO(zipped({"a.py": EXECUTOR, name: b"hi"}))).readme == "hi"


def test_a_long_readme_is_cut() -> None:
    data = zipped({"a.py": EXECUTOR, "README.md": b"x" * 1000, "docs/README.md": b""})
    assert read_package(io.BytesIO(data), PackageLimits(max_readme_bytes=10)).readme == "x" * 10


def test_a_large_dockerfile_is_refused() -> None:
    data = zipped({"a.py": EXECUTOR, "Dockerfile": b"#" * 11})
    with pytest.raises(BadPackage, match="larger than 10 bytes"):
        read_package(io.BytesIO(data), PackageLimits(max_dockerfile_bytes=10))


def test_the_file_is_read_from_its_beginning_and_stays_open() -> None:
    file = io.BytesIO(zipped(FILES))
    file.seek(50)
    read_package(file)
    assert not file.closed


def test_errors_are_invalid_input_and_say_that_nothing_was_stored() -> None:
    with pytest.raises(InvalidInput) as caught:
        read_package(io.BytesIO(raw_zip(Raw(name=b"../x.py"))))
    assert str(caught.value) == (
        "The package cannot be accepted because of '../x.py': its name has the part '..', which leads elsewhere. "
        "Nothing was stored."
    )
    with pytest.raises(NoExecutorFound, match="The package cannot be accepted: looked for"):
        read_package(io.BytesIO(zipped({"README.md": b""})))
