"""``python -m benchmarks [NAME ...]``: measures, prints a table, and keeps it in docs/benchmarks.md."""

from __future__ import annotations

import argparse
import sys
import tempfile
import traceback
from datetime import UTC, datetime
from pathlib import Path

from benchmarks import page
from benchmarks.cases import BENCHMARKS
from benchmarks.machine import machine
from benchmarks.rows import Benchmark, Context, NotMeasurable, Row, Verdict

PAGE = Path(__file__).resolve().parent.parent / "docs" / "benchmarks.md"


def main(arguments: list[str]) -> int:
    """0, also when a bar fails (unless ``--strict``); 1 when a benchmark itself broke."""
    options = _parser().parse_args(arguments)
    if options.list:
        print("\n".join(f"{name:<18}{benchmark.about}" for name, benchmark in BENCHMARKS.items()))
        return 0
    names = options.names or list(BENCHMARKS)
    if unknown := set(names) - BENCHMARKS.keys():
        _say(f"unknown: {', '.join(sorted(unknown))}; --list shows what there is")
        return 2
    return _measure_all(names, options)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="which ones; all of them by default")
    parser.add_argument("--scale", choices=("small", "full"), default="full", help="small is quick and only printed")
    parser.add_argument("--list", action="store_true", help="say which ones there are")
    parser.add_argument("--strict", action="store_true", help="exit with 1 when a bar fails")
    parser.add_argument("--folder", type=Path, help="where temporary hubs are put, instead of the system's own folder")
    return parser


def _measure_all(names: list[str], options: argparse.Namespace) -> int:
    sections: dict[str, str] = {}
    rows: list[Row] = []
    where = f"{datetime.now(UTC):%Y-%m-%d}, {machine()}"
    is_broken = False
    for name in names:
        measured, is_whole = _measure(BENCHMARKS[name], options)
        rows += measured
        is_broken |= not is_whole
        if is_whole and options.scale == "full":
            sections[name] = page.section(BENCHMARKS[name], measured, where)
            page.write(PAGE, sections, BENCHMARKS)
    print(f"\n{where}\n\n{page.as_text(rows)}")
    has_failed = any(row.verdict is Verdict.FAILED for row in rows)
    return 1 if is_broken or (options.strict and has_failed) else 0


def _measure(benchmark: Benchmark, options: argparse.Namespace) -> tuple[list[Row], bool]:
    """The rows, and whether they are all that there should be. What cannot be measured is said in a row of its own."""
    _say(f"{benchmark.name}: {benchmark.about}")
    rows: list[Row] = []
    with tempfile.TemporaryDirectory(prefix="palomar-bench-", dir=options.folder) as folder:
        context = Context(Path(folder), options.scale, lambda text: _say(f"  {text}"))
        try:
            for row in benchmark.measure(context):
                rows.append(row)
                _say(f"  = {' | '.join(filter(None, page.cells(row)))}")
        except NotMeasurable as error:
            rows.append(Row(benchmark.about, note=str(error)))
        except Exception:  # noqa: BLE001  (the other benchmarks are still worth their while)
            traceback.print_exc()
            rows.append(Row(benchmark.about, note="the benchmark broke"))
            return rows, False
    return rows, True


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
