"""What changed between two releases of an Executor, and whether it breaks who uses it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Final, NamedTuple

from palomar.packages.schema import ExecutorSchema
from palomar.packages.signatures import Argument, Endpoint
from palomar.packages.text import bounded

_ANYTHING: Final = frozenset({"Any", "typing.Any", "object"})
_UNIONS: Final = frozenset({"Union", "typing.Union"})
_OPTIONALS: Final = frozenset({"Optional", "typing.Optional"})
_OPEN_ENDED: Final = frozenset({"var-positional", "var-keyword"})
_MAX_SHOWN: Final = 80


class Change(NamedTuple):
    """``kind`` is stable and for programs, ``what`` an argument or endpoint, ``words`` a sentence for a person."""

    kind: str
    what: str
    breaking: bool
    words: str


def compare(old: ExecutorSchema, new: ExecutorSchema) -> tuple[Change, ...]:
    """The changes that break something first, then in a fixed order."""
    changes = [*_argument_changes(old.arguments, new.arguments), *_endpoint_changes(old.endpoints, new.endpoints)]
    return tuple(sorted(changes, key=lambda change: not change.breaking))


# --- arguments ---------------------------------------------------------------------------------------------------


def _argument_changes(old: tuple[Argument, ...], new: tuple[Argument, ...]) -> Iterator[Change]:
    before, after = _named(old), _named(new)
    gone = [argument for name, argument in before.items() if name not in after]
    come = [argument for name, argument in after.items() if name not in before]
    for argument in gone:
        twin = next((other for other in come if other[1:] == argument[1:]), None)
        if twin is not None:
            come.remove(twin)
        yield _gone(argument, twin)
    for argument in come:
        yield _come(argument)
    for name, argument in before.items():
        if name in after:
            yield from _altered(argument, after[name])


def _named(arguments: tuple[Argument, ...]) -> dict[str, Argument]:
    return {argument.name: argument for argument in arguments if argument.kind not in _OPEN_ENDED}


def _gone(argument: Argument, twin: Argument | None) -> Change:
    if twin is None:
        return Change("argument-removed", argument.name, True, f"the argument {argument.name!r} is gone")
    words = f"the argument {argument.name!r} is now called {twin.name!r}"
    return Change("argument-renamed", argument.name, True, words)


def _come(argument: Argument) -> Change:
    words = f"the argument {argument.name!r} is new" + (" and must be given" if argument.required else "")
    return Change("argument-added", argument.name, argument.required, words)


def _altered(old: Argument, new: Argument) -> Iterator[Change]:
    name = old.name
    if old.required != new.required:
        words = f"the argument {name!r} {'must now' if new.required else 'need no longer'} be given"
        yield Change("argument-required" if new.required else "argument-optional", name, new.required, words)
    elif old.default != new.default:
        words = f"the default of {name!r} was {_shown(old.default)} and is {_shown(new.default)}"
        yield Change("default-changed", name, False, words)
    if old.annotation != new.annotation:
        words = f"the type of {name!r} was {_shown(old.annotation)} and is {_shown(new.annotation)}"
        yield Change("annotation-changed", name, not _is_widened(old.annotation, new.annotation), words)


def _shown(text: str | None) -> str:
    return "not given" if text is None else bounded(text, _MAX_SHOWN)


def _is_widened(old: str | None, new: str | None) -> bool:
    """Whether everything that was right before is right now. Where nothing was said, saying something forbids nothing:
    Python does not check annotations.
    """
    if old is None or new is None or new in _ANYTHING:
        return True
    return _alternatives(old) <= _alternatives(new)


def _alternatives(annotation: str) -> set[str]:
    """The members of a union, ``Optional`` or ``X | Y``; of anything else, itself."""
    try:
        return set(_members(ast.parse(annotation, mode="eval").body))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return {annotation}


def _members(node: ast.expr) -> Iterator[str]:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        yield from _members(node.left)
        yield from _members(node.right)
    elif isinstance(node, ast.Subscript) and ast.unparse(node.value) in _UNIONS | _OPTIONALS:
        inner = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        for member in inner:
            yield from _members(member)
        if ast.unparse(node.value) in _OPTIONALS:
            yield "None"
    else:
        yield ast.unparse(node)


# --- endpoints ---------------------------------------------------------------------------------------------------


def _endpoint_changes(old: tuple[Endpoint, ...], new: tuple[Endpoint, ...]) -> Iterator[Change]:
    before, after = _by_name(old), _by_name(new)
    for name, endpoint in before.items():
        if name not in after:
            yield Change("endpoint-removed", name, True, f"the endpoint {name} is gone")
        else:
            yield from _altered_endpoint(name, endpoint, after[name])
    for name in after:
        if name not in before:
            yield Change("endpoint-added", name, False, f"the endpoint {name} is new")


def _by_name(endpoints: tuple[Endpoint, ...]) -> dict[str, Endpoint]:
    """One whose name the source computes goes by its method."""
    return {endpoint.name or f"of {endpoint.method}()": endpoint for endpoint in endpoints}


def _altered_endpoint(name: str, old: Endpoint, new: Endpoint) -> Iterator[Change]:
    for kind, side, before, after in (
        ("input-changed", "takes", old.docs_in, new.docs_in),
        ("output-changed", "returns", old.docs_out, new.docs_out),
    ):
        if before != after:
            words = f"what the endpoint {name} {side} was {_shown(before)} and is {_shown(after)}"
            yield Change(kind, name, True, words)
    if old.is_generator != new.is_generator:
        words = f"the endpoint {name} {'now' if new.is_generator else 'no longer'} streams its answer"
        yield Change("streaming-changed", name, True, words)
