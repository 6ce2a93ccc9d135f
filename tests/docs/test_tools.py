"""The tools that hold the house rules find what they are for, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tools import blocks, house, links, locked

# Spelled apart, so that this file itself passes.
HOST = "pypi" + ".org"
UNFINISHED = "TO" + "DO"


@pytest.mark.parametrize(
    "text",
    [
        f"index = 'https://{HOST}/simple'",
        "files.pythonhosted" + ".org",
        "open('/" + "root/data')",
        "cd /" + "work/main",
        "(/" + "home/alice/x)",
        f"# {UNFINISHED}: later",
    ],
)
def test_a_line_that_breaks_a_house_rule_is_found(text: str):
    assert len(list(house.problems_in("docs/x.md", f"fine\n{text}\n"))) == 1


@pytest.mark.parametrize(
    "text",
    [
        "https://hub.example.org/home/alice/x",
        f"https://{HOST}anic.example",
        "todo is a Spanish word",
        "print(1)",
    ],
)
def test_a_harmless_line_is_left_alone(text: str):
    assert list(house.problems_in("docs/x.md", text)) == []


def test_a_module_that_prints_is_found_outside_the_command_line():
    code = "def f() -> None:\n    print(1)\n"
    assert list(house.problems_in("src/palomar/cli/x.py", code)) == []
    assert [problem.split(": ")[0] for problem in house.problems_in("src/palomar/sdk/x.py", code)] == [
        "src/palomar/sdk/x.py:2"
    ]


def test_a_module_that_is_too_long_is_found():
    longest = "x = 1\n" * house.MAX_MODULE_LINES
    assert list(house.problems_in("src/palomar/x.py", longest)) == []
    assert len(list(house.problems_in("src/palomar/x.py", longest + "x = 1\n"))) == 1
    assert list(house.problems_in("tests/x.py", longest + "x = 1\n")) == []


def test_links_in_code_are_no_links():
    text = "[a](a.md) `[b](b.md)`\n\n```\n[c](c.md)\n```\n\n[d]: d.md\n"
    assert list(links.links_of(text)) == ["a.md", "d.md"]


def test_anchors_are_those_of_a_forge():
    text = "# Who, and *why*?\n## `x_y` and z\n## `x_y` and z\n```\n# no heading\n```\n"
    assert links.anchors_of(text) == {"who-and-why", "x_y-and-z", "x_y-and-z-1"}


def test_blocks_carry_the_mark_above_them():
    text = "<!-- test: one -->\n```sh\na\n```\n\n```python\nb\n```\n"
    assert list(blocks.blocks_of(text)) == [("sh", "a\n", "one"), ("python", "b\n", None)]
    assert blocks.marked(text, "one") == "a\n"
    with pytest.raises(LookupError, match="'two'"):
        blocks.marked(text, "two")


def test_a_requirement_that_the_lock_does_not_meet_is_found():
    pins = locked.pins_of("a==1.5 \\\n    --hash=sha256:00\nb-c==2.0 \\\n")
    wanted = [Requirement("a>=1"), Requirement("B_C[x]<3"), Requirement("a>=2"), Requirement("d")]
    assert [problem.split(":")[0] for problem in locked.unmet(iter(wanted), pins)] == ["a>=2", "d"]


def test_a_pin_without_a_hash_is_found():
    digest = "0" * 64
    hashed = f"a==1 \\\n    --hash=sha256:{digest}\n"
    assert list(locked.unhashed("x.txt", hashed)) == []
    assert len(list(locked.unhashed("x.txt", hashed + "b==2\n"))) == 1


def test_a_link_out_of_the_repository_or_to_nowhere_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    page = tmp_path / "page.md"
    page.write_text("# Here\n[a](page.md#here) [b](gone.md) [c](#there) [d](../x.md) [e](https://example.org/x)\n")
    monkeypatch.setattr(links, "repository_files", lambda _root: [page])
    assert links.broken_links(tmp_path) == [
        "page.md: gone.md: there is no such file",
        "page.md: #there: there is no such heading",
        "page.md: ../x.md: leads out of the repository",
    ]
