from __future__ import annotations

import pytest

from palomar.contract.errors import MalformedStream
from palomar.documents.limits import IngestLimits


def test_a_stream_of_many_small_bombs_is_refused() -> None:
    limits = IngestLimits(bomb_ratio=256, bomb_stream_floor_bytes=1000)
    limits.check_stream(1000, 1)  # at the floor nothing is suspicious yet
    limits.check_stream(256_000, 1000)
    with pytest.raises(MalformedStream, match="gzip bomb"):
        limits.check_stream(256_001, 1000)
