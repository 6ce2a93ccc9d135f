"""The ``palomar`` command."""

from __future__ import annotations

import sys


def main() -> None:
    """Nothing is imported before it is needed: help and version answer at once."""
    from palomar.cli import front

    page = front.page_for(sys.argv[1:])
    if page is not None:
        sys.stdout.write(page)
        return
    from palomar.cli.app import run

    sys.exit(run(sys.argv[1:]))
