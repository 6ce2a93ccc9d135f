"""The shipped constraints."""

from __future__ import annotations

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from palomar.server.builds.constraints import default_constraints, lines_for


def test_every_line_is_a_requirement_with_a_reason() -> None:
    for each in default_constraints():
        assert Requirement(each.line)
        assert each.kind in {"runtime", "constraint", "build"}
        assert len(each.why) > 20
        SpecifierSet(each.jina)
        SpecifierSet(each.docarray)


@pytest.mark.parametrize(
    ("jina", "docarray", "expected"),
    [
        ("3.34.0", "0.21.0", {"numpy<2", "setuptools<81", "opentelemetry-instrumentation>=0.33b0"}),
        (
            "3.34.0",
            "0.38.0",
            {"numpy<2", "pydantic<2", "setuptools<81", "opentelemetry-instrumentation>=0.33b0"},
        ),
        (
            "3.20.0",
            "0.21.0",
            {
                "numpy<2",
                "setuptools<81",
                "opentelemetry-instrumentation>=0.33b0",
                "opentelemetry-exporter-prometheus==1.12.0rc1",
            },
        ),
    ],
)
def test_constraints_are_those_of_the_versions(jina: str, docarray: str, expected: set[str]) -> None:
    assert set(lines_for("constraint", jina=jina, docarray=docarray)) == expected


def test_what_jina_imports_without_asking_is_added() -> None:
    assert lines_for("runtime", jina="3.34.0", docarray="0.38.0") == ("setuptools",)
