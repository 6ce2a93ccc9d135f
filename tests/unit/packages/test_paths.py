from __future__ import annotations

import pytest

from palomar.contract.errors import BadPackage
from palomar.packages.limits import PackageLimits
from palomar.packages.paths import check_name, check_tree, is_inside
from tests.unit.packages.zips import Raw, opened, raw_zip, zipped

LIMITS = PackageLimits()


@pytest.mark.parametrize(
    "name", ["executor.py", "a/b/c.txt", "data/", ".jinaignore", "größe.txt", "数据/模型.bin", "a b.txt", "con-fig.yml"]
)
def test_plain_names(name: str) -> None:
    check_name(name, LIMITS)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("", "an entry has no name"),
        ("../evil.py", "its name has the part '..', which leads elsewhere"),
        ("a/../../evil.py", "its name has the part '..', which leads elsewhere"),
        ("./executor.py", "its name has the part '.', which leads elsewhere"),
        ("a//b", "its name has the part '', which leads elsewhere"),
        ("data//", "its name has the part '', which leads elsewhere"),
        ("/etc/passwd", "its name is absolute"),
        ("/", "its name is absolute"),
        ("//host/share", "its name is absolute"),
        ("C:evil.py", "its name begins with a drive letter"),
        ("c:/evil.py", "its name begins with a drive letter"),
        ("a\\b.py", "its name has a backslash"),
        ("..\\evil.py", "its name has a backslash"),
        ("executor.py\x00.txt", "its name has control characters"),
        ("exe\ncutor.py", "its name has control characters"),
        ("exe\x1b[31mcutor.py", "its name has control characters"),
        ("exe\u202ecutor.py", "its name has control characters"),
        ("exe\u2028cutor.py", "its name has control characters"),
        ("executor.py.", "a part of its name ends in a dot or a space, which Windows drops"),
        ("executor.py ", "a part of its name ends in a dot or a space, which Windows drops"),
        ("data./x", "a part of its name ends in a dot or a space, which Windows drops"),
        ("...", "a part of its name ends in a dot or a space, which Windows drops"),
        ("file.txt:stream", "its name has ':', which Windows cannot store"),
        ("what?", "its name has '?', which Windows cannot store"),
        ("NUL", "'NUL' is the name of a device on Windows"),
        ("a/con.txt", "'con.txt' is the name of a device on Windows"),
        ("Lpt1.tar.gz", "'Lpt1.tar.gz' is the name of a device on Windows"),
        ("com¹", "'com¹' is the name of a device on Windows"),
        (".git/config", "a folder '.git' could run its own commands when git looks at it"),
        ("sub/.GIT/hooks/x", "a folder '.git' could run its own commands when git looks at it"),
        ("GIT~1/config", "a folder '.git' could run its own commands when git looks at it"),
        ("x" * 241, "its name is longer than 240 bytes"),
        ("ü" * 121, "its name is longer than 240 bytes"),
        ("a/" * 32 + "b", "it lies more than 32 folders deep"),
    ],
)
def test_names_that_are_refused(name: str, words: str) -> None:
    with pytest.raises(BadPackage) as caught:
        check_name(name, LIMITS)
    assert caught.value.reason == words


def test_the_error_shows_what_is_invisible() -> None:
    with pytest.raises(BadPackage) as caught:
        check_name("a\x1b\u202eb", LIMITS)
    assert caught.value.entry == "a\\x1b\\u202eb"


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["a.py", "a.py"], "it is there twice, or as a file and as a folder"),
        (["a/", "a/"], "it is there twice, or as a file and as a folder"),
        (["a", "a/"], "it is there twice, or as a file and as a folder"),
        (["a", "a/b"], "'a' is both a file and a folder"),
        (["a/b", "a"], "'a' is both a file and a folder"),
        (["a.py", "A.py"], "'a.py' and 'A.py' are one name where case or Unicode form is ignored"),
        (["Data/x", "data/y"], "'Data' and 'data' are one name where case or Unicode form is ignored"),
        (["straße", "STRASSE"], "'straße' and 'STRASSE' are one name where case or Unicode form is ignored"),
        (["\u00e9", "e\u0301"], "'\u00e9' and 'e\u0301' are one name where case or Unicode form is ignored"),
        (["ﬁle", "file"], "'ﬁle' and 'file' are one name where case or Unicode form is ignored"),
    ],
)
def test_names_that_cannot_be_beside_one_another(names: list[str], words: str) -> None:
    with pytest.raises(BadPackage) as caught:
        check_tree(names)
    assert caught.value.reason == words


def test_a_folder_may_be_listed_or_not() -> None:
    check_tree(["a/b/c", "a/", "a/b/", "a/d"])


@pytest.mark.parametrize(
    ("raw", "flags", "words"),
    [
        (b"gr\xfc.py", 0, "its name is not ASCII and not marked as UTF-8"),
        (b"gr\xfc.py", 1 << 11, "its name is not UTF-8"),
        ("grün.py".encode(), 0, "its name is not ASCII and not marked as UTF-8"),
    ],
)
def test_names_that_every_program_reads_differently(raw: bytes, flags: int, words: str) -> None:
    with pytest.raises(BadPackage) as caught:
        opened(raw_zip(Raw(name=raw, flags=flags)))
    assert caught.value.reason == words
    assert caught.value.entry is not None
    caught.value.entry.encode()


def test_the_archive_checks_names_and_the_tree() -> None:
    with pytest.raises(BadPackage, match="leads elsewhere"):
        opened(zipped({"../evil.py": b""}))
    with pytest.raises(BadPackage, match="one name where case"):
        opened(zipped({"a.py": b"", "A.py": b""}))


@pytest.mark.parametrize(
    ("path", "inside"),
    [
        ("executor.py", True),
        ("./executor.py", True),
        ("a/b.py", True),
        ("", False),
        ("./", False),
        ("/a.py", False),
        ("../a.py", False),
        ("a/../b", False),
        ("a\\b", False),
        ("C:a", False),
    ],
)
def test_paths_that_a_package_names(path: str, *, inside: bool) -> None:
    assert is_inside(path) is inside
