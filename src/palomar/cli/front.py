"""The front page of ``palomar``, printed without the option parser, whose import alone takes longer than all of this.

`COMMANDS` is also what the parser's application is made of, so the page cannot name what does not exist.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Command(NamedTuple):
    """``target`` is 'module:object', imported when the command is called."""

    summary: str
    target: str


COMMANDS = {
    "serve": Command("Run a hub on this machine.", "palomar.cli.processes:serve"),
    "worker": Command("Run background jobs only, beside a hub on the same database.", "palomar.cli.processes:worker"),
    "admin": Command("Accounts, tokens and imports, on the hub's database itself.", "palomar.cli.admin:app"),
}

ABOUT = "A hub that anyone can run: every user owns a namespace for DocumentArrays and Executors."


def page_for(arguments: Sequence[str]) -> str | None:
    """What is printed without further ado; None if a command is called."""
    if list(arguments) in ([], ["--help"], ["-h"]):
        return _help_page()
    if list(arguments) in (["--version"], ["-V"]):
        return version() + "\n"
    return None


def version() -> str:
    from importlib.metadata import version as installed_version

    return installed_version("palomar")


def _help_page() -> str:
    width = max(map(len, COMMANDS)) + 2
    rows = "".join(f"  {name:<{width}}{command.summary}\n" for name, command in COMMANDS.items())
    return (
        f"Usage: palomar COMMAND\n\n{ABOUT}\n\nCommands:\n{rows}\n"
        "Options:\n"
        f"  {'--help':<11}This page; 'palomar COMMAND --help' tells more.\n"
        f"  {'--version':<11}The installed version.\n\n"
        "Everything can also be set in the environment (PALOMAR_DATA, PALOMAR_PORT, ...) or in palomar.toml.\n"
    )
