"""What the operator decided about artifacts, out of the settings."""

from __future__ import annotations

from dataclasses import dataclass, field

from palomar.documents.limits import IngestLimits


@dataclass(frozen=True, slots=True)
class ArtifactRules:
    bare_means_own: bool = False
    max_push_bytes: int = 1 << 40
    max_metadata_bytes: int = 4 * 1024 * 1024
    ingest_limits: IngestLimits = field(default_factory=IngestLimits)
