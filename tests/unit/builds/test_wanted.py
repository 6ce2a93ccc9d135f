"""What a package's requirement lines may say, and what uv gets of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from palomar.packages.requirements import Requirements, parse_line
from palomar.server.builds.builder import BuildFailure
from palomar.server.builds.package_rules import PackageRules
from palomar.server.builds.wanted import Prepared, Wanted, prepare

INDEX = "https://index.example.org/simple"
RULES = PackageRules(Path("cache"), index_url=INDEX, index_hosts=("files.example.org", "packages.example.org:8443"))


def prepared(*lines: str, build_env: dict[str, str] | None = None, rules: PackageRules = RULES) -> Prepared:
    parsed = tuple(parse_line(text, file="requirements.txt", number=n) for n, text in enumerate(lines, 1))
    return prepare(Wanted(Requirements(parsed), "3.34.0", "0.21.0", build_env or {}), rules)


def refusal(*lines: str, build_env: dict[str, str] | None = None, rules: PackageRules = RULES) -> BuildFailure:
    with pytest.raises(BuildFailure) as failure:
        prepared(*lines, build_env=build_env, rules=rules)
    assert not failure.value.is_hubs_fault
    return failure.value


@pytest.mark.parametrize(
    "line",
    [
        "-e .",
        "--editable=./src",
        "-r /etc/passwd",
        "-r ../secrets.txt",
        "--requirement=file:///etc/passwd",
        "-r https://example.org/r.txt",
        "-c constraints.txt",
        "--constraint /etc/hosts",
        "-f /",
        "--find-links /",
        "--find-links=https://index.example.org/x",
        "--trusted-host index.example.org",
        "--no-index",
        "--config-settings x=y",
        ".",
        "./wheels/x.whl",
        "/opt/x.whl",
        "x-1.0.tar.gz",
        "file:///etc/passwd",
        "x @ file:///etc/passwd",
        "x @ git+file:///srv/repository",
        "git+ssh://git@github.com/a/b.git",
        "git+https://github.com/a/b.git",
        "https://evil.example/x-1.0-py3-none-any.whl",
        "x @ https://packages.example.org/x-1.0-py3-none-any.whl",
        "x @ https://127.0.0.1/x.whl",
        "--index-url http://169.254.169.254/simple",
        "--extra-index-url https://evil.example/simple",
        "--extra-index-url file:///srv",
        "-i https://index.example.org.evil.example/simple",
        "--index-url https://index.example.org@evil.example/simple",
        "numpy --global-option=--x",
        "numpy --index-url https://evil.example",
        "-ihttps://evil.example/simple",
        "!! what",
    ],
)
def test_a_line_that_reaches_elsewhere_is_refused_by_its_number(line: str) -> None:
    failure = refusal("numpy", line)
    assert failure.sentence.startswith("requirements.txt line 2 (")
    assert failure.hint


def test_what_names_packages_of_the_index_is_passed_on() -> None:
    lines = ("numpy>=1.26 ; python_version > '3.8'", "torch[extra]==2.5.0", "six --hash=sha256:" + "a" * 64)
    found = prepared(*lines)
    assert found.text().splitlines()[:3] == list(lines)
    assert found.asked[2].hashes == ("sha256:" + "a" * 64,)
    assert found.is_shareable
    assert found.lines_of("NumPy")[0].line == 1


def test_jina_and_what_it_imports_are_asked_for_with_the_rest() -> None:
    found = prepared("numpy")
    assert found.text().splitlines() == ["numpy", "jina==3.34.0", "docarray==0.21.0", "setuptools"]
    assert "setuptools<81" in found.constraints
    assert "numpy<2" in found.constraints
    assert found.build_constraints == ("setuptools<81",)


def test_an_allowed_address_is_passed_on_and_makes_the_build_its_own() -> None:
    for line in (
        "x @ https://packages.example.org:8443/x-1.0-py3-none-any.whl",
        "https://files.example.org/x-1.0-py3-none-any.whl#egg=x",
        "--extra-index-url https://packages.example.org:8443/simple",
    ):
        found = prepared(line)
        assert found.text().splitlines()[0] == line
        assert not found.is_shareable


def test_git_is_for_the_operator_to_allow() -> None:
    line = "x @ git+https://github.com/a/b.git@v1"
    assert "PALOMAR_BUILD_GIT_HOSTS" in refusal(line).hint
    rules = PackageRules(Path("cache"), INDEX, git_hosts=("github.com",))
    assert prepared(line, rules=rules).text().startswith(line)


def test_a_credential_stays_a_variable() -> None:
    line = "x @ https://me:${TOKEN}@files.example.org/x-1.0-py3-none-any.whl"
    found = prepared(line, build_env={"TOKEN": "s3cret", "OTHER": "unused"})
    assert "s3cret" not in found.text()
    assert "${PALOMAR_BUILD_TOKEN}" in found.text()
    assert found.environment == {"PALOMAR_BUILD_TOKEN": "s3cret"}
    assert "s3cret" not in repr(found)


def test_a_version_is_put_in() -> None:
    assert prepared("numpy==${V}", build_env={"V": "1.26.4"}).text().startswith("numpy==1.26.4\n")


def test_a_variable_that_was_not_given_is_named_with_its_line() -> None:
    failure = refusal("numpy", "x==${MISSING}", build_env={"V": "1"})
    expected = "requirements.txt line 2 ('x==${MISSING}') needs the variable MISSING, which the push did not give."
    assert failure.sentence == expected
    assert "--build-env MISSING=VALUE" in failure.hint


def test_only_the_pushs_variables_are_expanded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_OF_HUB", "x")
    assert "SECRET_OF_HUB" in refusal("x==${SECRET_OF_HUB}").sentence
    assert "is no variable" in refusal("x @ https://files.example.org/${home}/x.whl").sentence


@pytest.mark.parametrize("value", ["1 --index-url https://evil.example", "1\n-e .", "1 @ file:///etc/passwd"])
def test_a_value_cannot_bring_an_option(value: str) -> None:
    failure = refusal("numpy==${V}", build_env={"V": value})
    assert value not in failure.sentence


def test_a_value_cannot_turn_a_name_into_an_address() -> None:
    failure = refusal("${V}", build_env={"V": "https://evil.example/x.whl"})
    assert "evil.example" not in failure.sentence


def test_a_host_in_a_variable_is_checked_as_it_is_meant() -> None:
    refusal("x @ https://${HOST}/x.whl", build_env={"HOST": "evil.example"})
    assert prepared("x @ https://${HOST}/x.whl", build_env={"HOST": "files.example.org"}).environment


def test_a_file_of_the_package_itself_may_be_included() -> None:
    lines = (
        parse_line("-r more/base.txt", file="requirements.txt", number=1),
        parse_line("numpy", file="more/base.txt", number=1),
        parse_line("pandas", file="pyproject.toml", number=1),
    )
    found = prepare(Wanted(Requirements(lines), "3.34.0", "0.21.0"), RULES)
    assert found.text().splitlines()[:2] == ["numpy", "pandas"]


def test_a_file_that_is_lacking_is_no_empty_file() -> None:
    line = parse_line("-r base.txt", file="requirements.txt", number=4)
    asked = Requirements((line,), warnings=("requirements.txt line 4: 'base.txt' is not in the package",))
    with pytest.raises(BuildFailure, match=r"requirements\.txt line 4"):
        prepare(Wanted(asked, "3.34.0", "0.21.0"), RULES)


def test_prereleases_are_allowed_by_the_line_that_says_so() -> None:
    assert prepared("--pre", "numpy").allows_prereleases
    assert not prepared("numpy").allows_prereleases
