from __future__ import annotations

import pytest

from palomar.contract.errors import BadPackage
from palomar.packages.limits import PackageLimits
from palomar.packages.requirements import RequirementLine, Requirements, read_requirements
from tests.unit.packages.zips import opened, zipped


def read(text: str | bytes, others: dict[str, str] | None = None, **limits: int) -> Requirements:
    files = {name: value.encode() for name, value in (others or {}).items()}
    files["requirements.txt"] = text.encode() if isinstance(text, str) else text
    return read_requirements(opened(zipped(files)), PackageLimits(**limits))


@pytest.mark.parametrize(
    ("line", "kind", "name"),
    [
        ("numpy", "requirement", "numpy"),
        ("scikit-learn>=1.0,<2", "requirement", "scikit-learn"),
        ("jina[standard]==3.34.0 ; python_version > '3.7'", "requirement", "jina"),
        ("torch==2.0 --hash=sha256:abc", "requirement", "torch"),
        ("mine @ git+https://example.org/x.git@main", "requirement", "mine"),
        ("numpy==${NUMPY_VERSION}", "requirement", "numpy"),
        ("git+https://${TOKEN}@example.org/x.git#egg=mine", "url", "mine"),
        ("https://example.org/x-1.0-py3-none-any.whl", "url", None),
        ("./vendor/x", "path", None),
        ("x-1.0-py3-none-any.whl", "path", None),
        ("--extra-index-url https://example.org/simple", "option", None),
        ("-e .", "option", None),
        ("numpy = 1.0", "unknown", None),
        ("not a requirement", "unknown", None),
        ("numpy; " + "(" * 1000, "unknown", None),
        ("a" * 3000, "unknown", None),
    ],
)
def test_kinds_of_lines(line: str, kind: str, name: str | None) -> None:
    (found,) = read(line).lines
    assert (found.kind, found.name) == (kind, name)


def test_lines_comments_and_continuations() -> None:
    text = "# head\n\nnumpy  # why\r\nscipy \\\n  >=1.0\nurl @ https://example.org/x#egg=y\n"
    assert read(text).lines == (
        RequirementLine("numpy", "requirement", "requirements.txt", 3, "numpy"),
        RequirementLine("scipy   >=1.0", "requirement", "requirements.txt", 4, "scipy"),
        RequirementLine("url @ https://example.org/x#egg=y", "requirement", "requirements.txt", 6, "url"),
    )


def test_variables() -> None:
    found = read("a==${B_1}\ngit+https://${TOKEN}:${B_1}@x.org/y\nc==${lower}\nd==$PLAIN\n")
    assert found.variables == ("B_1", "TOKEN")


def test_unknown_lines_are_reported() -> None:
    assert read("numpy\n?!\n").warnings == ("requirements.txt line 2: '?!' is not understood",)
    assert len(read("?!\n" * 100).warnings) == 51


def test_included_files() -> None:
    others = {"more/extra.txt": "scipy\n-r ../requirements.txt\n-r deep.txt\n", "more/deep.txt": "torch\n"}
    found = read("-r more/extra.txt\nnumpy\n-r more/extra.txt\n", others)
    assert [(line.name, line.file) for line in found.lines if line.name] == [
        ("scipy", "more/extra.txt"),
        ("torch", "more/deep.txt"),
        ("numpy", "requirements.txt"),
    ]
    assert found.warnings == ()


def test_a_long_chain_of_included_files() -> None:
    others = {f"r{number}.txt": f"-r r{number + 1}.txt\n" for number in range(1000)}
    found = read("-r r0.txt\n", others)
    assert found.warnings == ("r18.txt line 1: not read, because 20 files have been",)


@pytest.mark.parametrize("target", ["../../etc/passwd", "/etc/passwd", "gone.txt"])
def test_included_files_that_are_not_in_the_package(target: str) -> None:
    assert read(f"-r {target}\n").warnings == (f"requirements.txt line 1: {target!r} is not in the package",)


def test_pyproject_is_appended() -> None:
    found = read("numpy\n", {"pyproject.toml": "[project]\nname = 'x'\ndependencies = ['scipy>=1', 'a==${B}']\n"})
    assert [line.name for line in found.lines] == ["numpy", "scipy", "a"]
    assert found.lines[1] == RequirementLine("scipy>=1", "requirement", "pyproject.toml", 1, "scipy")
    assert found.variables == ("B",)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[project\n", "pyproject.toml cannot be read"),
        ("a = " + "[" * 5000, "pyproject.toml cannot be read"),
        ("a." * 100_000 + "b = 1", "pyproject.toml cannot be read: it has a key of more than 32 parts"),
        ("x = {" + "'a' . " * 40 + "b = 1}", "pyproject.toml cannot be read: it has a key of more than 32 parts"),
        ("a = " + "9" * 5000, "pyproject.toml cannot be read"),
        ("[project]\ndependencies = 'x'\n", "pyproject.toml: 'project.dependencies' must be a list of texts"),
        ("[project]\ndependencies = [['x']]\n", "pyproject.toml: 'project.dependencies' must be a list of texts"),
    ],
)
def test_a_pyproject_that_cannot_be_read(text: str, words: str) -> None:
    (warning,) = read("", {"pyproject.toml": text}).warnings
    assert warning.startswith(words)


def test_a_pyproject_without_project() -> None:
    assert read("", {"pyproject.toml": "project = 1\n"}).lines == ()
    assert read("", {"pyproject.toml": "[tool.x]\n"}).lines == ()


def test_a_huge_file_is_refused() -> None:
    with pytest.raises(BadPackage) as caught:
        read(b"#" * (1024 * 1024 + 1))
    assert (caught.value.reason, caught.value.entry) == ("it is larger than 1,048,576 bytes", "requirements.txt")


def test_too_many_lines_are_refused() -> None:
    with pytest.raises(BadPackage, match="more than 3 requirements"):
        read("a\nb\nc\nd\n", max_requirements=3)


def test_no_requirements() -> None:
    assert read_requirements(opened(zipped({"a.py": b""})), PackageLimits()) == Requirements()
    assert read(b"\xff\xfe\x00").lines[0].kind == "unknown"
