"""Which images a Dockerfile stands on, as far as that can be told without building it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

_FROM: Final = re.compile(r"(?:--\S+\s+)*(\S+)(?:\s+AS\s+(\S+))?\s*", re.ASCII | re.IGNORECASE)
_COPY_FROM: Final = re.compile(r"--from=(\S+)", re.ASCII)
_ARG: Final = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(?:=(.*))?", re.ASCII)
_VARIABLE: Final = re.compile(r"\$(?:\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}|([A-Za-z_][A-Za-z0-9_]*))", re.ASCII)
_MAX_LINE: Final = 10_000


def images_in(text: str, arguments: Mapping[str, str]) -> tuple[str, ...]:
    """Names of images in FROM and ``--from=``, in their order, each once; ``scratch`` and the file's own stages not."""
    known, stages, names = dict(arguments), {"scratch"}, list[str]()
    for word, rest in _instructions(text):
        if word == "ARG" and not names and (match := _ARG.fullmatch(rest)):
            known.setdefault(match[1], (match[2] or "").strip("\"'"))
        elif word == "FROM" and (match := _FROM.fullmatch(rest)):
            name = _expanded(match[1], known)
            if name.lower() not in stages:
                names.append(name)
            stages.add((match[2] or "").lower())
        elif word in {"COPY", "ADD", "RUN"}:
            used = (_expanded(name, known) for name in _COPY_FROM.findall(rest))
            names.extend(name for name in used if name.lower() not in stages and not name.isdecimal())
    return tuple(dict.fromkeys(names))


def _instructions(text: str) -> list[tuple[str, str]]:
    joined = re.sub(r"\\[ \t]*\r?\n", " ", text)
    lines = (line.strip()[:_MAX_LINE] for line in joined.splitlines())
    words = (line.split(None, 1) for line in lines if line and not line.startswith("#"))
    return [(parts[0].upper(), parts[1].strip() if len(parts) > 1 else "") for parts in words]


def _expanded(name: str, known: Mapping[str, str]) -> str:
    return _VARIABLE.sub(lambda match: known.get(match[1] or match[3]) or match[2] or "", name)
