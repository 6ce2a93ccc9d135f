"""Layers over one another: what is left in the folder, what is found without unpacking, and nothing outside."""

from __future__ import annotations

import gzip
import io
import os
import stat
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import zstandard

from palomar.server.builds.bases.contents import Contents, Python
from palomar.server.builds.layer_reader import BadLayer, LayerLimits, LayerReader, resolve
from palomar.server.builds.unpacking import Unpacking
from tests.factories.bases import GLIBC, PYTHON, SYSTEM, header, sha256, tar

TAR = "application/vnd.oci.image.layer.v1.tar"


def reader(content: bytes, media_type: str = TAR, **limits: int) -> LayerReader:
    return LayerReader(io.BytesIO(content), media_type, LayerLimits(**limits))


def unpacked(tmp_path: Path, *layers: bytes) -> Path:
    root = tmp_path / "root"
    root.mkdir()
    unpacking = Unpacking(root)
    for layer in layers:
        unpacking.add(reader(layer))
    return root


def tree(root: Path) -> dict[str, bytes | str | None]:
    found: dict[str, bytes | str | None] = {}
    for folder, folders, files in os.walk(root):
        for name in (*folders, *files):
            path = Path(folder, name)
            shown = str(path.relative_to(root))
            if path.is_symlink():
                found[shown] = str(path.readlink())
            else:
                found[shown] = None if path.is_dir() else path.read_bytes()
    return found


def contents(*layers: bytes) -> Contents:
    found = Contents()
    for layer in layers:
        found.add(reader(layer))
    return found


# --- what a layer does -------------------------------------------------------------------------------------------


def test_later_layers_win_and_whiteouts_take_away(tmp_path: Path) -> None:
    first = tar({"a": b"1", "b": b"1", "d/x": b"1", "d/y": b"1", "e/x": b"1", "e/f/g": b"1", "gone/x": b"1"})
    second = tar(
        {"a": b"2", ".wh.b": b"", "d/.wh.x": b"", "e/.wh..wh..opq": b"", "e/new": b"2", ".wh.gone": b"", ".wh.no": b""}
    )
    root = unpacked(tmp_path, first, second)
    assert tree(root) == {"a": b"2", "d": None, "d/y": b"1", "e": None, "e/new": b"2"}


def test_whiteouts_mean_what_was_there_before_their_layer_wherever_they_stand(tmp_path: Path) -> None:
    first = tar({"d/old": b"1", "x": b"1"})
    second = tar({"d/new": b"2", "d/.wh..wh..opq": b"", "x": b"2", ".wh.x": b""})
    assert tree(unpacked(tmp_path, first, second)) == {"d": None, "d/new": b"2", "x": b"2"}


