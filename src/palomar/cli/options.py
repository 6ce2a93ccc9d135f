"""Options that commands share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from palomar.cli.app import UserMistake

if TYPE_CHECKING:
    from palomar.server.settings import Settings

Data = Annotated[
    Path | None, Parameter("--data", help="Folder of everything the hub keeps; PALOMAR_DATA, or ./data, without it.")
]


def load_settings(**given: Any) -> Settings:
    """What was given on the command line, over environment, file and defaults."""
    from pydantic import ValidationError

    from palomar.server.settings import Settings

    try:
        return Settings(**{name: value for name, value in given.items() if value is not None})
    except ValidationError as error:
        first = error.errors()[0]
        name = "_".join(str(part) for part in first["loc"]).upper()
        raise UserMistake(f"PALOMAR_{name}: {first['msg'].removeprefix('Value error, ')}") from None
