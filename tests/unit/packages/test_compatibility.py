from __future__ import annotations

import json

import pytest

from palomar.contract.errors import BadPackage
from palomar.packages.compatibility import Change, compare
from palomar.packages.config import PackageConfig
from palomar.packages.schema import ExecutorSchema, schema_of
from palomar.packages.signatures import Argument, Endpoint
from palomar.packages.source import ExecutorClass

TOP_K = Argument("top_k", "int", "5")
INDEX = Endpoint("/index", "index", (Argument("docs", "DocList[A]", required=True),), "DocList[A]", "DocList[B]")


def schema(*parts: Argument | Endpoint) -> ExecutorSchema:
    return ExecutorSchema(
        tuple(part for part in parts if isinstance(part, Argument)),
        tuple(part for part in parts if isinstance(part, Endpoint)),
    )


def changes(old: Argument | Endpoint | None, new: Argument | Endpoint | None) -> list[tuple[str, str, bool]]:
    found = compare(schema(*filter(None, [old])), schema(*filter(None, [new])))
    return [(change.kind, change.what, change.breaking) for change in found]


def test_nothing_changed() -> None:
    assert compare(schema(TOP_K, INDEX), schema(TOP_K, INDEX)) == ()


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (TOP_K, None, ("argument-removed", "top_k", True)),
        (None, TOP_K, ("argument-added", "top_k", False)),
        (None, TOP_K._replace(default=None, required=True), ("argument-added", "top_k", True)),
        (TOP_K, TOP_K._replace(name="k"), ("argument-renamed", "top_k", True)),
        (TOP_K, TOP_K._replace(default="6"), ("default-changed", "top_k", False)),
        (TOP_K, TOP_K._replace(default=None, required=True), ("argument-required", "top_k", True)),
        (TOP_K._replace(default=None, required=True), TOP_K, ("argument-optional", "top_k", False)),
        (TOP_K, TOP_K._replace(annotation="str"), ("annotation-changed", "top_k", True)),
        (TOP_K, TOP_K._replace(annotation="Any"), ("annotation-changed", "top_k", False)),
        (TOP_K, TOP_K._replace(annotation=None), ("annotation-changed", "top_k", False)),
        (TOP_K, TOP_K._replace(annotation="Optional[int]"), ("annotation-changed", "top_k", False)),
        (TOP_K, TOP_K._replace(annotation="int | None"), ("annotation-changed", "top_k", False)),
        (TOP_K, TOP_K._replace(annotation="Union[str, int]"), ("annotation-changed", "top_k", False)),
        (TOP_K._replace(annotation="int | None"), TOP_K, ("annotation-changed", "top_k", True)),
        (TOP_K._replace(annotation=None), TOP_K, ("annotation-changed", "top_k", False)),
        (TOP_K, TOP_K._replace(annotation="not python ("), ("annotation-changed", "top_k", True)),
        (INDEX, None, ("endpoint-removed", "/index", True)),
        (None, INDEX, ("endpoint-added", "/index", False)),
        (INDEX, INDEX._replace(docs_in="DocList[C]"), ("input-changed", "/index", True)),
        (INDEX, INDEX._replace(docs_out=None), ("output-changed", "/index", True)),
        (INDEX, INDEX._replace(is_generator=True), ("streaming-changed", "/index", True)),
    ],
)
def test_changes(old: Argument | Endpoint | None, new: Argument | Endpoint | None, expected: object) -> None:
    assert changes(old, new) == [expected]


@pytest.mark.parametrize(
    "new", [INDEX._replace(method="other"), INDEX._replace(docstring="x"), INDEX._replace(is_async=True)]
)
def test_what_callers_do_not_see(new: Endpoint) -> None:
    assert changes(INDEX, new) == []


def test_open_ended_arguments_are_no_contract() -> None:
    assert changes(Argument("kwargs", kind="var-keyword"), None) == []


def test_endpoints_without_a_known_name_go_by_their_method() -> None:
    unnamed = INDEX._replace(name=None)
    assert changes(unnamed, None) == [("endpoint-removed", "of index()", True)]


def test_what_breaks_comes_first() -> None:
    found = compare(schema(TOP_K, INDEX), schema(TOP_K._replace(default="6")))
    assert found == (
        Change("endpoint-removed", "/index", True, "the endpoint /index is gone"),
        Change("default-changed", "top_k", False, "the default of 'top_k' was 5 and is 6"),
    )


def test_a_schema_survives_its_json() -> None:
    made = schema(TOP_K, INDEX, INDEX._replace(name=None))
    document = json.loads(json.dumps(made.to_json()))
    assert document["version"] == 1
    assert ExecutorSchema.from_json(document) == made
    with pytest.raises(ValueError, match="version 2"):
        ExecutorSchema.from_json({**document, "version": 2})


def test_a_config_with_endpoints_without_end() -> None:
    executor = ExecutorClass("A", "a.py", ("Executor",), None, (), (INDEX,))
    config = PackageConfig(file="config.yml", requests={f"/{number}": "index" for number in range(200)})
    with pytest.raises(BadPackage, match="more than 200 endpoints"):
        schema_of(executor, config)


def test_the_config_changes_the_schema() -> None:
    needed = Argument("path", "str", required=True)
    executor = ExecutorClass("A", "a.py", ("Executor",), None, (needed, TOP_K), (INDEX,))
    config = PackageConfig(with_={"path": "x"}, requests={"/search": "index", "/index": "other"})
    made = schema_of(executor, config)
    assert made.arguments == (needed._replace(default="'x'", required=False), TOP_K)
    assert made.endpoints == (Endpoint("/index", "other"), INDEX._replace(name="/search"))
