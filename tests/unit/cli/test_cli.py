from __future__ import annotations

import io
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from palomar.cli import main
from palomar.cli.front import COMMANDS, page_for

USER_ADD = ("admin", "user-add")
TOKEN_CREATE = ("admin", "token-create")


class Ran(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


Palomar = Callable[..., Ran]


@pytest.fixture
def palomar(
    tmp_path: Path, migrated_sqlite: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Palomar:
    """The command on a data folder of its own, without a terminal."""
    data = tmp_path / "data"
    data.mkdir()
    shutil.copy(migrated_sqlite, data / "palomar.sqlite")
    monkeypatch.setenv("PALOMAR_DATA", str(data))

    def call(*arguments: str, stdin: str = "") -> Ran:
        monkeypatch.setattr(sys, "argv", ["palomar", *arguments])
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capsys.readouterr()
        return Ran(int(ended.value.code or 0), captured.out, captured.err)

    return call


def test_help_names_every_command_and_imports_no_parser() -> None:
    code = "import sys; from palomar.cli import main; sys.argv = ['palomar', '--help']; main(); print(len(sys.modules))"
    code += "; assert not {'cyclopts', 'pydantic', 'sqlalchemy'} & set(sys.modules)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert all(f"  {name}" in ran.stdout for name in COMMANDS)


@pytest.mark.parametrize("arguments", [["serve"], ["admin", "--help"], ["--help", "serve"]])
def test_commands_are_left_to_the_parser(arguments: list[str]) -> None:
    assert page_for(arguments) is None


@pytest.mark.parametrize("command", [["serve"], ["worker"], ["admin"], ["admin", "user-add"]])
def test_every_command_explains_itself(palomar: Palomar, command: list[str]) -> None:
    ran = palomar(*command, "--help")
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.startswith(f"Usage: palomar {command[0]}")


def test_account_and_token(palomar: Palomar) -> None:
    added = palomar(*USER_ADD, "alice", "--email", "alice@example.org", "--password-stdin", stdin="correct horse\n")
    assert (added.returncode, added.stdout) == (0, "")
    assert "'alice'" in added.stderr
    created = palomar(*TOKEN_CREATE, "alice", "--days", "5", "--name", "ci")
    assert (created.returncode, created.stderr) == (0, "")
    token, end, rest = created.stdout.partition("\n")
    assert (token[:4], end, rest) == ("plm_", "\n", ""), "scripts take stdout for the token"


def test_without_terminal_and_password_the_account_has_none_and_that_is_said(palomar: Palomar) -> None:
    added = palomar(*USER_ADD, "alice")
    assert added.returncode == 0
    assert "no password" in added.stderr


@pytest.mark.parametrize(
    ("arguments", "stdin", "message"),
    [
        ([*USER_ADD, "alice"], "", "name taken: "),
        ([*USER_ADD, "Alice"], "", "bad name: "),
        ([*USER_ADD, "admin"], "", "bad name: "),
        ([*USER_ADD, "bob", "--password-stdin"], "short\n", "password: "),
        ([*USER_ADD, "bob", "--email", "nonsense"], "", "email: "),
        ([*TOKEN_CREATE, "nobody"], "", "not found: "),
        ([*TOKEN_CREATE, "alice", "--days", "0"], "", "days: "),
        (["admin", "import-legacy", "/nowhere/at/all"], "", "is no folder"),
        (["serve", "--port", "99999"], "", "PALOMAR_PORT"),
        (["nonsense"], "", "nonsense"),
    ],
)
def test_mistakes_are_told_in_a_sentence(palomar: Palomar, arguments: list[str], stdin: str, message: str) -> None:
    assert palomar(*USER_ADD, "alice").returncode == 0
    ran = palomar(*arguments, stdin=stdin)
    assert ran.returncode in {1, 2}
    assert ran.stdout == ""
    assert message in ran.stderr
    assert "Traceback" not in ran.stderr


@pytest.mark.parametrize("url", ["mysql://localhost/x", "rubbish", "postgresql://127.0.0.1:1/x"])
def test_unusable_database_is_told_in_a_sentence(palomar: Palomar, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PALOMAR_DATABASE_URL", url)
    ran = palomar(*USER_ADD, "alice")
    assert ran.returncode == 1
    assert ran.stderr.startswith("palomar: the database cannot be ")


def test_import_of_an_empty_folder_does_nothing(palomar: Palomar, tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    ran = palomar("admin", "import-legacy", str(tmp_path / "old"))
    assert (ran.returncode, ran.stdout) == (0, "")
