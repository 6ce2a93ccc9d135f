"""The two generations of documents."""

from __future__ import annotations

from enum import StrEnum
from typing import Self


class DocumentKind(StrEnum):
    """V1 is ``DocumentProto`` of docarray up to 0.21, V2 is ``DocProto`` of docarray 0.30 and later."""

    V1 = "v1"
    V2 = "v2"

    @property
    def version_byte(self) -> int:
        """The first byte of a stream of this kind."""
        return 1 if self is DocumentKind.V1 else 2

    @classmethod
    def from_version_byte(cls, byte: int) -> Self:
        """Raises ValueError for a byte that no known client writes."""
        for kind in cls:
            if kind.version_byte == byte:
                return kind
        raise ValueError(f"no DocumentArray begins with byte 0x{byte:02x}")
