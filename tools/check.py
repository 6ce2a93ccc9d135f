"""The whole definition of clean: ``make check``. With ``--fix`` it first repairs what a machine can repair.

Every step runs, whatever the others say; one line each, then the output of those that failed.
"""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from tools.files import ROOT, repository_files, text_of


@dataclass(frozen=True, slots=True)
class Step:
    """``fix`` is what repairs, where something can."""

    name: str
    command: tuple[str, ...]
    fix: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Result:
    step: Step
    seconds: float
    output: str
    is_clean: bool


def steps() -> tuple[Step, ...]:
    """What clean means, the quick steps first."""
    return (
        Step("format", _tool("ruff", "format", "--check", "."), fix=_tool("ruff", "format", ".")),
        Step("lint", _tool("ruff", "check", "."), fix=_tool("ruff", "check", "--fix-only", ".")),
        Step("house rules", _own("house")),
        Step("locked requirements", _own("locked")),
        Step("reference pages", _own("reference", "--check"), fix=_own("reference")),
        Step("links", _own("links")),
        Step("spelling", _tool("codespell", *_texts()), fix=_tool("codespell", "--write-changes", *_texts())),
        Step("changelog", _tool("towncrier", "build", "--draft", "--version", "next")),
        Step("import layers", _tool("lint-imports", "--no-logo")),
        Step("dependencies", _tool("deptry", "src", "--no-ansi")),
        Step("types", _tool("mypy")),
    )


def _tool(name: str, *arguments: str) -> tuple[str, ...]:
    """A program of the environment that runs this, whatever PATH says."""
    return str(Path(sys.executable).parent / name), *arguments


def _own(module: str, *arguments: str) -> tuple[str, ...]:
    return sys.executable, "-m", f"tools.{module}", *arguments


def _texts() -> tuple[str, ...]:
    """Given by name, so that nobody's data folder is spell-checked."""
    return tuple(str(path.relative_to(ROOT)) for path in repository_files() if text_of(path) is not None)


def run(step: Step) -> Result:
    begin = time.monotonic()
    done = subprocess.run(step.command, cwd=ROOT, capture_output=True, text=True, check=False)
    return Result(step, time.monotonic() - begin, done.stdout + done.stderr, done.returncode == 0)


def repair(step: Step) -> None:
    """What cannot be repaired is left for the check to report."""
    if step.fix is not None:
        subprocess.run(step.fix, cwd=ROOT, capture_output=True, check=False)


def report(result: Result) -> None:
    word = "ok" if result.is_clean else "FAILED"
    print(f"{word:<7}{result.step.name:<22}{result.seconds:6.1f} s", flush=True)


def report_failures(results: list[Result]) -> None:
    for result in results:
        if not result.is_clean:
            print(f"\n--- {result.step.name} ---\n{result.output.rstrip()}")


def main(arguments: list[str]) -> int:
    results = []
    for step in steps():
        if "--fix" in arguments:
            repair(step)
        results.append(run(step))
        report(results[-1])
    report_failures(results)
    return 0 if all(result.is_clean for result in results) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
