from __future__ import annotations

import io
import json
import string
import tempfile
import zipfile
from contextlib import suppress
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from palomar.contract.errors import BadPackage
from palomar.packages.archive import open_package
from palomar.packages.config import PackageConfig, read_config
from palomar.packages.limits import PackageLimits
from palomar.packages.package import read_package
from palomar.packages.source import find_executor
from palomar.packages.text import clean, shown
from tests.unit.packages.zips import CONFIG, EXECUTOR, Raw, opened, raw_zip, zipped

LIMITS = PackageLimits()
PARTS = st.one_of(
    st.sampled_from(["..", ".", "", "a", "A", "b.py", "é", "e\u0301", "con", "x ", "ﬁ", "fi", ".git", "a\\b", "c:"]),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=6),
)
NAMES = st.lists(PARTS, min_size=1, max_size=4).map("/".join)
PLAIN_NAMES = st.lists(st.text(string.ascii_lowercase, min_size=4, max_size=6), min_size=1, max_size=3).map("/".join)
CONTENTS = st.binary(max_size=200)
WHOLE = zipped({"config.yml": CONFIG, "executor.py": EXECUTOR, "data/x.bin": bytes(range(256)) * 4})


@given(st.lists(st.tuples(NAMES, CONTENTS), min_size=1, max_size=6))
def test_what_is_accepted_unpacks_to_exactly_its_files(entries: list[tuple[str, bytes]]) -> None:
    raws = [
        Raw(
            name=name.encode(),
            data=b"" if name.endswith("/") else data,
            flags=0 if name.isascii() else 1 << 11,
            attributes=0,
        )
        for name, data in entries
    ]
    data = raw_zip(*raws)
    with suppress(BadPackage):
        archive = opened(data)
        assert unpacked(data) == {name: archive.read(name, 1000) for name in archive.names}


@given(st.dictionaries(PLAIN_NAMES, CONTENTS, min_size=1, max_size=8))
def test_plain_trees_are_accepted(tree: dict[str, bytes]) -> None:
    names = set(tree)
    files = {name: data for name, data in tree.items() if not any(other.startswith(f"{name}/") for other in names)}
    data = zipped(files)
    archive = opened(data)
    assert {name: archive.read(name, 1000) for name in archive.names} == files == unpacked(data)


def unpacked(data: bytes) -> dict[str, bytes]:
    """As old clients unpack; the folder above shows whether anything went astray."""
    with tempfile.TemporaryDirectory() as above:
        folder = Path(above, "package")
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            archive.extractall(folder)
        assert [path.name for path in Path(above).iterdir()] == ["package"]
        files = [path for path in folder.rglob("*") if not path.is_dir()]
        assert not any(path.is_symlink() for path in folder.rglob("*"))
        return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


@given(st.data())
def test_damaged_archives_are_refused_or_unchanged(data: st.DataObject) -> None:
    """One byte changed anywhere: refused cleanly, or every file reads the same for this reader and for zipfile."""
    at = data.draw(st.integers(0, len(WHOLE) - 1))
    damaged = bytearray(WHOLE)
    damaged[at] = data.draw(st.integers(0, 255))
    with suppress(BadPackage):
        archive = open_package(io.BytesIO(bytes(damaged)), LIMITS)
        assert {name: archive.read(name, 10_000) for name in archive.names} == unpacked(bytes(damaged))


@given(st.integers(0, len(WHOLE) - 1), st.binary(max_size=30))
def test_cut_or_padded_archives_are_refused(stop: int, tail: bytes) -> None:
    for data in (WHOLE[:stop] + tail, WHOLE + tail + b"x", tail + b"x" + WHOLE):
        if data != WHOLE:
            with suppress(BadPackage):
                open_package(io.BytesIO(data), LIMITS)
                raise AssertionError(f"accepted: {data!r}")


@given(st.binary(max_size=300) | st.text("!&*<[]{}:-'\"\n ,abc019~|>%@#?=", max_size=60).map(str.encode))
def test_any_config_is_read_or_refused(data: bytes) -> None:
    with suppress(BadPackage):
        config = read_config(opened(zipped({"config.yml": data})), LIMITS)
        json.dumps([config.with_, config.metas], allow_nan=False).encode()


@given(st.text("()[]{}:=,.@#'\"\\\n  abcdefx*1+-", max_size=80))
def test_any_source_is_read_or_refused(text: str) -> None:
    source = f"from jina import Executor, requests\nclass X(Executor):\n  @requests(on={text})\n  def f(self): 0\n"
    for data in (text.encode("utf-8", "replace"), source.encode("utf-8", "replace")):
        with suppress(BadPackage):
            found = find_executor(opened(zipped({"a.py": data})), PackageConfig(), LIMITS)
            assert found.executor.name == "X"


@given(st.binary(max_size=400))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    with suppress(BadPackage):
        read_package(io.BytesIO(data))
        raise AssertionError("these bytes are no package")


@given(st.text())
def test_cleaned_text_is_bearable(text: str) -> None:
    assert "\0" not in clean(text)
    clean(text).encode()
    assert clean(clean(text)) == clean(text)
    assert shown(text).isprintable()
