"""What becomes of a folder that uv filled."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from palomar.server.builds.builder import BuildFailure
from palomar.server.builds.installed_tree import InstalledPackage, settle
from palomar.server.builds.masking import Masking


@pytest.fixture
def left(tmp_path: Path) -> Path:
    folder = tmp_path / "out"
    info = folder / "tool-1.0.dist-info"
    info.mkdir(parents=True)
    (folder / "tool.py").write_text("x = 1\n")
    (folder / "tool.pyc").write_bytes(b"compiled")
    (folder / "bin").mkdir()
    (folder / "bin/tool").write_text("#!/usr/bin/python3.11\n")
    (folder / "bin/tool").chmod(0o4775)
    (info / "METADATA").write_text(
        "Name: Tool\nVersion: 1.0\nLicense-Expression: MIT\nSummary: A tool\nRequires-Dist: b\nRequires-Dist: a\n\nText"
    )
    (info / "direct_url.json").write_text('{"url": "file:///build/tmp123/tool.whl"}')
    (info / "uv_cache.json").write_text('{"timestamp": 1}')
    (info / "REQUESTED").touch()
    rows = ["tool.py,,", "bin/tool,,", "tool.pyc,,", "tool-1.0.dist-info/direct_url.json,,", "../../etc/passwd,,"]
    (info / "RECORD").write_text("\n".join([*rows, "tool-1.0.dist-info/RECORD,,"]) + "\n")
    return folder


def test_what_tells_of_the_installation_is_gone(left: Path, tmp_path: Path) -> None:
    packages = settle(left, tmp_path / "site", Masking({}))
    assert packages == (InstalledPackage("tool", "1.0", "MIT", "A tool", ("a", "b")),)
    info = tmp_path / "site/tool-1.0.dist-info"
    assert sorted(path.name for path in info.iterdir()) == ["INSTALLER", "METADATA", "RECORD"]
    assert [row.split(",")[0] for row in (info / "RECORD").read_text().splitlines()] == [
        "bin/tool",
        "tool.py",
        "tool-1.0.dist-info/RECORD",
    ]
    assert "sha256=" in (info / "RECORD").read_text()


def test_modes_are_two(left: Path, tmp_path: Path) -> None:
    settle(left, tmp_path / "site", Masking({}))
    assert (tmp_path / "site/bin/tool").stat().st_mode & 0o7777 == 0o755
    assert (tmp_path / "site/tool.py").stat().st_mode & 0o7777 == 0o644


@pytest.mark.parametrize("kind", ["link", "pipe"])
def test_what_is_no_file_is_refused_unread(left: Path, tmp_path: Path, kind: str) -> None:
    if kind == "link":
        (left / "odd").symlink_to("/etc/passwd")
    else:
        os.mkfifo(left / "odd")
    with pytest.raises(BuildFailure, match="neither a file nor a folder"):
        settle(left, tmp_path / "site", Masking({}))


def test_a_value_in_a_file_is_found(left: Path, tmp_path: Path) -> None:
    (left / "tool.py").write_text("token = 'a-long-secret'\n")
    with pytest.raises(BuildFailure, match=r"\$\{TOKEN\}") as failure:
        settle(left, tmp_path / "site", Masking({"TOKEN": "a-long-secret"}))
    assert "a-long-secret" not in str(failure.value)
