"""Which index builds use, and what it says of where its files are."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from palomar.server.builds import package_index
from palomar.server.builds.builder import BuildFailure
from palomar.server.builds.package_index import with_hosts, with_index
from palomar.server.builds.package_rules import NO_INDEX, PackageRules
from palomar.server.settings import Settings
from palomar.server.wiring import package_rules
from tests.fixtures.package_index import LocalIndex, Page, local_index


@pytest.fixture
def index() -> Iterator[LocalIndex]:
    package_index._known_hosts.clear()
    with local_index() as index:
        yield index


def rules_of(index: LocalIndex, *hosts: str) -> PackageRules:
    return PackageRules(Path(), index_url=index.url, index_hosts=hosts)


def uv_that_says(folder: Path, text: str) -> PackageRules:
    program = folder / "uv"
    program.write_text(f"#!/bin/sh\n{text}\n")
    program.chmod(0o755)
    return PackageRules(Path(), uv=program)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, None),
        ({"build_index_url": SecretStr("https://index.example/simple")}, "https://index.example/simple"),
        ({"build_index_url": SecretStr("None")}, NO_INDEX),
        ({"build_index_url": SecretStr("")}, NO_INDEX),
        ({"build_find_links": Path("packages")}, NO_INDEX),
    ],
)
def test_the_operator_chooses_an_index_or_none(given: dict[str, Any], expected: str | None) -> None:
    rules = package_rules(Settings(build_index_hosts=("files.example",), **given))
    assert rules.index_url == expected
    assert rules.index_hosts == ("files.example",)
    assert rules.find_links == given.get("build_find_links")


async def test_without_a_choice_it_is_uvs_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UV_DEFAULT_INDEX", "https://somebody.example/simple")
    rules = await with_index(PackageRules(Path()))
    assert rules.index_url is not None
    assert rules.index_url.startswith("https://")
    assert "somebody" not in rules.index_url
    assert len(rules.hosts()) == 1
    assert rules.near_hosts() == frozenset()


async def test_uv_is_asked_once(tmp_path: Path) -> None:
    asked = tmp_path / "asked"
    rules = uv_that_says(
        tmp_path, f"echo x >> {asked}; echo --index-url https://index.example/simple; env > {asked}.env"
    )
    assert (await with_index(rules)).hosts() == {("index.example", 443)}
    assert (await with_index(rules)).index_url == "https://index.example/simple"
    assert asked.read_text() == "x\n"
    names = {line.partition("=")[0] for line in (tmp_path / "asked.env").read_text().splitlines()}
    assert names <= {"PWD", "SHLVL", "_", "OLDPWD"}


@pytest.mark.parametrize("said", ["true", "exit 2", "echo --index-url file:///etc", "echo --index-url"])
async def test_a_uv_that_does_not_say_is_the_hubs_matter(tmp_path: Path, said: str) -> None:
    with pytest.raises(BuildFailure, match="does not say which package index") as failure:
        await with_index(uv_that_says(tmp_path, said))
    assert failure.value.is_hubs_fault
    assert "PALOMAR_BUILD_INDEX_URL" in failure.value.hint


async def test_where_there_is_no_index_nothing_is_asked(tmp_path: Path) -> None:
    rules = PackageRules(Path(), index_url=NO_INDEX, uv=tmp_path / "none")
    assert await with_hosts(rules) == rules


async def test_the_files_hosts_are_learned_from_json(index: LocalIndex) -> None:
    index.files("https://files.example/a.whl", "https://files.example/b.whl", "../../c.whl", "http://a.example:81/d")
    rules = await with_hosts(rules_of(index, "more.example"))
    own = ("127.0.0.1", index.port)
    assert rules.hosts() == {("files.example", 443), ("a.example", 81), ("more.example", 443), own}
    assert rules.near_hosts() == {("more.example", 443), own}


async def test_the_files_hosts_are_learned_from_html(index: LocalIndex) -> None:
    index.links("https://files.example/a.whl#sha256=0", "b.whl", "ftp://c.example/c", "http://[", "//d.example/d")
    rules = await with_hosts(rules_of(index))
    assert rules.hosts() == {("127.0.0.1", index.port), ("files.example", 443), ("d.example", 80)}


async def test_html_may_say_what_its_links_begin_with(index: LocalIndex) -> None:
    index.links("a.whl", head='<base href="https://files.example/jina/">')
    assert ("files.example", 443) in (await with_hosts(rules_of(index))).hosts()


async def test_a_host_that_the_index_sends_its_callers_to_is_learned(index: LocalIndex) -> None:
    index.pages["/simple/jina/"] = Page(status=302, location=f"http://localhost:{index.port}/there/")
    index.links("a.whl", path="/there/")
    rules = await with_hosts(rules_of(index))
    assert rules.learned_hosts == {("localhost", index.port)}
    assert rules.near_hosts() == {("127.0.0.1", index.port)}


async def test_uvs_own_index_is_not_near(index: LocalIndex) -> None:
    index.files("https://files.example/a.whl")
    own = frozenset({("127.0.0.1", index.port)})
    rules = await with_hosts(PackageRules(Path(), index_url=index.url, learned_hosts=own))
    assert rules.hosts() == own | {("files.example", 443)}
    assert rules.near_hosts() == frozenset()


async def test_an_index_is_asked_once_in_some_hours(index: LocalIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    index.files("https://files.example/a.whl")
    for _ in range(3):
        await with_hosts(await with_hosts(rules_of(index)))
    assert index.seen == [("/simple/jina/", None)]
    monkeypatch.setattr(package_index, "_KNOWN_FOR_S", 0)
    await with_hosts(rules_of(index))
    assert len(index.seen) == 2


async def test_credentials_are_sent_and_no_part_of_an_address(index: LocalIndex) -> None:
    url = index.url.replace("127.0.0.1", "me:p%40ss@127.0.0.1")
    index.files("https://files.example/a.whl")
    await with_hosts(PackageRules(Path(), index_url=url))
    assert index.seen == [("/simple/jina/", "Basic " + base64.b64encode(b"me:p@ss").decode())]


async def test_an_index_without_the_project_names_no_hosts(index: LocalIndex) -> None:
    assert (await with_hosts(rules_of(index))).hosts() == {("127.0.0.1", index.port)}


@pytest.mark.parametrize(
    ("page", "sentence"),
    [
        (Page(status=503), "The package index on 127.0.0.1 cannot be reached."),
        (Page(status=302, location="/simple/jina/"), "The package index on 127.0.0.1 cannot be reached."),
        (Page(status=401), "The package index on 127.0.0.1 refuses the hub (401)."),
        (Page(b"[1]", "application/json"), "The package index on 127.0.0.1 answers with something else"),
        (Page(b"[" * 100_000, "application/json"), "The package index on 127.0.0.1 answers with something else"),
        (Page(bytes(2000)), "The package index on 127.0.0.1 answers with something else"),
    ],
)
async def test_an_index_that_is_none_is_the_hubs_matter(
    index: LocalIndex, page: Page, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if page.media_type == "text/html":
        monkeypatch.setattr(package_index, "_MAX_PAGE_BYTES", 1000)
    index.pages["/simple/jina/"] = page
    with pytest.raises(BuildFailure) as failure:
        await with_hosts(rules_of(index))
    assert failure.value.sentence.startswith(sentence)
    assert failure.value.is_hubs_fault
    # A failure is not kept.
    index.files("https://files.example/a.whl")
    assert ("files.example", 443) in (await with_hosts(rules_of(index))).hosts()


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/simple", "http://me:s3cret@127.0.0.1:9/simple"])
async def test_an_index_that_is_away_is_the_hubs_matter(url: str) -> None:
    with pytest.raises(BuildFailure) as failure:
        await with_hosts(PackageRules(Path(), index_url=url))
    assert failure.value.sentence == "The package index on 127.0.0.1 cannot be reached."
    assert failure.value.is_hubs_fault
