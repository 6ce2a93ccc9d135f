"""The layer with an Executor's own files."""

from __future__ import annotations

import gzip
import io
import tarfile
from pathlib import Path

import pytest
import yaml

from palomar.contract.errors import BadPackage
from palomar.packages.limits import PackageLimits
from palomar.server.builds.package_layer import write_package_layer
from tests.unit.packages.zips import CONFIG, EXECUTOR, Raw, raw_zip, zipped

FACTS = {"class": "MyExecutor", "module": "executor.py"}


def contents(tmp_path: Path, package: bytes, **limits: int) -> dict[str, bytes]:
    target = tmp_path / "layer"
    write_package_layer(io.BytesIO(package), target, facts=FACTS, limits=PackageLimits(**limits))
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(target.read_bytes()))) as tar:
        return {member.name: tar.extractfile(member).read() for member in tar if member.isfile()}


def test_files_lie_in_the_workspace(tmp_path: Path) -> None:
    package = zipped({"config.yml": CONFIG, "executor.py": EXECUTOR, "data/": b"", "data/words.txt": b"a b"})
    assert contents(tmp_path, package) == {
        "workspace/config.yml": CONFIG,
        "workspace/executor.py": EXECUTOR,
        "workspace/data/words.txt": b"a b",
    }


def test_compiled_python_is_left_out(tmp_path: Path) -> None:
    compiled = {"__pycache__/executor.cpython-311.pyc": b"x", "a.pyc": b"x", "b/__pycache__/c.txt": b"x"}
    package = zipped({"config.yml": CONFIG, "executor.py": EXECUTOR, **compiled})
    assert contents(tmp_path, package).keys() == {"workspace/config.yml", "workspace/executor.py"}


def test_a_config_is_made_where_there_is_none(tmp_path: Path) -> None:
    made = contents(tmp_path, zipped({"executor.py": EXECUTOR}))["workspace/config.yml"]
    assert yaml.safe_load(made) == {"jtype": "MyExecutor", "py_modules": ["executor.py"]}


def test_a_config_with_the_other_ending_is_found_by_the_entry_point(tmp_path: Path) -> None:
    found = contents(tmp_path, zipped({"config.yaml": CONFIG, "executor.py": EXECUTOR}))
    assert found["workspace/config.yml"] == found["workspace/config.yaml"] == CONFIG


def test_equal_packages_give_equal_layers_whatever_their_zip_looks_like(tmp_path: Path) -> None:
    files = {"config.yml": CONFIG, "executor.py": EXECUTOR}
    layers = {
        write_package_layer(io.BytesIO(zipped(order, method)), tmp_path / "layer", facts=FACTS)
        for order in (files, dict(reversed(files.items())))
        for method in (0, 8)
    }
    assert len(layers) == 1


def test_a_package_is_checked_once_more(tmp_path: Path) -> None:
    with pytest.raises(BadPackage, match="leads elsewhere"):
        contents(tmp_path, raw_zip(Raw(name=b"../executor.py")))
    with pytest.raises(BadPackage, match="unpacks to more"):
        contents(tmp_path, zipped({"executor.py": EXECUTOR}), max_unpacked_bytes=10)
