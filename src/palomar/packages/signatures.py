"""Arguments and endpoints of an Executor class, from its syntax tree."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Final, NamedTuple

from palomar.contract.errors import BadPackage
from palomar.packages.syntax import External, LocalClass, Module, Sources, dotted_name, top_level
from palomar.packages.text import bounded, clean

#: What a handler without ``on=`` serves: every endpoint that no other handler names.
DEFAULT_ENDPOINT: Final = "/default"

#: One list of names can repeat a handler any number of times; a schema must stay small enough to be stored and shown.
MAX_ENDPOINTS: Final = 200
MAX_ARGUMENTS: Final = 100

_MAX_EXPRESSION: Final = 500
_MAX_CLASS_DOCSTRING: Final = 10_000
_MAX_DOCSTRING: Final = 2_000
_UNREADABLE: Final = "…"
_Function = ast.FunctionDef | ast.AsyncFunctionDef


class Argument(NamedTuple):
    """``kind`` is positional, keyword, either, var-positional or var-keyword.

    ``annotation`` and ``default`` are Python source; None where there is none.
    """

    name: str
    annotation: str | None = None
    default: str | None = None
    kind: str = "either"
    required: bool = False


class Endpoint(NamedTuple):
    """``name`` is None where the source computes it; ``parameters`` are the method's, without ``self``.

    ``docs_in`` and ``docs_out`` are types as the source writes them; None where it does not say.
    """

    name: str | None
    method: str
    parameters: tuple[Argument, ...] = ()
    docs_in: str | None = None
    docs_out: str | None = None
    docstring: str | None = None
    is_async: bool = False
    is_generator: bool = False


def docstring_of(node: ast.ClassDef | _Function) -> str | None:
    found = ast.get_docstring(node)
    length = _MAX_CLASS_DOCSTRING if isinstance(node, ast.ClassDef) else _MAX_DOCSTRING
    return bounded(clean(found), length) if found else None


def source_of(node: ast.expr | None) -> str | None:
    """An expression as one line of source, shortened when it is long."""
    if node is None:
        return None
    try:
        text = ast.unparse(node)
    except (RecursionError, ValueError):
        return _UNREADABLE
    return bounded(clean(text), _MAX_EXPRESSION)


def _annotation(node: ast.expr | None) -> str | None:
    """An annotation; one in quotes means the same as one without."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return bounded(clean(node.value.strip()), _MAX_EXPRESSION)
    return source_of(node)


# --- arguments ---------------------------------------------------------------------------------------------------


def init_arguments(lineage: Sequence[LocalClass], sources: Sources) -> tuple[Argument, ...]:
    """Of the first class that has any: ``__init__``, or the fields of a dataclass."""
    for found in lineage:
        init = next((node for node in _functions(found.node) if node.name == "__init__"), None)
        if init is not None:
            return arguments_of(found.module, init)
        if _is_dataclass(found, sources):
            return tuple(islice(_fields(found.node), MAX_ARGUMENTS))
    return ()


def arguments_of(module: Module, function: _Function) -> tuple[Argument, ...]:
    """In the order of the signature, without the first, which is ``self``."""
    found = tuple(islice(_arguments(function.args), MAX_ARGUMENTS + 2))[1:]
    if len(found) > MAX_ARGUMENTS:
        raise BadPackage(f"line {function.lineno}: it has more than {MAX_ARGUMENTS} arguments", module.path)
    return found


def _arguments(signature: ast.arguments) -> Iterator[Argument]:
    positional = [*signature.posonlyargs, *signature.args]
    missing: list[ast.expr | None] = [None] * (len(positional) - len(signature.defaults))
    for number, (node, default) in enumerate(zip(positional, [*missing, *signature.defaults], strict=True)):
        yield _argument(node, default, "positional" if number < len(signature.posonlyargs) else "either")
    if signature.vararg:
        yield _rest(signature.vararg, "var-positional")
    for node, default in zip(signature.kwonlyargs, signature.kw_defaults, strict=True):
        yield _argument(node, default, "keyword")
    if signature.kwarg:
        yield _rest(signature.kwarg, "var-keyword")


def _argument(node: ast.arg, default: ast.expr | None, kind: str) -> Argument:
    return Argument(node.arg, _annotation(node.annotation), source_of(default), kind, required=default is None)


def _rest(node: ast.arg, kind: str) -> Argument:
    return Argument(node.arg, _annotation(node.annotation), None, kind)


