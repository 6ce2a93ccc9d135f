"""Sentences for what uv and build backends really said."""

from __future__ import annotations

from pathlib import Path

import pytest

from palomar.packages.requirements import Requirements, parse_line
from palomar.server.builds.builder import BuildFailure
from palomar.server.builds.explain import BuildSubject, Circumstances, explain, explain_build, explain_install
from palomar.server.builds.limits import Excess
from palomar.server.builds.lock import LockPart
from palomar.server.builds.masking import Masking
from palomar.server.builds.package_rules import PackageRules
from palomar.server.builds.python_base import PythonBase
from palomar.server.builds.sandbox import Outcome
from palomar.server.builds.wanted import Wanted, prepare

BASE = PythonBase(Path("rootfs"), "/usr/bin/python3.11", "3.11", "linux/amd64", "glibc 2.36")
RULES = PackageRules(Path("cache"), index_url="https://index.example.org/simple", index_hosts=("files.example.org",))


def recorded(name: str) -> Outcome:
    text = (Path(__file__).parent / "recorded" / f"{name}.txt").read_text()
    return Outcome(1, tuple(text.splitlines()))


def asked(*lines: str) -> Circumstances:
    parsed = tuple(parse_line(text, file="requirements.txt", number=n) for n, text in enumerate(lines, 1))
    prepared = prepare(Wanted(Requirements(parsed), "3.34.0", "0.21.0"), RULES)
    return Circumstances(BASE, "3.34.0", "0.21.0", prepared, [])


@pytest.mark.parametrize(
    ("name", "lines", "expected"),
    [
        ("no_such_package", ("numpy", "this-package-does-not-exist-palomar>=1"), "line 2 .*there is no package named"),
        ("no_such_version", ("requests==99.0",), "line 1 .*there is no version requests==99.0"),
        ("two_lines", ("requests==2.31.0", "requests==2.32.0"), "line 1 .* and requirements.txt line 2 .* contradict"),
        ("transitive", ("botocore==1.34.0", "urllib3==2.6.0"), r"line 2 .* line 1 .*needs urllib3>=1.25.4,<2.1\."),
        ("jina_conflict2", ("uvicorn==0.30.0",), r"line 1 .* jina 3.34.0, which needs uvicorn<=0.23.1\."),
        ("numpy2", ("numpy>=2",), "line 1 .* numpy<2, held for jina 3.34.0 with docarray 0.21.0: .* numpy 1"),
        ("no_wheel", ("tensorflow-macos==2.15.0",), "line 1 .* no wheel for Python 3.11 on linux/amd64"),
        ("metadata_fails", ("sklearn==0.0.post12",), "line 1 .*building sklearn from source failed: The 'sklearn'"),
        ("direct404", ("foo @ https://files.example.org/foo.whl",), r"line 1 .*nothing is at that address"),
        ("file_lacking", ("foo==1",), "line 1 .*no package named foo"),
    ],
)
def test_a_failed_resolution_names_the_line(name: str, lines: tuple[str, ...], expected: str) -> None:
    failure = explain(recorded(name), asked(*lines))
    assert Found(failure).matches(f"^requirements.txt {expected}")
    assert failure.hint
    assert not failure.is_hubs_fault


class Found:
    def __init__(self, failure: BuildFailure) -> None:
        self.failure = failure

    def matches(self, pattern: str) -> bool:
        with pytest.raises(BuildFailure, match=pattern):
            raise self.failure
        return True


@pytest.mark.parametrize("name", ["unreachable", "notls"])
def test_an_index_that_is_away_is_the_hubs_matter(name: str) -> None:
    failure = explain(recorded(name), asked("numpy"))
    assert failure.sentence == "The package index on 127.0.0.1 cannot be reached."
    assert failure.is_hubs_fault


def build_subject(name: str, *, line: str | None = None, refused: tuple[str, ...] = ()) -> BuildSubject:
    return BuildSubject(BASE, name, "1.0", line, refused, Masking({}))


def test_a_missing_compiler_is_told() -> None:
    line = "requirements.txt line 3 ('python-levenshtein')"
    failure = explain_build(recorded("compiler"), build_subject("python-levenshtein", line=line))
    assert failure.sentence == (
        "requirements.txt line 3 ('python-levenshtein'): python-levenshtein must be built from source for Python 3.11, "
        "which needs a C compiler, and the base image has none."
    )
    assert "has a wheel" in failure.hint


def test_the_backends_own_error_is_quoted() -> None:
    failure = explain_build(recorded("build_error"), build_subject("pyyaml"))
    assert failure.sentence == "building pyyaml from source failed: AttributeError: cython_sources"


def test_a_host_that_was_refused_is_named() -> None:
    failure = explain_build(recorded("build_error"), build_subject("pyyaml", refused=("evil.example:443",)))
    assert "tries to reach evil.example:443" in failure.sentence


@pytest.mark.parametrize(
    ("excess", "expected", "is_hubs"),
    [("time", "longer", True), ("memory", "more memory", False), ("disk", "disk space", False)],
)
def test_a_limit_is_told_as_such(excess: Excess, expected: str, is_hubs: bool) -> None:
    for failure in (
        explain(Outcome(-9, (), excess), asked("numpy")),
        explain_build(Outcome(-9, (), excess), build_subject("x")),
        explain_install(Outcome(-9, (), excess), BASE, LockPart(()), Masking({})),
    ):
        assert expected in failure.sentence
        assert failure.is_hubs_fault is is_hubs


def test_a_wrong_hash_names_the_line() -> None:
    said = ("error: Failed to download `six==1.16.0`", "  cause: Hash mismatch for `six==1.16.0`", "", "Expected:")
    part = LockPart((), asked={"six": "requirements.txt line 2 ('six')"})
    failure = explain_install(Outcome(1, said), BASE, part, Masking({}))
    assert failure.sentence.startswith("requirements.txt line 2 ('six'): what the index serves for six==1.16.0")


def test_a_full_disk_of_the_hubs_is_the_hubs_matter() -> None:
    said = ("error: Failed to write to the client cache", "  cause: No space left on device (os error 28)")
    assert explain_install(Outcome(2, said), BASE, LockPart(()), Masking({})).is_hubs_fault


def test_what_is_not_known_is_quoted() -> None:
    said = ("error: Something new", "  cause: never seen before", "", "hint: do this")
    failure = explain(Outcome(2, said), asked("numpy"))
    assert failure.sentence == "The requirements cannot be resolved: never seen before"


def test_values_are_hidden_in_what_a_backend_says() -> None:
    said = ("error: Failed to build `x==1`", "ValueError: token s3cret-value")
    subject = BuildSubject(BASE, "x", "1", None, (), Masking({"TOKEN": "s3cret-value"}))
    assert explain_build(Outcome(2, said), subject).sentence.endswith("ValueError: token ${TOKEN}")
