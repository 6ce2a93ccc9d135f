"""Values that must not be shown: those of a push's variables, and the index's password."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final
from urllib.parse import quote, quote_plus

from palomar.server.builds.builder import Log

# What is shorter cannot be a secret, and would black out half of a log.
_MIN_LENGTH: Final = 3


class Masking:
    """Puts ``${NAME}`` wherever a value stands, as it is or quoted for a URL."""

    def __init__(self, values: Mapping[str, str]) -> None:
        forms = {form: f"${{{name}}}" for name, value in values.items() for form in _forms(value)}
        # The longest first: one value may be a part of another.
        self._forms = sorted(forms.items(), key=lambda item: -len(item[0]))

    def hide(self, text: str) -> str:
        for form, shown in self._forms:
            text = text.replace(form, shown)
        return text

    def hide_urls(self, text: str) -> str:
        """In addresses alone: elsewhere in a lock a value is a version that everybody may know, or a part of a hash."""
        return "".join(self.hide(line) if "://" in line else line for line in text.splitlines(keepends=True))

    def hiding(self, log: Log) -> Log:
        return lambda line: log(self.hide(line))

    def found_in(self, data: bytes) -> str | None:
        """The name, as ``${NAME}``, of a value that these bytes hold. Short values are in any bytes: not looked for."""
        return next((shown for form, shown in self._forms if len(form) >= 8 and form.encode() in data), None)


def _forms(value: str) -> Iterable[str]:
    candidates = {value, quote(value, safe=""), quote_plus(value), *value.splitlines()}
    return (form for form in candidates if len(form) >= _MIN_LENGTH)
