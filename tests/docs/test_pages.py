"""Links lead somewhere, examples are valid, and what others run from the pages can be found there."""

from __future__ import annotations

import ast
import json
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from tools import blocks, links
from tools.files import ROOT, repository_files, with_suffix

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def examples(language: str) -> list[object]:
    return [
        pytest.param(block.code, id=f"{page.relative_to(ROOT)}-{number}")
        for page in PAGES
        for number, block in enumerate(blocks.blocks_of(read(page)))
        if block.language == language
    ]


def test_every_link_leads_somewhere():
    assert links.broken_links() == []


def test_every_page_can_be_reached_from_the_readme():
    reached, pending = set(), [ROOT / "README.md"]
    while pending:
        page = pending.pop()
        if page not in reached:
            reached.add(page)
            targets = ((page.parent / link.partition("#")[0]).resolve() for link in links.links_of(read(page)))
            pending.extend(target for target in targets if target.suffix == ".md" and target.is_relative_to(ROOT))
    unreachable = {page.relative_to(ROOT).as_posix() for page in set(PAGES) - reached}
    # Written by the benchmarks; the pages do not depend on a run.
    assert unreachable - {"docs/benchmarks.md"} == set()


@pytest.mark.parametrize("code", examples("python"))
def test_python_examples_are_valid(code: str):
    ast.parse(code)


@pytest.mark.parametrize("code", examples("json"))
def test_json_examples_are_valid(code: str):
    json.loads(code)


@pytest.mark.parametrize("code", examples("sh"))
def test_shell_examples_are_valid(code: str):
    done = subprocess.run(["bash", "-n"], input=code, text=True, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_first_push_can_be_extracted_and_run():
    code = blocks.marked(read(ROOT / "README.md"), "first-push")
    assert "admin user-add alice --password-stdin" in code
    assert "admin token-create alice" in code
    assert ast.parse(python_in(code))


def test_the_server_is_started_as_printed():
    assert blocks.marked(read(ROOT / "README.md"), "serve") == "make serve\n"


def test_pages_install_the_same_client():
    """One set of versions, so that nobody gets another one than the tests ran with."""
    lines = {line for page in PAGES for line in re.findall(r"pip install (.*docarray==.*)", read(page))}
    assert len(lines) == 1
    assert all("==" in word or "<" in word for word in shlex.split(lines.pop()))


def test_make_targets_that_pages_name_exist():
    targets = set(re.findall(r"^([a-z-]+):", read(ROOT / "Makefile"), re.MULTILINE))
    for page in [*PAGES, ROOT / "CONTRIBUTING.md"]:
        assert set(re.findall(r"`make ([a-z-]+)", read(page))) <= targets, page.name


def test_every_fragment_has_a_kind_that_the_changelog_knows():
    fragments = [path for path in with_suffix(repository_files(), ".md") if path.parent.name == "changes"]
    for path in fragments:
        if path.name != "README.md":
            assert re.fullmatch(r"(?:\d+|\+[\w-]+)\.(?:breaking|security|added|changed|fixed)\.md", path.name)


def python_in(shell: str) -> str:
    """The program that a shell block feeds to an interpreter."""
    match = re.search(r"<<'END'\n(.*?)^END$", shell, re.MULTILINE | re.DOTALL)
    assert match is not None
    return match[1]