def _is_dataclass(found: LocalClass, sources: Sources) -> bool:
    return any(_means(found.module, _called(node), sources) == "dataclasses.dataclass" for node in _decorators(found))


def _decorators(found: LocalClass) -> list[ast.expr]:
    return found.node.decorator_list


def _fields(node: ast.ClassDef) -> Iterator[Argument]:
    for statement in top_level(node.body):
        if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
            annotation = _annotation(statement.annotation)
            if annotation and "ClassVar" not in annotation:
                default = source_of(statement.value)
                yield Argument(statement.target.id, annotation, default, "either", required=default is None)


# --- endpoints ---------------------------------------------------------------------------------------------------


def endpoints_of(lineage: Sequence[LocalClass], sources: Sources) -> tuple[Endpoint, ...]:
    """Of the class and of its bases in the package; where two have one name, the class's own."""
    found: dict[tuple[str | None, str], Endpoint] = {}
    for owner in lineage:
        for function in _functions(owner.node):
            for endpoint in _endpoints(owner.module, function, sources):
                found.setdefault((endpoint.name, endpoint.method if endpoint.name is None else ""), endpoint)
                if len(found) > MAX_ENDPOINTS:
                    raise BadPackage(f"its Executor has more than {MAX_ENDPOINTS} endpoints", owner.module.path)
    return tuple(sorted(found.values(), key=lambda endpoint: (endpoint.name is None, endpoint.name, endpoint.method)))


def _functions(node: ast.ClassDef) -> Iterator[_Function]:
    return (statement for statement in top_level(node.body) if isinstance(statement, _Function))


def _endpoints(module: Module, function: _Function, sources: Sources) -> Iterator[Endpoint]:
    for decorator in function.decorator_list:
        if _is_requests(_means(module, _called(decorator), sources)):
            options = _options(decorator)
            for name in _names(module, options.get("on")):
                yield _endpoint(module, name, function, options)


def _is_requests(meaning: str | None) -> bool:
    return meaning is not None and meaning.startswith("jina.") and meaning.endswith(".requests")


def _called(decorator: ast.expr) -> ast.expr:
    return decorator.func if isinstance(decorator, ast.Call) else decorator


def _means(module: Module, node: ast.expr, sources: Sources) -> str | None:
    dotted = dotted_name(node)
    found = sources.lookup(module, dotted) if dotted else None
    return found.dotted if isinstance(found, External) else None


def _options(decorator: ast.expr) -> dict[str, ast.expr]:
    keywords = decorator.keywords if isinstance(decorator, ast.Call) else []
    return {keyword.arg or "on": keyword.value for keyword in keywords}


def _names(module: Module, on: ast.expr | None) -> list[str | None]:
    if on is None or (isinstance(on, ast.Constant) and on.value is None):
        return [DEFAULT_ENDPOINT]
    if isinstance(on, ast.List | ast.Tuple | ast.Set):
        return [_name(module, node) for node in on.elts]
    if isinstance(on, ast.Dict):
        return [_name(module, node) for node in on.keys]
    return [_name(module, on)]


def _name(module: Module, node: ast.expr | None) -> str | None:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return bounded(clean(node.value), _MAX_EXPRESSION)
    if isinstance(node, ast.Name) and node.id in module.texts:
        return bounded(clean(module.texts[node.id]), _MAX_EXPRESSION)
    return None


def _endpoint(module: Module, name: str | None, function: _Function, options: dict[str, ast.expr]) -> Endpoint:
    parameters = arguments_of(module, function)
    given = {parameter.name: parameter.annotation for parameter in parameters}
    return Endpoint(
        name=name,
        method=function.name,
        parameters=parameters,
        docs_in=_annotation(options.get("request_schema")) or given.get("docs") or given.get("doc"),
        docs_out=_annotation(options.get("response_schema")) or _annotation(function.returns),
        docstring=docstring_of(function),
        is_async=isinstance(function, ast.AsyncFunctionDef),
        is_generator=_yields(function),
    )


def _yields(function: _Function) -> bool:
    """Whether the function itself yields; those within it do not count."""
    pending: list[ast.AST] = list(function.body)
    while pending:
        node = pending.pop()
        if isinstance(node, ast.Yield | ast.YieldFrom):
            return True
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef):
            pending.extend(ast.iter_child_nodes(node))
    return False
