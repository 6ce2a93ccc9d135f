"""SBOM and provenance."""

from __future__ import annotations

import json
from typing import Any

from palomar.server.builds.installed_tree import InstalledPackage
from palomar.server.builds.lock import Lock, LockedFile, Pin
from palomar.server.builds.provenance import BuildFacts, write_provenance
from palomar.server.builds.sbom import ImageSubject, write_sbom

WHEEL = LockedFile("jina-3.34.0-py3-none-any.whl", "https://files.example.org/jina.whl", "a" * 64)
PRIVATE = LockedFile("own-1.0.tar.gz", "https://me:${TOKEN}@example.org/own-1.0.tar.gz", "b" * 64)
LOCK = Lock(
    "",
    (
        Pin("jina", "3.34.0", files=(WHEEL,)),
        Pin("numpy", "1.26.4+local", via=("jina",), files=(WHEEL,)),
        Pin("own", "1.0", PRIVATE.url, files=(PRIVATE,)),
    ),
    frozenset({"jina", "numpy"}),
)
SUBJECT = ImageSubject("alice/MyExecutor", "3", "docker.io/library/python:3.11", "sha256:" + "c" * 64)
PACKAGES = (InstalledPackage("jina", "3.34.0", "Apache-2.0", "Models"), InstalledPackage("own", "1.0", "As we like"))


def sbom() -> dict[str, Any]:
    document: dict[str, Any] = json.loads(write_sbom(SUBJECT, LOCK, PACKAGES))
    return document


def test_the_sbom_lists_every_pin_and_the_base() -> None:
    document = sbom()
    assert (document["bomFormat"], document["specVersion"], document["version"]) == ("CycloneDX", "1.6", 1)
    assert [each["name"] for each in document["components"]] == [SUBJECT.base_name, "jina", "numpy", "own"]
    assert document["components"][2]["purl"] == "pkg:pypi/numpy@1.26.4%2Blocal"
    assert document["components"][1]["licenses"] == [{"expression": "Apache-2.0"}]
    assert document["components"][3]["licenses"] == [{"license": {"name": "As we like"}}]


def test_the_sbom_says_who_needs_what() -> None:
    document = sbom()
    needs = {each["ref"]: each["dependsOn"] for each in document["dependencies"]}
    assert needs["pkg:pypi/jina@3.34.0"] == ["pkg:pypi/numpy@1.26.4%2Blocal"]
    assert needs["image:alice/MyExecutor@3"] == [
        f"base:sha256:{'c' * 64}",
        "pkg:pypi/jina@3.34.0",
        "pkg:pypi/own@1.0",
    ]
    references = {each["bom-ref"] for each in document["components"]} | {"image:alice/MyExecutor@3"}
    assert references == set(needs)


def test_an_address_with_a_variable_is_in_neither_document() -> None:
    written = write_sbom(SUBJECT, LOCK, PACKAGES) + write_provenance(facts(), LOCK)
    assert b"example.org/own" not in written
    assert b"TOKEN" in write_provenance(facts(), LOCK)


def facts() -> BuildFacts:
    return BuildFacts(
        image_name="hub.example/alice/myexecutor",
        manifest_digest="sha256:" + "d" * 64,
        package_name="alice/MyExecutor#3",
        package_sha256="e" * 64,
        base_name=SUBJECT.base_name,
        base_digest=SUBJECT.base_digest,
        jina="3.34.0",
        docarray="0.21.0",
        platform="linux/amd64",
        builder_id="https://hub.example",
        variables=("TOKEN",),
        index_url="https://me:s3cret@index.example/simple",
    )


def test_the_provenance_is_a_statement_about_the_manifest() -> None:
    statement = json.loads(write_provenance(facts(), LOCK))
    assert statement["_type"] == "https://in-toto.io/Statement/v1"
    assert statement["predicateType"] == "https://slsa.dev/provenance/v1"
    assert statement["subject"] == [{"name": "hub.example/alice/myexecutor", "digest": {"sha256": "d" * 64}}]
    definition = statement["predicate"]["buildDefinition"]
    assert definition["internalParameters"]["index"] == "https://index.example/simple"
    assert [each["digest"] for each in definition["resolvedDependencies"][:2]] == [
        {"sha256": "c" * 64},
        {"sha256": "e" * 64},
    ]


def test_equal_builds_have_equal_documents() -> None:
    turned = Lock(LOCK.text, LOCK.pins[::-1], LOCK.runtime)
    assert write_sbom(SUBJECT, LOCK, PACKAGES) == write_sbom(SUBJECT, turned, PACKAGES[::-1])
    assert write_provenance(facts(), LOCK) == write_provenance(facts(), turned)
