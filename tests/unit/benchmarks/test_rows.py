"""Verdicts, statistics and the page."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import page
from benchmarks.clock import alternating, percentile
from benchmarks.load import Request
from benchmarks.rows import Bar, Benchmark, Quantity, Row, Verdict

AT_LEAST_HALF = Bar(0.5, "ratio", "at least")
BENCHMARK = Benchmark("pull", "how fast a pull is", lambda _context: iter(()))


def rate(value: float, label: str = "") -> Quantity:
    return Quantity(value, "MiB/s", label)


@pytest.mark.parametrize(
    ("row", "verdict"),
    [
        (Row("w", rate(50), rate(100), AT_LEAST_HALF), Verdict.MET),
        (Row("w", rate(49), rate(100), AT_LEAST_HALF), Verdict.FAILED),
        (Row("w", Quantity(255, "MiB"), bar=Bar(256, "figure", "below", "MiB")), Verdict.MET),
        (Row("w", Quantity(256, "MiB"), bar=Bar(256, "figure", "below", "MiB")), Verdict.FAILED),
        (Row("w", Quantity(15, "ms"), Quantity(10, "ms"), Bar(1.5, "ratio", "at most")), Verdict.MET),
        (Row("w", rate(50), rate(100)), Verdict.INFORMATION),
        (Row("w", rate(50), bar=AT_LEAST_HALF), Verdict.INFORMATION),
        (Row("w", bar=AT_LEAST_HALF, note="nginx is not installed"), Verdict.NOT_MEASURED),
    ],
)
def test_verdict(row: Row, verdict: Verdict):
    assert row.verdict is verdict


def test_percentile_is_a_value_that_was_seen():
    values = [float(value) for value in range(1, 101)]
    assert [percentile(values, share) for share in (0.5, 0.99, 1.0)] == [50.0, 99.0, 100.0]
    assert percentile([7.0], 0.99) == 7.0


def test_what_is_compared_is_measured_in_turns():
    order: list[str] = []

    def call(name: str, seconds: float) -> float:
        order.append(name)
        return seconds

    assert alternating([lambda: call("a", 1.0), lambda: call("b", 2.0)], rounds=3) == [1.0, 2.0]
    assert order == ["a", "b"] * 3


def test_a_request_says_its_host_and_its_empty_body():
    request = Request("http://127.0.0.1:1/v2/rpc/x?name=a/b", "POST", {"Authorization": "token t"})
    lines = request.as_bytes().decode().split("\r\n")
    assert lines[0] == "POST /v2/rpc/x?name=a/b HTTP/1.1"
    assert {"Host: 127.0.0.1:1", "Authorization: token t", "Content-Length: 0"} <= set(lines)


def test_a_run_replaces_its_own_section_and_leaves_the_others(tmp_path: Path):
    path, order = tmp_path / "benchmarks.md", ("first", "pull")
    page.write(path, {"pull": page.section(BENCHMARK, [Row("old", rate(1))], "Monday")}, order)
    first = page.section(Benchmark("first", "another", BENCHMARK.measure), [Row("one", rate(2))], "Tuesday")
    page.write(path, {"first": first}, order)
    page.write(path, {"pull": page.section(BENCHMARK, [Row("new", rate(3, "x|y"))], "Wednesday")}, order)
    text = path.read_text()
    assert text.index("## first") < text.index("## pull")
    assert "Tuesday" in text
    assert "| new | 3 MiB/s (x\\|y) |" in text
    assert "Monday" not in text


def test_a_benchmark_that_is_gone_leaves_the_page(tmp_path: Path):
    path = tmp_path / "benchmarks.md"
    page.write(path, {"pull": page.section(BENCHMARK, [Row("w", rate(1))], "Monday")}, ("pull",))
    page.write(path, {}, ("first",))
    assert "## pull" not in path.read_text()


def test_the_terminal_shows_what_was_not_measured_and_why():
    text = page.as_text([Row("a pull", bar=AT_LEAST_HALF, note="nginx is not installed")])
    assert "not measured" in text
    assert "nginx is not installed" in text
