"""Fenced code blocks of Markdown pages, so that tests can compile and run what is printed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

_BLOCK = re.compile(
    r"(?:^<!-- test: (?P<mark>[\w-]+) -->\n)?^```(?P<language>[\w-]*)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL
)


class Block(NamedTuple):
    """``mark`` is what an HTML comment ``<!-- test: MARK -->`` on the line above the fence says."""

    language: str
    code: str
    mark: str | None


def blocks_of(text: str) -> Iterator[Block]:
    for match in _BLOCK.finditer(text):
        yield Block(match["language"], match["code"], match["mark"])


def marked(text: str, mark: str) -> str:
    """The code of the one block with this mark. Raises LookupError unless there is exactly one."""
    found = [block.code for block in blocks_of(text) if block.mark == mark]
    if len(found) != 1:
        raise LookupError(f"{len(found)} blocks are marked {mark!r}")
    return found[0]
