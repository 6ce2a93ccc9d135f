"""The table, on the terminal and in docs/benchmarks.md.

The page has a section for each benchmark, which says when and where it was measured; a run replaces the sections of
what it measured and leaves the others.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from benchmarks.rows import Benchmark, Row

_HEADS = ("What", "Figure", "Peer", "Ratio", "Bar", "Verdict", "Note")
_HEAD = """# Benchmarks

<!-- Written by: make bench -->

Each figure stands beside that of a named peer, measured in the same run on the same machine; the ratio is the figure
over the peer's. Absolute figures differ from machine to machine, ratios less so. Everything runs on one machine over
its loopback: the client shares the cores with the server. `make bench` measures all of it again,
`python -m benchmarks NAME` one of them.
"""
_SECTION = re.compile(r"^## (\S+)\n", re.MULTILINE)


def cells(row: Row) -> tuple[str, ...]:
    return (
        row.what,
        str(row.figure or ""),
        str(row.peer or ""),
        "" if row.ratio is None else f"{row.ratio:.2f}x",
        str(row.bar or ""),
        row.verdict.value,
        row.note,
    )


def as_text(rows: Sequence[Row]) -> str:
    """Columns for a terminal; notes go below, because they would make every line too long."""
    lines = [_HEADS[:-1], *(cells(row)[:-1] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() + _below(note)
        for line, note in zip(lines, ("", *(row.note for row in rows)), strict=True)
    )


def _below(note: str) -> str:
    return f"\n    {note}" if note else ""


def section(benchmark: Benchmark, rows: Sequence[Row], measured: str) -> str:
    table = "\n".join(map(_line, [_HEADS, ["---"] * len(_HEADS), *map(cells, rows)]))
    about = benchmark.about[0].upper() + benchmark.about[1:]
    return f"## {benchmark.name}\n\n{about}. Measured on {measured}.\n\n{table}\n"


def _line(row: Iterable[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in row) + " |"


def write(path: Path, measured: dict[str, str], order: Iterable[str]) -> None:
    """``measured`` maps names to new sections; ``order`` names all that may be on the page."""
    kept = sections_of(path.read_text(encoding="utf-8")) if path.exists() else {}
    found = {**kept, **measured}
    parts = [_HEAD, *(found[name] for name in order if name in found)]
    path.write_text("\n".join(parts), encoding="utf-8")


def sections_of(page: str) -> dict[str, str]:
    pieces = _SECTION.split(page)
    names, bodies = pieces[1::2], pieces[2::2]
    return {name: f"## {name}\n{body.rstrip()}\n" for name, body in zip(names, bodies, strict=True)}
