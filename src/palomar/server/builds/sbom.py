"""What is in an image, as a CycloneDX 1.6 document (https://cyclonedx.org/docs/1.6/json/).

Equal inputs give equal bytes: no time, no random serial number; both are optional there.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression

from palomar.server.builds.installed_tree import InstalledPackage
from palomar.server.builds.lock import Lock, LockedFile, Pin

SBOM_MEDIA_TYPE: Final = "application/vnd.cyclonedx+json"
_EXCLUDED: Final = "${"


@dataclass(frozen=True, slots=True)
class ImageSubject:
    """``name`` is alice/MyExecutor, ``version`` the release's number, ``base`` the base image's name and digest."""

    name: str
    version: str
    base_name: str
    base_digest: str


def write_sbom(subject: ImageSubject, lock: Lock, installed: Iterable[InstalledPackage]) -> bytes:
    """Every pin of the lock, with what its installed metadata says where it is installed."""
    metadata = {package.name: package for package in installed}
    pins = sorted(lock.pins, key=lambda pin: pin.name)
    root = f"image:{subject.name}@{subject.version}"
    document = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "component": {"type": "container", "bom-ref": root, "name": subject.name, "version": subject.version},
            "tools": {"components": [{"type": "application", "name": "palomar"}]},
        },
        "components": [_base(subject), *(_component(pin, metadata.get(pin.name)) for pin in pins)],
        "dependencies": _dependencies(root, subject, pins),
    }
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def _base(subject: ImageSubject) -> dict[str, Any]:
    algorithm, _, digest = subject.base_digest.partition(":")
    return {
        "type": "container",
        "bom-ref": f"base:{subject.base_digest}",
        "name": subject.base_name,
        "version": subject.base_digest,
        "hashes": [{"alg": "SHA-512" if algorithm == "sha512" else "SHA-256", "content": digest}],
    }


def _component(pin: Pin, package: InstalledPackage | None) -> dict[str, Any]:
    component: dict[str, Any] = {
        "type": "library",
        "bom-ref": purl(pin),
        "name": pin.name,
        "version": _version(pin, package),
        "purl": purl(pin),
        "scope": "required",
        "properties": [{"name": "palomar:built-from-source", "value": str(pin.is_source).lower()}],
    }
    if references := [_reference(file) for file in pin.files if _is_address(file.url)]:
        component["externalReferences"] = references
    if package and package.summary:
        component["description"] = package.summary
    if package and package.license:
        component["licenses"] = [_license(package.license)]
    return component


def _version(pin: Pin, package: InstalledPackage | None) -> str:
    return package.version if package and package.version else pin.version


def purl(pin: Pin) -> str:
    """https://github.com/package-url/purl-spec: pypi"""
    return f"pkg:pypi/{pin.name}@{quote(pin.version, safe='')}"


def _is_address(url: str) -> bool:
    return url.startswith(("https://", "http://")) and _EXCLUDED not in url


def _reference(file: LockedFile) -> dict[str, Any]:
    return {
        "type": "distribution",
        "url": file.url,
        "hashes": [{"alg": "SHA-256", "content": file.sha256}],
    }


def _license(text: str) -> Mapping[str, Any]:
    try:
        return {"expression": canonicalize_license_expression(text)}
    except InvalidLicenseExpression:
        return {"license": {"name": text}}


def _dependencies(root: str, subject: ImageSubject, pins: list[Pin]) -> list[dict[str, Any]]:
    by_name = {pin.name: purl(pin) for pin in pins}
    needed: dict[str, set[str]] = {ref: set() for ref in by_name.values()}
    direct = {f"base:{subject.base_digest}"}
    for pin in pins:
        parents = [by_name[parent] for parent in pin.via if parent in by_name]
        for parent in parents:
            needed[parent].add(by_name[pin.name])
        if not parents:
            direct.add(by_name[pin.name])
    listed = {root: direct, f"base:{subject.base_digest}": set[str](), **needed}
    return [{"ref": ref, "dependsOn": sorted(targets)} for ref, targets in sorted(listed.items())]