def test_what_is_written_through_a_link_lands_within_the_image(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    links = {"bin": "usr/bin", "abs": "/etc", "out": str(tmp_path / "outside"), "up": "../../../outside"}
    root = unpacked(tmp_path, tar(links), tar({f"{name}/file": name.encode() for name in links}))
    found = tree(root)
    assert found["usr/bin/file"] == b"bin"
    assert found["etc/file"] == b"abs"
    assert found["outside/file"] == b"up"
    assert not list((tmp_path / "outside").iterdir())


def test_a_file_takes_the_place_of_a_link_and_not_of_its_target(tmp_path: Path) -> None:
    (tmp_path / "victim").write_bytes(b"mine")
    root = unpacked(tmp_path, tar({"x": str(tmp_path / "victim"), "y": "z", "z": b"1"}), tar({"x": b"2", "y": b"2"}))
    assert (tmp_path / "victim").read_bytes() == b"mine"
    assert tree(root) == {"x": b"2", "y": b"2", "z": b"1"}


def test_files_and_folders_give_way_to_one_another(tmp_path: Path) -> None:
    root = unpacked(tmp_path, tar({"a/b": b"1", "c": b"1"}), tar({"a": b"2", "c/d": b"2"}))
    assert tree(root) == {"a": b"2", "c": None, "c/d": b"2"}


def test_hard_links_are_one_file_of_the_image(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"mine")
    link = header("b", type=tarfile.LNKTYPE, linkname="./a")
    root = unpacked(tmp_path, tar({"a": b"1"}, link))
    assert (root / "a").stat().st_ino == (root / "b").stat().st_ino
    for target in ("absent", str(tmp_path / "secret")):
        with pytest.raises(BadLayer, match="not there"):
            Unpacking(root).add(reader(tar({}, header("c", type=tarfile.LNKTYPE, linkname=target))))


def test_modes_lose_what_is_dangerous_and_keep_what_removal_needs(tmp_path: Path) -> None:
    modes = {"suid": 0o4755, "locked": 0o000, "plain": 0o640}
    files = [header(name, mode=mode) for name, mode in modes.items()]
    root = unpacked(tmp_path, tar({}, *files, header("dir", None, mode=0o000)))
    assert {name: oct(stat.S_IMODE((root / name).stat().st_mode)) for name in (*modes, "dir")} == {
        "suid": "0o755",
        "locked": "0o400",
        "plain": "0o640",
        "dir": "0o700",
    }


def test_devices_and_pipes_are_left_out(tmp_path: Path) -> None:
    kinds = (tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE)
    specials = [header(f"dev{number}", type=kind) for number, kind in enumerate(kinds)]
    assert tree(unpacked(tmp_path, tar({"a": b""}, *specials))) == {"a": b""}


# --- what is found -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("files", "python"),
    [
        ({"usr/bin/python3.11": b"x"}, Python("/usr/bin/python3.11", "3.11")),
        ({"usr/bin/python3.11": b"x", "usr/local/bin/python3.9": b"x"}, Python("/usr/bin/python3.11", "3.11")),
        ({"usr/bin/python3.11": b"x", "usr/local/bin/python3.11": b"x"}, Python("/usr/local/bin/python3.11", "3.11")),
        ({"usr/bin/python3.9": b"x", "usr/bin/python3.10": b"x"}, Python("/usr/bin/python3.10", "3.10")),
        ({"usr/bin/python3.12": "/opt/py", "opt/py": "bin/python", "opt/bin/python": b"x"}, "3.12"),
        ({"usr/local/bin/python3.12": "../../../opt/bin/python", "opt/bin/python": b"x"}, "3.12"),
        ({"bin/python3.11": b"x", "usr/bin": "../bin"}, "3.11"),
        ({"usr/bin/python3.11-config": b"x", "usr/bin/python3": b"x", "usr/bin/python2.7": b"x"}, None),
    ],
)
def test_the_newest_python_that_is_really_there_is_found(files: Mapping[str, Any], python: Any) -> None:
    found = contents(tar(files)).python()
    assert (found.version if isinstance(python, str) and found else found) == python


def test_whiteouts_are_seen_without_unpacking() -> None:
    both = {**PYTHON, "usr/bin/python3.12": b"x"}
    assert contents(tar(both), tar({"usr/bin/.wh.python3.12": b""})).python() == Python("/usr/bin/python3.11", "3.11")
    assert contents(tar(both), tar({"usr/bin/.wh..wh..opq": b""})).python() is None
    assert contents(tar(both), tar({"usr/.wh.bin": b"", "usr/bin/python3.9": b"x"})).python() == Python(
        "/usr/bin/python3.9", "3.9"
    )
    hard = header("usr/bin/python3.13", type=tarfile.LNKTYPE, linkname="usr/bin/python3.11")
    found = contents(tar(both), tar({}, hard)).python()
    assert found == Python("/usr/bin/python3.13", "3.13")


@pytest.mark.parametrize(
    ("files", "libc"),
    [
        (SYSTEM, "glibc 2.36"),
        ({"lib/libc.so.6": "libc-2.31.so", "lib/libc-2.31.so": GLIBC.replace(b"2.36.", b"2.31.")}, "glibc 2.31"),
        ({"lib64": "usr/lib64", "usr/lib64/libc.so.6": GLIBC}, "glibc 2.36"),
        ({"lib/ld-musl-x86_64.so.1": b"musl"}, "musl"),
        ({"lib/ld-musl-x86_64.so.1": b"musl", "usr/lib/x/libc.so.6": GLIBC}, "glibc 2.36"),
        ({"lib/libc.so.6": b"nothing"}, None),
        ({"opt/lib/libc.so.6": GLIBC}, None),
    ],
)
def test_the_c_library_is_found(files: Mapping[str, Any], libc: str | None) -> None:
    assert contents(tar(files)).libc() == libc


