"""The option parser's application, and how its failures are told: one sentence on stderr, never a traceback."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from cyclopts import App

from palomar.cli.front import ABOUT, COMMANDS, version
from palomar.contract.errors import PalomarError

app = App(name="palomar", help=ABOUT, version=version)
for _name, _command in COMMANDS.items():
    app.command(_command.target, name=_name, help=_command.summary)


class UserMistake(Exception):
    """What the person at the keyboard can put right; the message says how."""


def run(arguments: Sequence[str]) -> int:
    """The exit status."""
    try:
        app(list(arguments), result_action="return_value", exit_on_error=True)
    except PalomarError as error:
        return fail(f"{error.code.replace('-', ' ')}: {error.detail}")
    except UserMistake as error:
        return fail(str(error))
    except KeyboardInterrupt:
        return 130
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("palomar"):
            raise
        return fail(f"{error.name} is not installed: this command needs the server, pip install 'palomar[server]'")
    return 0


def fail(message: str) -> int:
    say(f"palomar: {message}")
    return 1


def say(message: str) -> None:
    """Talk goes to stderr, so that stdout holds nothing but data."""
    print(message, file=sys.stderr)  # noqa: T201 - this is what a command line does
