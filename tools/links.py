"""Links in Markdown files that point nowhere within the repository. Other hosts are not asked."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from urllib.parse import unquote

from tools.files import ROOT, repository_files, with_suffix

_FENCE = re.compile(r"^(```|~~~).*?^\1\s*?$", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`[^`\n]*`")
_LINK = re.compile(r"\]\(\s*<?([^)\s>]+)>?[^)]*\)")
_REFERENCE = re.compile(r"^\[[^\]]+\]:\s+<?(\S+?)>?$", re.MULTILINE)
_HEADING = re.compile(r"^#{1,6}\s+(.+?)\s*#*$", re.MULTILINE)
_EXTERNAL = re.compile(r"[a-z][a-z0-9+.-]*:|//", re.IGNORECASE)


def broken_links(root: Path = ROOT) -> list[str]:
    """``file: link: what is wrong``, for every Markdown file of the repository."""
    pages = with_suffix(repository_files(root), ".md")
    return [f"{page.relative_to(root)}: {problem}" for page in pages for problem in _problems_of(page, root)]


def links_of(text: str) -> Iterator[str]:
    """Targets of inline links and of link definitions; what stands in code is no link."""
    prose = _CODE.sub("", _FENCE.sub("", text))
    for pattern in (_LINK, _REFERENCE):
        yield from pattern.findall(prose)


def anchors_of(text: str) -> set[str]:
    """The anchors that a forge makes of a page's headings; a heading that comes twice gets -1, -2, ..."""
    anchors: set[str] = set()
    for heading in _HEADING.findall(_FENCE.sub("", text)):
        slug = _slug(heading)
        number = 0
        while (anchor := slug if number == 0 else f"{slug}-{number}") in anchors:
            number += 1
        anchors.add(anchor)
    return anchors


def _slug(heading: str) -> str:
    words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
    return re.sub(r"[^\w\- ]", "", words).replace(" ", "-")


@cache
def _anchors_in(page: Path) -> set[str]:
    return anchors_of(page.read_text(encoding="utf-8"))


def _problems_of(page: Path, root: Path) -> Iterator[str]:
    for link in links_of(page.read_text(encoding="utf-8")):
        if not _EXTERNAL.match(link) and (problem := _problem(page, link, root)):
            yield f"{link}: {problem}"


def _problem(page: Path, link: str, root: Path) -> str | None:
    path, _, anchor = unquote(link).partition("#")
    target = (page.parent / path).resolve() if path else page.resolve()
    if not target.is_relative_to(root.resolve()):
        return "leads out of the repository"
    if not target.exists():
        return "there is no such file"
    if anchor and target.suffix == ".md" and anchor not in _anchors_in(target):
        return "there is no such heading"
    return None


def main() -> int:
    found = broken_links()
    print("\n".join(found))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
