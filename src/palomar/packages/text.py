"""A stranger's text, made fit for a database column, a JSON document and an error message."""

from __future__ import annotations

from typing import Final

_REPLACEMENT: Final = "\N{REPLACEMENT CHARACTER}"
_LAYOUT: Final = "\n\t"
_SURROGATES: Final = range(0xD800, 0xE000)


def clean(text: str) -> str:
    """Without what UTF-8, PostgreSQL and terminals cannot bear: lone surrogates, NUL and other controls.

    Tabs stay, and every line end becomes a line feed.
    """
    unified = text.replace("\r\n", "\n").replace("\r", "\n")
    if unified.isprintable():
        return unified
    return "".join(_REPLACEMENT if _is_unbearable(character) else character for character in unified)


def _is_unbearable(character: str) -> bool:
    code = ord(character)
    return (code < 0x20 and character not in _LAYOUT) or 0x7F <= code < 0xA0 or code in _SURROGATES


def decode(data: bytes) -> str:
    """UTF-8, with or without a byte order mark; what is not is replaced."""
    return clean(data.decode("utf-8-sig", "replace"))


def shown(name: str) -> str:
    """A name with everything invisible written as an escape, so that an error message shows what is there."""
    if name.isprintable():
        return name
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in name)


def bounded(text: str, length: int) -> str:
    """At most ``length`` characters; a cut is marked by an ellipsis."""
    return text if len(text) <= length else text[: length - 1] + "…"
