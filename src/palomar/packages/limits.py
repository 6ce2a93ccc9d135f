"""What one Executor package may be at most."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

_KIB: Final = 1024
_MIB: Final = 1024 * _KIB
_GIB: Final = 1024 * _MIB


@dataclass(frozen=True, slots=True, kw_only=True)
class PackageLimits:
    """Sizes are of what really comes out of the archive, whatever its headers say.

    An entry, or the whole package, that unpacks to more than ``ratio_floor_bytes`` and to more than ``max_ratio`` times
    its packed size is refused as a zip bomb.
    """

    max_entries: int = 10_000
    max_package_bytes: int = _GIB
    max_unpacked_bytes: int = 4 * _GIB
    max_directory_bytes: int = 16 * _MIB
    max_ratio: int = 200
    ratio_floor_bytes: int = 16 * _MIB
    max_path_bytes: int = 240
    max_depth: int = 32

    max_config_bytes: int = 256 * _KIB
    max_config_nodes: int = 10_000
    max_config_aliases: int = 100
    max_config_depth: int = 32

    max_readme_bytes: int = _MIB
    max_dockerfile_bytes: int = 256 * _KIB

    max_requirements_bytes: int = _MIB
    max_requirements: int = 5_000

    max_source_bytes: int = 2 * _MIB
    max_sources_bytes: int = 32 * _MIB
    #: Words and signs, which bound the time and memory of a syntax tree; about 1 KiB each.
    max_source_tokens: int = 100_000
    max_sources_tokens: int = 200_000
