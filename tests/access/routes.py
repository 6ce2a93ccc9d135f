"""The hub's routes, flat: method and path, whatever they are mounted in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any


def every_route(routes: Iterable[Any], prefix: str = "") -> Iterator[str]:
    """``GET /path`` for each. Raises TypeError for a kind of route that is not known here: it might hide others."""
    for route in routes:
        if getattr(route, "methods", None):
            yield from (f"{method} {prefix}{route.path}" for method in sorted(route.methods - {"HEAD"}))
        elif hasattr(route, "original_router"):  # what FastAPI makes of `include_router`
            yield from every_route(route.original_router.routes, prefix + route.include_context.prefix)
        elif hasattr(route, "routes"):
            yield from every_route(route.routes, prefix + route.path)
        else:
            raise TypeError(f"{route!r} is a route of an unknown kind")
