"""What the operator allows builds to do."""

from __future__ import annotations

from dataclasses import dataclass

GIB = 1024**3


@dataclass(frozen=True, slots=True)
class BuildRules:
    """``retry_s``: how long a failure that was the hub's own fault is answered before somebody's wish tries again."""

    is_on: bool = True
    dockerfiles: bool = False
    at_once: int = 2
    timeout_s: int = 1800
    wait_s: int = 120
    memory_bytes: int = 4 * GIB
    disk_bytes: int = 20 * GIB
    max_attempts: int = 3
    max_variants: int = 20
    max_waiting: int = 50
    retry_s: int = 600
