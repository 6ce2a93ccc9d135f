"""How an image came about: an in-toto Statement v1 with a SLSA provenance v1 predicate.

https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md, https://slsa.dev/spec/v1.0/provenance. It is not
signed: it says what the hub did, to those who trust the hub.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from palomar.server.builds.lock import Lock, LockedFile, Pin
from palomar.server.builds.sbom import purl

PROVENANCE_MEDIA_TYPE: Final = "application/vnd.in-toto+json"
_STATEMENT: Final = "https://in-toto.io/Statement/v1"
_PREDICATE: Final = "https://slsa.dev/provenance/v1"
#: What the parameters mean; another meaning gets another number.
_BUILD_TYPE: Final = "urn:palomar:build:layered:v1"


@dataclass(frozen=True, slots=True)
class BuildFacts:
    """``variables`` are the names of the build's variables, never their values. ``builder_id`` is the hub's address.

    ``started_at`` and ``ended_at`` are RFC 3339 texts; without them equal builds give equal statements.
    """

    image_name: str
    manifest_digest: str
    package_name: str
    package_sha256: str
    base_name: str
    base_digest: str
    jina: str
    docarray: str
    platform: str
    builder_id: str
    variables: tuple[str, ...] = ()
    index_url: str | None = None
    build_id: str = ""
    started_at: str | None = None
    ended_at: str | None = None


def write_provenance(facts: BuildFacts, lock: Lock) -> bytes:
    algorithm, _, digest = facts.manifest_digest.partition(":")
    statement = {
        "_type": _STATEMENT,
        "subject": [{"name": facts.image_name, "digest": {algorithm: digest}}],
        "predicateType": _PREDICATE,
        "predicate": {"buildDefinition": _definition(facts, lock), "runDetails": _run(facts)},
    }
    return json.dumps(statement, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def _definition(facts: BuildFacts, lock: Lock) -> dict[str, Any]:
    return {
        "buildType": _BUILD_TYPE,
        "externalParameters": {
            "package": facts.package_name,
            "jina": facts.jina,
            "docarray": facts.docarray,
            "platform": facts.platform,
            "variables": sorted(facts.variables),
        },
        "internalParameters": {
            "index": _without_credentials(facts.index_url),
            "constraintsForBuilding": list(lock.build_constraints),
        },
        "resolvedDependencies": [
            _base(facts),
            {"name": facts.package_name, "digest": {"sha256": facts.package_sha256}},
            *_packages(sorted(lock.pins, key=lambda pin: pin.name)),
        ],
    }


def _without_credentials(url: str | None) -> str | None:
    if url is None:
        return None
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _base(facts: BuildFacts) -> dict[str, Any]:
    algorithm, _, digest = facts.base_digest.partition(":")
    return {"name": facts.base_name, "digest": {algorithm: digest}}


def _packages(pins: Iterable[Pin]) -> Iterable[dict[str, Any]]:
    for pin in pins:
        for file in pin.files[:1]:
            yield {"uri": purl(pin), "digest": {"sha256": file.sha256}, **_location(file)}


def _location(file: LockedFile) -> dict[str, str]:
    is_public = file.url.startswith(("https://", "http://")) and "${" not in file.url
    return {"downloadLocation": _without_credentials(file.url) or ""} if is_public else {}


def _run(facts: BuildFacts) -> dict[str, Any]:
    times = {"startedOn": facts.started_at, "finishedOn": facts.ended_at}
    metadata = {"invocationId": facts.build_id, **{name: value for name, value in times.items() if value}}
    return {"builder": {"id": facts.builder_id}, "metadata": metadata}