# --- reading -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("media_type", "pack"),
    [
        (TAR, bytes),
        (f"{TAR}+gzip", gzip.compress),
        (f"{TAR}+gzip", lambda data: gzip.compress(data[:700]) + gzip.compress(data[700:])),
        (f"{TAR}+zstd", zstandard.compress),
        (f"{TAR}+zstd", lambda data: zstandard.compress(data[:700]) + zstandard.compress(data[700:])),
    ],
)
def test_every_packing_gives_both_digests(media_type: str, pack: Any) -> None:
    plain = tar({"a": b"1" * 5000, "b": b"2"}) + bytes(4096)
    packed = pack(plain)
    layer = reader(packed, media_type)
    assert [member.path for member in layer] == ["a", "b"]
    assert (layer.digest, layer.size_bytes) == (sha256(packed), len(packed))
    assert (layer.diff_id, layer.unpacked_bytes) == (sha256(plain), len(plain))


def test_bombs_end_at_the_limits() -> None:
    bomb = gzip.compress(tar({"a": bytes(1_000_000)}))
    with pytest.raises(BadLayer, match="unpacks to more than 500,000"):
        list(reader(bomb, f"{TAR}+gzip", max_unpacked_bytes=500_000))
    with pytest.raises(BadLayer, match="more than 2 entries"):
        list(reader(tar({"a": b"", "b": b"", "c": b""}), max_entries=2))


def raw_header(name: bytes, kind: bytes, size: bytes) -> bytes:
    block = bytearray(512)
    block[0 : len(name)] = name
    block[100:108], block[124 : 124 + len(size)], block[156:157] = b"0000644\0", size, kind
    block[257:265] = b"ustar\x0000"
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


HUGE_PAX = raw_header(b"pax", b"x", b"77777777777\0") + bytes(20 * 1024**2)
NEGATIVE = raw_header(b"a", b"0", b"\xff" * 11 + b"\x00")
SPARSE_PAX = b"22 GNU.sparse.major=1\n22 GNU.sparse.minor=0\n"
ENDLESS_SPARSE = (
    raw_header(b"pax", b"x", b"%011o\0" % len(SPARSE_PAX))
    + SPARSE_PAX.ljust(512, b"\0")
    + raw_header(b"GNUSparseFile.0/a", b"0", b"00000001000\0")
    + b"9" * 512
)


@pytest.mark.parametrize(
    "content",
    [
        HUGE_PAX,
        NEGATIVE,
        tar({"first": b""})[:512] + NEGATIVE,
        ENDLESS_SPARSE,
        (raw_header(b"x", b"x", b"00000000000\0")) * 5000,
        (raw_header(b"x", b"L", b"00000000000\0")) * 5000,
        os.urandom(512) + bytes(1024),
    ],
    ids=["huge-pax", "negative", "negative-later", "endless-sparse", "pax-chain", "name-chain", "noise"],
)
def test_hostile_headers_end_in_a_refusal(content: bytes) -> None:
    with pytest.raises(BadLayer):
        list(reader(content))


def test_damaged_packing_is_refused() -> None:
    packed = gzip.compress(tar({"a": os.urandom(5000)}))
    for content in (packed[:-9], packed[:2000], packed[:100] + b"\0" + packed[101:], b"none"):
        with pytest.raises(BadLayer):
            list(reader(content, f"{TAR}+gzip"))
    with pytest.raises(BadLayer):
        list(reader(b"none", f"{TAR}+zstd"))


def test_links_are_followed_within_the_root() -> None:
    links = {"a": "b/c", "b/c": "../d", "loop": "loop/x", "top": "/../../e", "d/up": "../.."}
    assert resolve("a/x", links.get) == "d/x"
    assert resolve("top/f", links.get) == "e/f"
    assert resolve("d/up/x", links.get) == "x"
    assert resolve("a", links.get, follows_last=False) == "a"
    with pytest.raises(BadLayer, match="go round"):
        resolve("loop", links.get)
