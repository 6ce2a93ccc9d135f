"""``palomar admin import-legacy DIR``: data on stdout, talk on stderr, and an exit status that a script can trust."""

from __future__ import annotations

from pathlib import Path

import pytest

from palomar.cli.app import run
from tests.services.executor_pushes import package
from tests.services.pushes import documents
from tests.unit.documents.streams import stream

ENGLISH_AND_NOT = "straße"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "legacy" / "arrays").mkdir(parents=True)
    (tmp_path / "legacy" / "executors").mkdir()
    return tmp_path / "legacy"


def import_legacy(folder: Path) -> int:
    return run(["admin", "import-legacy", str(folder), "--data", str(folder.parent / "data")])


def test_one_line_says_what_became_of_each_array(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("digits", ENGLISH_AND_NOT):
        (folder / "arrays" / f"{name}.da").write_bytes(stream(documents(3)))
    assert import_legacy(folder) == 0
    assert capsys.readouterr().out.splitlines() == ["digits: imported", f"{ENGLISH_AND_NOT}: imported"]
    assert import_legacy(folder) == 0
    assert capsys.readouterr().out.splitlines() == ["digits: already there", f"{ENGLISH_AND_NOT}: already there"]


def test_executors_follow_the_arrays(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "arrays" / "digits.da").write_bytes(stream(documents(3)))
    (folder / "executors" / "Encoder.zip").write_bytes(package())
    (folder / "executors" / "Hostile.zip").write_bytes(b"PK")
    assert import_legacy(folder) == 1
    digits, encoder, hostile = capsys.readouterr().out.splitlines()
    assert (digits, encoder) == ("digits: imported", "Encoder: imported")
    assert hostile.startswith("Hostile: failed: The package cannot be accepted")
    assert import_legacy(folder) == 1
    assert "Encoder: already there" in capsys.readouterr().out


def test_a_failure_is_told_and_makes_the_status_1_at_the_end(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "arrays" / "broken.da").write_bytes(stream(documents(3))[:-1])
    (folder / "arrays" / "digits.da").write_bytes(stream(documents(3)))
    assert import_legacy(folder) == 1
    printed = capsys.readouterr()
    broken, digits = printed.out.splitlines()
    assert broken.startswith("broken: failed: The bytes are not a complete DocumentArray")
    assert digits == "digits: imported"
    assert "1 could not be imported" in printed.err


def test_what_is_not_imported_is_told_and_is_no_failure(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "arrays" / "notes.txt").write_bytes(b"")
    (folder / "legacy.json").write_text('{"arrays": {"missing": {}}, "executors": {"Absent": {}}}')
    assert import_legacy(folder) == 0
    printed = capsys.readouterr()
    assert not printed.out
    assert "names the Executor 'Absent'" in printed.err
    assert "'arrays/notes.txt'" in printed.err
    assert "names the array 'missing'" in printed.err


def test_a_catalogue_that_is_not_understood_imports_nothing(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "arrays" / "digits.da").write_bytes(stream(documents(3)))
    (folder / "legacy.json").write_text('{"arrays": {"digits": {"pubic": false}}}')
    assert import_legacy(folder) == 1
    printed = capsys.readouterr()
    assert not printed.out
    assert "arrays.digits.pubic" in printed.err


def test_a_folder_that_is_not_there_is_a_clear_mistake(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert import_legacy(folder / "absent") == 1
    assert "is no folder" in capsys.readouterr().err
