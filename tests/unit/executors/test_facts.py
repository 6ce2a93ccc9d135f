"""A package's facts survive both databases and are bounded."""

from __future__ import annotations

import io
import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from palomar.packages.package import Package, read_package
from palomar.server.db.columns import can_be_stored
from palomar.server.executors.facts import schema_in, storable, to_facts
from tests.services.executor_pushes import package
from tests.unit.packages.zips import CONFIG, EXECUTOR, zipped

texts = st.text(st.characters(exclude_categories=[]) | st.sampled_from("\0\ud800\udfff"))
scalars = st.none() | st.booleans() | st.integers() | texts
values = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(texts, inner), max_leaves=20)


def read(data: bytes) -> Package:
    return read_package(io.BytesIO(data))


def texts_in(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [*texts_in(list(value)), *texts_in(list(value.values()))]
    if isinstance(value, list):
        return [text for item in value for text in texts_in(item)]
    return [value] if isinstance(value, str) else []


@given(values)
def test_every_text_of_a_storable_value_can_be_stored(value: Any) -> None:
    assert all(map(can_be_stored, texts_in(storable(value))))
    json.dumps(storable(value)).encode()


@given(values)
def test_what_can_be_stored_already_stays_as_it_is(value: Any) -> None:
    assert storable(storable(value)) == storable(value)
    if all(map(can_be_stored, texts_in(value))):
        assert storable(value) == value


def test_facts_come_back_from_json_with_the_same_schema() -> None:
    found = read(package(arguments='size: int = 1, name: str = "x"'))
    facts = json.loads(json.dumps(to_facts(found)))
    assert facts == to_facts(found)
    assert schema_in(facts) == found.schema


def test_long_texts_and_many_files_are_cut() -> None:
    files = {f"data/{number:04}.txt": b"x" for number in range(1100)}
    readme = b"r" * (300 * 1024)
    found = read(zipped({"config.yml": CONFIG, "executor.py": EXECUTOR, "README.md": readme, **files}))
    facts = to_facts(found)
    assert len(facts["readme"]) == 256 * 1024
    assert (len(facts["files"]), facts["file_count"]) == (1000, 1103)
