"""References: every way to write one image comes to one name."""

from __future__ import annotations

import pytest

from palomar.server.builds.bases.reference import Reference

DIGEST = "sha256:" + "0" * 64


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("python", "docker.io/library/python:latest"),
        ("python:3.11-slim", "docker.io/library/python:3.11-slim"),
        ("docker.io/python", "docker.io/library/python:latest"),
        ("index.docker.io/python", "docker.io/library/python:latest"),
        ("team/python", "docker.io/team/python:latest"),
        ("localhost/python", "localhost/python:latest"),
        ("localhost:5000/a/b:c", "localhost:5000/a/b:c"),
        ("Hub.Example.org/a", "hub.example.org/a:latest"),
        ("[::1]:5000/a", "[::1]:5000/a:latest"),
        (f"python@{DIGEST}", f"docker.io/library/python@{DIGEST}"),
        (f"python:3@{DIGEST}", f"docker.io/library/python:3@{DIGEST}"),
        ("a__b/c.d-e", "docker.io/a__b/c.d-e:latest"),
    ],
)
def test_every_reference_has_one_form(text: str, shown: str) -> None:
    assert str(Reference.parse(text)) == shown
    assert str(Reference.parse(shown)) == shown


@pytest.mark.parametrize(
    "text",
    ["", "/", ":", "a:", "a@", "a@sha256:0", "a/", "/a", "a//b", "a b", "Python", "a:b:c", "host:x/a", "../a",
     "a" * 300, "a:" + "b" * 129, "a\n", "ä", "a/../b", "-a", "a-"],
)  # fmt: skip
def test_what_is_no_reference_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="reference"):
        Reference.parse(text)


def test_the_name_of_a_base_has_no_digest() -> None:
    assert str(Reference.parse(f"python@{DIGEST}").without_digest) == "docker.io/library/python:latest"
