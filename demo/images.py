"""Images: what alice pushed was built too; bob pulls it and runs it in a container, without any of its libraries."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator

import httpx2

from demo.stage import Person, Stage, check
from demo.story import step
from tools.debian_base import BaseMissing
from tools.engine import Engine, EngineClient, EngineMissing, running_engine

_USES = "jinaai+docker://alice/DigitClassifier"
_REPOSITORY = "alice/digitclassifier"
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_TIMEOUT_S = 60


@step("alice's push has built an image of her Executor, without a container engine")
def image_was_built(stage: Stage) -> Iterator[str]:
    if isinstance(missing := stage.facts["base"], BaseMissing):
        yield _without(f"{missing}; so the hub builds no images")
        return
    tags = _ask(stage, f"/v2/{_REPOSITORY}/tags/list").json()["tags"]
    check({"latest", "v1"} < set(tags), f"the image has the tags {tags}")
    manifest = _ask(stage, f"/v2/{_REPOSITORY}/manifests/latest").json()
    yield f"{stage.hub.url.partition('//')[2]}/{_REPOSITORY} has the tags {', '.join(tags)}"
    yield f"{len(manifest['layers'])} layers, {sum(layer['size'] for layer in manifest['layers']):,} bytes"
    found = _ask(stage, f"/v2/{_REPOSITORY}/referrers/{_digest(stage)}").json()["manifests"]
    yield f"beside it: {', '.join(sorted(one['artifactType'] for one in found))}"


@step("bob pulls the image and runs it in a Flow, on the digits that it does not know")
def bob_runs_the_image(stage: Stage) -> Iterator[str]:
    if isinstance(missing := stage.facts["base"], BaseMissing):
        yield _without(str(missing))
        return
    try:
        with running_engine() as engine:
            yield from _run_in_a_container(stage, engine)
    except EngineMissing as error:
        yield _without(f"{error}; so bob's pull is shown without one")
        yield from _pull_without_engine(stage)


def _run_in_a_container(stage: Stage, engine: Engine) -> Iterator[str]:
    plain = stage.bob.client
    bob = Person("bob", EngineClient(plain.python, plain.home, engine.docker_host), stage.hub, stage.bob.token)
    report = bob.run("classify_digits.py", "alice/digits", _USES)
    check(report["right"] > 0.9 * report["documents"], f"only {report['right']} of {report['documents']} were right")
    check(engine.containers() == [], "the Flow left a container behind")
    yield f"podman pulled {', '.join(engine.images())}"
    yield f"{report['right']} of {report['documents']} right: {report['right'] / report['documents']:.1%}; {_USES}"


def _pull_without_engine(stage: Stage) -> Iterator[str]:
    """As a container engine pulls: the manifest, then every blob that it names, each checked by its digest."""
    manifest = _ask(stage, f"/v2/{_REPOSITORY}/manifests/latest").json()
    for blob in (manifest["config"], *manifest["layers"]):
        content = _ask(stage, f"/v2/{_REPOSITORY}/blobs/{blob['digest']}").content
        check(blob["digest"] == f"sha256:{hashlib.sha256(content).hexdigest()}", f"{blob['digest']} is not what came")
    yield f"{1 + len(manifest['layers'])} blobs came, each with the digest that the manifest says"


def _without(words: str) -> str:
    """Where something is missing the story goes on; where everything must be there it fails."""
    check(os.environ.get("CI") != "true", words)
    return words


def _digest(stage: Stage) -> str:
    return str(_ask(stage, f"/v2/{_REPOSITORY}/manifests/latest").headers["Docker-Content-Digest"])


def _ask(stage: Stage, path: str) -> httpx2.Response:
    headers = {"Authorization": f"Bearer {stage.bob.token}", "Accept": _MANIFEST}
    answer = httpx2.get(f"{stage.hub.url}{path}", headers=headers, timeout=_TIMEOUT_S)
    check(answer.status_code == httpx2.codes.OK, f"{path}: {answer.status_code} {answer.text[:300]}")
    return answer
