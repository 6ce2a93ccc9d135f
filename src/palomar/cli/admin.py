"""``palomar admin``: works on the database itself, with or without a running hub."""

from __future__ import annotations

import asyncio
import getpass
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from cyclopts import App, Parameter

from palomar.cli.app import UserMistake, say
from palomar.cli.front import COMMANDS
from palomar.cli.options import Data, load_settings
from palomar.contract.errors import PalomarError

if TYPE_CHECKING:
    from palomar.server.settings import Settings

app = App(name="admin", help=COMMANDS["admin"].summary)

Result = TypeVar("Result")


@app.command
def user_add(
    name: Annotated[str, Parameter(help="The account's name, and its namespace's.")],
    /,
    *,
    email: Annotated[str | None, Parameter(help="Where the person can be reached.")] = None,
    password_stdin: Annotated[bool, Parameter(help="Read the password from stdin.", negative=())] = False,
    data: Data = None,
) -> None:
    """Make an account and its namespace.

    On a terminal the password is asked for twice. Without terminal and --password-stdin the account has none and logs
    in by token alone.
    """
    settings = load_settings(data=data)
    password = _read_password(from_stdin=password_stdin)
    from palomar.server.accounts.administration import add_account

    _on_database(settings, lambda database: add_account(database, settings, name=name, password=password, email=email))
    if password is None:
        say(f"{name} has no password and logs in by token alone: palomar admin token-create {name}")
    say(f"Created account and namespace {name!r}.")


@app.command
def token_create(
    name: Annotated[str, Parameter(help="The account that the token speaks for.")],
    /,
    *,
    days: Annotated[int | None, Parameter(help="How long it is valid; 30 days without it.")] = None,
    label: Annotated[str | None, Parameter("--name", help="What the account's owner sees it as.")] = None,
    data: Data = None,
) -> None:
    """Make a personal access token and print it, and nothing else, on stdout."""
    settings = load_settings(data=data)
    from palomar.server.accounts.administration import add_token

    token = _on_database(
        settings, lambda database: add_token(database, settings, account_name=name, days=days, label=label)
    )
    sys.stdout.write(token + "\n")


@app.command
def import_legacy(
    folder: Annotated[Path, Parameter(help="Holds arrays/NAME.da, executors/NAME.zip and, optionally, legacy.json.")],
    /,
    *,
    data: Data = None,
) -> None:
    """Import old un-namespaced arrays and Executors. What is there already is left alone and reported."""
    if not folder.is_dir():
        raise UserMistake(f"{folder} is no folder")
    settings = load_settings(data=data)
    from palomar.server import admin

    failed = _on_database(settings, lambda database: admin.import_legacy(database, settings, folder))
    if failed:
        raise UserMistake(f"{failed} could not be imported; their lines say why")


def _read_password(*, from_stdin: bool) -> str | None:
    if from_stdin:
        return sys.stdin.readline().rstrip("\r\n")
    if not sys.stdin.isatty():
        return None
    password = getpass.getpass("Password: ")
    if getpass.getpass("Again: ") != password:
        raise UserMistake("the two passwords differ: nothing was changed")
    return password


def _on_database(settings: Settings, use: Callable[[Any], Awaitable[Result]]) -> Result:
    from sqlalchemy.exc import ArgumentError, OperationalError

    from palomar.server.accounts.administration import administered_database

    async def run() -> Result:
        async with administered_database(settings) as database:
            return await use(database)

    try:
        return asyncio.run(run())
    except PalomarError:
        raise
    except (ValueError, ArgumentError, OSError) as error:
        raise UserMistake(f"the database cannot be opened: {error}") from None
    except OperationalError as error:
        raise UserMistake(f"the database cannot be used: {error.orig}") from None
