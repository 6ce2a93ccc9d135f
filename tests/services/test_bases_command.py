"""``palomar admin base-add`` and its companions: facts on stdout, mistakes in one sentence with status 1."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from palomar.cli.app import run
from tests.factories.bases import tiny_layout

NAME = "docker.io/library/python:3.11-tiny"


def admin(tmp_path: Path, *arguments: str) -> int:
    return run(["admin", *arguments, "--data", str(tmp_path / "data")])


def test_what_was_added_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    layout = tiny_layout()
    source = str(layout.write(tmp_path / "layout"))
    assert admin(tmp_path, "base-add", source) == 0
    told = [
        f"  digest     {layout.manifests[0]['digest']}",
        "  platforms  linux/amd64",
        "  python     3.11",
        "  libc       glibc 2.36",
    ]
    assert capsys.readouterr().out.splitlines() == [f"{NAME} added (the default)", *told]
    assert admin(tmp_path, "base-add", source) == 0
    assert capsys.readouterr().out.splitlines() == [f"{NAME} is there already (the default)", *told]


def test_bases_are_listed_chosen_and_removed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("b", "a"):
        assert admin(tmp_path, "base-add", str(tiny_layout(f"{name}:1").write(tmp_path / name))) == 0
    capsys.readouterr()
    assert admin(tmp_path, "base-list") == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("docker.io/library/a:1 sha256:")
    assert second.endswith(" (the default)")
    assert admin(tmp_path, "base-default", "a:1") == 0
    assert capsys.readouterr().out == "docker.io/library/a:1 (the default)\n"
    assert admin(tmp_path, "base-remove", "b:1") == 0
    assert not capsys.readouterr().err
    assert admin(tmp_path, "base-remove", "a:1") == 0
    printed = capsys.readouterr()
    assert printed.out == "docker.io/library/a:1 removed\n"
    assert "no image is built now" in printed.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["base-add", "/absent.tar"], "there is no file or folder"),
        (["base-add", "layout", "--platform", "linux"], "is not a platform"),
        (["base-add", "layout", "--username", "bob"], "go together"),
        (["base-add", "layout", "--password-stdin"], "go together"),
        (["base-default", "absent:1"], "There is no base image 'absent:1'"),
        (["base-remove", "absent:1"], "There is no base image 'absent:1'"),
        (["base-remove", "A B"], "is not a reference"),
    ],
)
def test_mistakes_are_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], words: str
) -> None:
    assert admin(tmp_path, *arguments) == 1
    printed = capsys.readouterr()
    assert words in printed.err
    assert len(printed.err.splitlines()) == 1
    assert not printed.out


def test_one_platform_and_another_name_can_be_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = str(tiny_layout().write(tmp_path / "layout"))
    assert admin(tmp_path, "base-add", source, "--name", "mine/py", "--platform", "linux/amd64", "--default") == 0
    assert capsys.readouterr().out.startswith("docker.io/mine/py:latest added (the default)\n")
    assert admin(tmp_path, "base-add", source, "--platform", "linux/arm64") == 1
    assert "no image for linux/arm64" in capsys.readouterr().err


def test_a_password_is_read_from_stdin_and_told_to_nobody(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("open sesame\n"))
    assert admin(tmp_path, "base-add", "localhost:1/python:x", "--username", "bob", "--password-stdin") == 1
    printed = capsys.readouterr()
    assert "localhost:1 cannot be reached" in printed.err
    assert "sesame" not in printed.err + printed.out
