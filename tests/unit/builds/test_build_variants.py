"""Which versions a caller has, which variant that makes, and which steps a build may take."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest

from palomar.server.builds.states import LIVE, BuildState, IllegalStepError, checked_step
from palomar.server.builds.values import BaseChoice, own_platform
from palomar.server.builds.variants import DEFAULT_VERSIONS, AskedVersions, Variant, Versions, plain_version

VARIANT = Variant(Versions("3.34.0", "0.21.0"), ("linux/amd64",), "sha256:" + "b" * 64, "layered")


@pytest.mark.parametrize(
    ("given", "plain"),
    [
        ("3.34.0", "3.34.0"),
        ("v3.34", "3.34"),
        ("0.21.0rc1", "0.21.0rc1"),
        ("3.34.1.dev2", "3.34.1.dev2"),
        ("1.0+mine", None),
        ("latest", None),
        ("", None),
        (None, None),
        ("1.0; rm -rf /", None),
        ("1" * 41, None),
        ("１.0", None),
        ("not-available", None),
    ],
)
def test_only_a_plain_version_counts(given: str | None, plain: str | None) -> None:
    assert plain_version(given) == plain


def test_what_a_caller_does_not_say_is_as_at_the_push() -> None:
    first = Versions("3.20.0", "0.38.0")
    assert AskedVersions.of(jina="3.34.0", docarray="?").or_else(first) == ("3.34.0", "0.38.0")
    assert AskedVersions().or_else(first) == first
    assert AskedVersions().or_else(None) == DEFAULT_VERSIONS


def test_everything_that_makes_another_image_makes_another_key() -> None:
    others = [
        replace(VARIANT, versions=Versions("3.34.0", "0.38.0")),
        replace(VARIANT, versions=Versions("3.33.0", "0.21.0")),
        replace(VARIANT, platforms=("linux/amd64", "linux/arm64")),
        replace(VARIANT, base_digest="sha256:" + "c" * 64),
        replace(VARIANT, builder="buildah"),
    ]
    keys = {variant.key for variant in (VARIANT, *others)}
    assert len(keys) == 6
    assert replace(VARIANT).key == VARIANT.key


def test_platforms_are_those_that_were_asked_for() -> None:
    base = BaseChoice("sha256:x", ("linux/amd64", "linux/arm64", own_platform()))
    assert base.choose("linux/arm64,linux/amd64,linux/aarch64") == ("linux/amd64", "linux/arm64")
    assert base.choose("linux/riscv64,or/even/what/is/none") == ("linux/riscv64", "or/even/what/is/none")
    assert base.choose("") == base.choose(",") == (own_platform(),)
    assert BaseChoice("sha256:x", ("linux/s390x",)).choose("") == ("linux/s390x",)


ALLOWED = {
    ("waiting", "running"),
    ("waiting", "failed"),
    ("waiting", "cancelled"),
    ("running", "running"),
    ("running", "succeeded"),
    ("running", "failed"),
    ("running", "cancelled"),
}


@pytest.mark.parametrize(("current", "to"), list(product(BuildState, BuildState)))
def test_a_build_takes_allowed_steps_alone(current: BuildState, to: BuildState) -> None:
    if (current, to) in ALLOWED:
        assert checked_step(current, to) is to
    else:
        with pytest.raises(IllegalStepError):
            checked_step(current, to)


def test_whatever_is_not_live_is_over() -> None:
    assert {state for state in BuildState if state.is_over} == set(BuildState) - LIVE
