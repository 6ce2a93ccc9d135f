"""How builds end, for Prometheus."""

from __future__ import annotations

from prometheus_client import Counter, Histogram

ENDED = Counter("palomar_builds_total", "Builds that ended, by builder and state.", ["builder", "state"])
SECONDS = Histogram(
    "palomar_build_seconds",
    "Seconds from a build's first run to its end.",
    ["builder"],
    buckets=(1, 5, 15, 60, 300, 900, 1800),
)
