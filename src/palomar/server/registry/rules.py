"""What the operator decided about images, out of the settings; and what nobody needs to decide."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

# Distribution-spec 1.1, "Pushing Manifests": clients count on 4 megabytes, and nobody on more.
MAX_MANIFEST_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class RegistryRules:
    max_blob_bytes: int = 1 << 40
    max_manifest_bytes: int = MAX_MANIFEST_BYTES
    # Of one namespace. An open upload is a row and what it has received, so this bounds rows and not bytes.
    max_open_uploads: int = 1000
    # Of one upload: a client that sends byte by byte would leave a file for each.
    max_parts: int = 10_000
    # How long an upload that nobody touches lives.
    upload_ttl: timedelta = timedelta(hours=24)
