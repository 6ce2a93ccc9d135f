"""What a private index asks for, put into the addresses of its files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from urllib.parse import urlsplit

from palomar.server.builds.package_rules import url_address


def expand(address: str, values: Mapping[str, str]) -> str:
    """With the values of ``${NAME}``."""
    for name, value in values.items():
        address = address.replace(f"${{{name}}}", value)
    return address


def with_credentials(url: str, indexes: Iterable[str]) -> str:
    """An index lists its files without the user and password that it wants for them.

    They are given to the same scheme, host and port alone.
    """
    parts = urlsplit(url)
    if "@" in parts.netloc:
        return url
    for index in indexes:
        known = urlsplit(index)
        user, at, _ = known.netloc.rpartition("@")
        if at and known.scheme == parts.scheme and url_address(index) == url_address(url):
            return parts._replace(netloc=f"{user}@{parts.netloc}").geturl()
    return url
