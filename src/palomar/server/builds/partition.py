"""Which pins every Executor of one jina and docarray shares, and which belong to the package."""

from __future__ import annotations

from collections.abc import Iterable

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from palomar.server.builds.lock import Lock, Pin


def closure(pins: Iterable[Pin], roots: Iterable[str]) -> frozenset[str]:
    """The roots and whatever they ask for, directly or not.

    An extra that the package asks for (``jina[standard]``) counts as jina's own: uv does not tell them apart, and the
    layer that is shared by what it holds is another one then.
    """
    children: dict[str, list[str]] = {}
    present: set[str] = set()
    for pin in pins:
        present.add(pin.name)
        for parent in pin.via:
            children.setdefault(parent, []).append(pin.name)
    pending = [name for name in roots if name in present]
    found = set(pending)
    while pending:
        new = [name for name in children.get(pending.pop(), ()) if name not in found]
        found.update(new)
        pending.extend(new)
    return frozenset(found)


def roots(lines: Iterable[str]) -> tuple[str, ...]:
    """The names of requirement lines."""
    return tuple(canonicalize_name(Requirement(line).name) for line in lines)


def split(lock: Lock) -> tuple[tuple[Pin, ...], tuple[Pin, ...]]:
    """The runtime's pins, and the others; both in the order of the lock."""
    runtime = tuple(pin for pin in lock.pins if pin.name in lock.runtime)
    return runtime, tuple(pin for pin in lock.pins if pin.name not in lock.runtime)
