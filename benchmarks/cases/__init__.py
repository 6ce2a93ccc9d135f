"""Every benchmark, in the order in which the table shows them."""

from __future__ import annotations

from benchmarks.cases import (
    build_times,
    chunk_downloads,
    collect,
    first_document,
    help_page,
    latency,
    list_page,
    memory,
    old_client,
    package_rates,
    pull_rate,
    registry_rates,
    repush,
)
from benchmarks.rows import Benchmark

BENCHMARKS: dict[str, Benchmark] = {
    case.BENCHMARK.name: case.BENCHMARK
    for case in (
        old_client,
        pull_rate,
        chunk_downloads,
        memory,
        repush,
        first_document,
        latency,
        list_page,
        help_page,
        package_rates,
        registry_rates,
        collect,
        build_times,
    )
}
