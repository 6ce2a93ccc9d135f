"""``palomar serve`` and ``palomar worker``."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from palomar.cli.options import Data, load_settings


def serve(
    *,
    host: Annotated[str | None, Parameter(help="Address to listen on; 127.0.0.1 without it.")] = None,
    port: Annotated[int | None, Parameter(help="Port to listen on; 8484 without it.")] = None,
    data: Data = None,
) -> None:
    """Run a hub on this machine."""
    from palomar.server.admin import serve as run_hub

    run_hub(load_settings(host=host, port=port, data=data))


def worker(*, data: Data = None) -> None:
    """Run background jobs only, beside a hub on the same database."""
    from palomar.server.admin import work

    work(load_settings(data=data))
