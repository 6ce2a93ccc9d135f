"""Content discovery (distribution-spec 1.1): end-8, end-12, and the catalogue of repositories."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urlencode

import pytest

from palomar.contract.images import OCI_CONFIG, OCI_EMPTY, OCI_INDEX, OCI_MANIFEST
from palomar.server.wiring import Hub
from tests.api.oci import ABSENT_DIGEST, Image, People, Registry, basic, bearer, challenge_of, index_of, sha256, sha512
from tests.fixtures.hubs import ClientFactory

SIGNATURE, SBOM = "application/vnd.example.signature+json", "application/vnd.example.sbom+json"
NEXT = re.compile(r'<([^>]+)>; rel="next"')
TAGS = ["V2", "latest", "v1", "v10", "v2"]


@pytest.fixture
def people(small_hub: Hub, client_factory: ClientFactory) -> People:
    return People(small_hub, client_factory)


@pytest.fixture
async def alice(people: People) -> Registry:
    return await people.registry("alice")


@pytest.fixture
async def tagged(alice: Registry) -> Registry:
    await alice.push(Image(), *reversed(TAGS))
    return alice


async def walk(registry: Registry, path: str, key: str) -> list[str]:
    """All pages, by their links."""
    found: list[str] = []
    url: str | None = path
    while url is not None:
        answer = await registry.get(url)
        found += answer.json()[key]
        link = NEXT.fullmatch(answer.headers.get("link", ""))
        url = link[1] if link else None
    return found


# --- end-8a, end-8b: tags ------------------------------------------------------------------------------------------


async def test_end_8a_all_tags_in_the_order_of_their_bytes(tagged: Registry):
    answer = await tagged.get("tags/list")
    assert answer.json() == {"name": "alice/birds", "tags": TAGS}
    assert "link" not in answer.headers


async def test_end_8a_a_repository_without_tags(alice: Registry):
    await alice.push_blob(b"bytes")
    assert (await alice.get("tags/list")).json() == {"name": "alice/birds", "tags": []}


async def test_end_8a_404_for_a_repository_that_does_not_exist(alice: Registry):
    await alice.call("GET", "tags/list", status=404, code="NAME_UNKNOWN")


@pytest.mark.parametrize("n", [1, 2, 4, 5, 6, 1_000_000])
async def test_end_8b_n_limits_and_a_link_leads_on(tagged: Registry, n: int):
    answer = await tagged.get(f"tags/list?n={n}")
    assert answer.json()["tags"] == TAGS[:n]
    assert ("link" in answer.headers) is (n < len(TAGS))
    assert await walk(tagged, f"/v2/alice/birds/tags/list?n={n}", "tags") == TAGS


async def test_end_8b_n_of_0_gives_an_empty_list_and_no_link(tagged: Registry):
    answer = await tagged.get("tags/list?n=0")
    assert answer.json()["tags"] == []
    assert "link" not in answer.headers


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("last=latest", TAGS[2:]),
        ("n=2&last=latest", TAGS[2:4]),
        ("last=v2", []),
        ("last=v1a", ["v2"]),
        ("last=", TAGS),
        ("n=1&last=~", []),
    ],
)
async def test_end_8b_last_is_not_among_the_results(tagged: Registry, query: str, expected: list[str]):
    assert await tagged.tags(f"?{query}") == expected


@pytest.mark.parametrize("n", ["-1", "x", "1.5", "", "١", "9" * 40])
async def test_end_8b_400_for_an_n_that_is_no_number(tagged: Registry, n: str):
    await tagged.call("GET", f"tags/list?n={n}", status=400, code="UNSUPPORTED")


async def test_end_8b_more_tags_than_a_page_holds(alice: Registry, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("palomar.server.web.oci.discovery._MAX_LISTED", 3)
    await alice.push(Image(), *TAGS)
    assert await alice.tags() == TAGS[:3]
    assert await walk(alice, "/v2/alice/birds/tags/list", "tags") == TAGS


# --- end-12a, end-12b: referrers -----------------------------------------------------------------------------------


@pytest.fixture
async def subject(alice: Registry) -> Image:
    return await alice.push(Image("subject"), "latest")


async def attach(registry: Registry, subject: Image, words: str, **options: Any) -> Image:
    return await registry.push(Image(words, subject=subject.descriptor, **options))


async def test_end_12a_an_index_of_what_refers_to_a_manifest(alice: Registry, subject: Image):
    notes = {"org.example.format": "json"}
    signature = await attach(alice, subject, "signature", artifact_type=SIGNATURE, annotations=notes)
    answer = await alice.get(f"referrers/{subject.digest}")
    assert answer.headers["content-type"] == OCI_INDEX
    assert "oci-filters-applied" not in answer.headers
    shown = {**signature.descriptor, "artifactType": SIGNATURE, "annotations": notes}
    assert answer.json() == {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [shown]}


async def test_end_12a_the_type_of_the_config_stands_for_a_missing_artifact_type(alice: Registry, subject: Image):
    await attach(alice, subject, "a", config_type="application/vnd.example.config+json")
    await attach(alice, subject, "b", config_type=OCI_EMPTY, artifact_type=SBOM)
    listed = await alice.referrers(subject.digest)
    assert {one["artifactType"] for one in listed} == {"application/vnd.example.config+json", SBOM}


async def test_end_12a_an_index_refers_too_and_has_no_type_unless_it_says_one(alice: Registry, subject: Image):
    child = await alice.push(Image("child"))
    for more, expected in (({}, None), ({"artifactType": SBOM}, SBOM)):
        index = index_of(child, subject=subject.descriptor, **more)
        answer = await alice.put(sha256(index), index, media_type=OCI_INDEX)
        assert answer.headers["oci-subject"] == subject.digest
        listed = {one["digest"]: one for one in await alice.referrers(subject.digest)}
        assert listed[sha256(index)].get("artifactType") == expected
        assert listed[sha256(index)]["mediaType"] == OCI_INDEX


@pytest.mark.parametrize("digest", [ABSENT_DIGEST, sha512(b"absent")])
async def test_end_12a_200_with_an_empty_list_for_what_has_none(alice: Registry, subject: Image, digest: str):
    answer = await alice.get(f"referrers/{digest}")
    assert answer.headers["content-type"] == OCI_INDEX
    assert answer.json() == {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []}


async def test_end_12a_never_404_to_who_owns_the_namespace(alice: Registry):
    """Or a client would take the hub for a registry without this API."""
    answer = await alice.at("alice/absent").get(f"referrers/{ABSENT_DIGEST}")
    assert answer.json()["manifests"] == []


async def test_end_12a_referrers_may_come_before_their_subject(alice: Registry):
    subject = Image("later")
    signature = await attach(alice, subject, "early", artifact_type=SIGNATURE)
    assert [one["digest"] for one in await alice.referrers(subject.digest)] == [signature.digest]
    await alice.push(subject)
    assert [one["digest"] for one in await alice.referrers(subject.digest)] == [signature.digest]


async def test_end_12a_what_is_deleted_refers_no_more(alice: Registry, subject: Image):
    signature = await attach(alice, subject, "signature")
    await alice.call("DELETE", f"manifests/{signature.digest}", status=202)
    assert await alice.referrers(subject.digest) == []


async def test_end_12a_referrers_of_another_repository_are_its_own(alice: Registry, subject: Image):
    await attach(alice.at("alice/other"), subject, "signature")
    assert await alice.referrers(subject.digest) == []


@pytest.mark.parametrize("text", ["nonsense", "latest", "sha256:bad", "md5:" + "0" * 32])
async def test_end_12a_400_for_what_is_no_digest(alice: Registry, subject: Image, text: str):
    await alice.call("GET", f"referrers/{text}", status=400, code="DIGEST_INVALID")


async def test_end_12b_a_filter_is_applied_and_says_so(alice: Registry, subject: Image):
    signature = await attach(alice, subject, "signature", artifact_type=SIGNATURE)
    await attach(alice, subject, "sbom", artifact_type=SBOM)
    await attach(alice, subject, "image", config_type=OCI_CONFIG)
    for asked, expected in ((SIGNATURE, [signature.digest]), ("application/other", [])):
        answer = await alice.client.get(f"/v2/alice/birds/referrers/{subject.digest}", params={"artifactType": asked})
        assert answer.headers["oci-filters-applied"] == "artifactType"
        assert [one["digest"] for one in answer.json()["manifests"]] == expected


async def test_end_12a_a_long_list_goes_in_pages(alice: Registry, subject: Image):
    made = [(await attach(alice, subject, words)).digest for words in "abcde"]
    path = f"/v2/alice/birds/referrers/{subject.digest}"
    assert [one["digest"] for one in await walk(alice, f"{path}?n=2", "manifests")] == made
    assert [one["digest"] for one in await walk(alice, path, "manifests")] == made
    assert await alice.referrers(subject.digest, "?n=0") == []


async def test_end_12b_the_next_page_has_the_same_filter(alice: Registry, subject: Image):
    made = [(await attach(alice, subject, words, artifact_type=SBOM)).digest for words in "abc"]
    await attach(alice, subject, "signature", artifact_type=SIGNATURE)
    answer = await alice.get(f"referrers/{subject.digest}?{urlencode({'n': 2, 'artifactType': SBOM})}")
    rest = await alice.client.get(answer.links["next"]["url"])
    assert [one["digest"] for one in rest.json()["manifests"]] == made[2:]
    assert rest.headers["oci-filters-applied"] == "artifactType"
    assert "link" not in rest.headers


async def test_end_12a_400_for_a_page_that_no_link_led_to(alice: Registry, subject: Image):
    for query in ("?n=x", "?last=nonsense"):
        await alice.call("GET", f"referrers/{subject.digest}{query}", status=400)


async def test_an_image_stays_what_it_was_when_something_refers_to_it(alice: Registry, subject: Image):
    await attach(alice, subject, "signature")
    answer = await alice.get("manifests/latest")
    assert (answer.content, answer.headers["content-type"]) == (subject.manifest, OCI_MANIFEST)
    assert await alice.tags() == ["latest"]


# --- the catalogue -------------------------------------------------------------------------------------------------


async def test_the_catalogue_has_what_its_reader_may_see(alice: Registry, people: People):
    for name in ("alice/b", "alice/a", "alice/a/c"):
        await alice.at(name).push(Image(name), "latest")
    for person in ("alice", "bob"):
        registry = await people.registry(person)
        assert (await registry.get("/v2/_catalog")).json() == {"repositories": ["alice/a", "alice/a/c", "alice/b"]}
        assert await walk(registry, "/v2/_catalog?n=2", "repositories") == ["alice/a", "alice/a/c", "alice/b"]


async def test_the_catalogue_asks_for_credentials_and_takes_an_anonymous_token(alice: Registry, people: People):
    await alice.push(Image(), "latest")
    nobody = await people.registry(None)
    challenge = challenge_of(await nobody.call("GET", "/v2/_catalog", status=401, code="UNAUTHORIZED"))
    assert challenge["scope"] == "registry:catalog:*"
    fetched = await nobody.client.get("/v2/token", params={"scope": challenge["scope"]})
    shown = await people.with_headers(bearer(fetched.json()["token"])).get("/v2/_catalog")
    assert shown.json() == {"repositories": ["alice/birds"]}


async def test_the_catalogue_needs_a_token_that_was_fetched_for_it(alice: Registry, people: People):
    credential = basic("x", await people.token("alice"))
    fetched = await alice.client.get("/v2/token", params={"scope": "repository:a/b:pull"}, headers=credential)
    narrow = people.with_headers(bearer(fetched.json()["token"]))
    await narrow.call("GET", "/v2/_catalog", status=401, code="UNAUTHORIZED")
