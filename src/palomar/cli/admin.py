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


@app.command
def collect(
    *,
    dry_run: Annotated[
        bool, Parameter(help="Only say what would go, and how long it would take.", negative=())
    ] = False,
    data: Data = None,
) -> None:
    """Remove stored bytes that nothing needs any more, as a running hub does by itself every hour.

    The hub may go on meanwhile. What was stored or used within PALOMAR_COLLECT_GRACE_S stays.
    """
    settings = load_settings(data=data)
    from palomar.server import admin

    _on_database(settings, lambda database: admin.collect(database, settings, is_dry_run=dry_run))


@app.command
def base_add(
    source: Annotated[str, Parameter(help="A folder (OCI layout), a tar (docker save, oci-archive) or a reference.")],
    /,
    *,
    name: Annotated[
        str | None, Parameter(help="What it is called, as python:3.11-slim; else what SOURCE says.")
    ] = None,
    default: Annotated[bool, Parameter(help="Build new images on it; so is the first one.", negative=())] = False,
    platform: Annotated[
        list[str] | None, Parameter(help="Only this one, as linux/amd64; can be repeated. Else all of Linux.")
    ] = None,
    username: Annotated[str | None, Parameter(help="At the registry that SOURCE names.")] = None,
    password_stdin: Annotated[bool, Parameter(help="Read the password from stdin.", negative=())] = False,
    data: Data = None,
) -> None:
    """Copy a base image into the hub, from this machine or from another registry.

    Give it again to bring it up to date. Images that were built on it before keep what they have.
    """
    if password_stdin != (username is not None):
        raise UserMistake("--username and --password-stdin go together")
    settings = load_settings(data=data)
    password = _read_password(from_stdin=True) if password_stdin else None
    from palomar.server import admin

    options = {"name": name, "is_default": default, "platforms": platform or [], "username": username}
    _on_database(settings, lambda database: admin.add_base(database, settings, source, password=password, **options))


@app.command
def base_list(*, data: Data = None) -> None:
    """Print the name and digest of every base image."""
    settings = load_settings(data=data)
    from palomar.server import admin

    _on_database(settings, admin.list_bases)


@app.command
def base_default(name: Annotated[str, Parameter(help="As base-list prints it.")], /, *, data: Data = None) -> None:
    """Build new images on another base image."""
    settings = load_settings(data=data)
    from palomar.server import admin

    _on_database(settings, lambda database: admin.set_default_base(database, name))


@app.command
def base_remove(name: Annotated[str, Parameter(help="As base-list prints it.")], /, *, data: Data = None) -> None:
    """Forget a base image. Images that were built on it keep what they have."""
    settings = load_settings(data=data)
    from palomar.server import admin

    if _on_database(settings, lambda database: admin.remove_base(database, name)):
        say("It was the default, so no image is built now: choose another one with palomar admin base-default NAME")


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
