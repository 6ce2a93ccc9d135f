"""Layers: equal files give equal bytes, in a form that every client reads, and nothing leads out of them."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import tarfile
import zlib
from pathlib import Path

import pytest

from palomar.server.builds import gzipping
from palomar.server.builds.gzipping import BLOCK_BYTES, GzipWriter
from palomar.server.builds.layers import LayerFile, LayerRefused, WrittenLayer, write_layer


def written(tmp_path: Path, *files: LayerFile) -> tuple[WrittenLayer, bytes]:
    target = tmp_path / "layer"
    return write_layer(files, target), target.read_bytes()


def members(data: bytes) -> dict[str, tarfile.TarInfo]:
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(data))) as tar:
        return {member.name: member for member in tar}


def file(path: str, content: bytes = b"x") -> LayerFile:
    return LayerFile.of_bytes(path, content)


def test_order_of_files_does_not_change_a_byte(tmp_path: Path) -> None:
    files = [file("b/z"), file("a"), file("b/y/x", b"yes"), LayerFile("empty")]
    assert written(tmp_path, *files) == written(tmp_path, *reversed(files))


def test_times_owners_and_modes_of_a_folder_do_not_change_a_byte(tmp_path: Path) -> None:
    layers = []
    for number, mode in enumerate((0o600, 0o664)):
        folder = tmp_path / f"tree{number}"
        (folder / "package").mkdir(parents=True)
        (folder / "package" / "module.py").write_bytes(b"pass")
        (folder / "package" / "module.py").chmod(mode)
        os.utime(folder / "package" / "module.py", (number, number))
        layers.append(write_layer(folder, tmp_path / f"layer{number}"))
    assert layers[0] == layers[1]


def test_digests_and_sizes_are_those_of_the_file_and_of_the_tar_in_it(tmp_path: Path) -> None:
    layer, data = written(tmp_path, file("a", os.urandom(3 * BLOCK_BYTES + 17)))
    tar = gzip.decompress(data)
    assert layer.digest == "sha256:" + hashlib.sha256(data).hexdigest()
    assert layer.diff_id == "sha256:" + hashlib.sha256(tar).hexdigest()
    assert (layer.size_bytes, layer.unpacked_bytes) == (len(data), len(tar))


def test_parents_come_first_and_headers_say_nothing_of_the_machine(tmp_path: Path) -> None:
    script = LayerFile.of_bytes("opt/bin/run", b"#!", is_executable=True)
    found = members(written(tmp_path, script, file("opt/data"), LayerFile("opt/link", link="data"))[1])
    assert list(found) == ["opt", "opt/bin", "opt/bin/run", "opt/data", "opt/link"]
    assert {(m.mtime, m.uid, m.gid, m.uname, m.gname) for m in found.values()} == {(0, 0, 0, "", "")}
    modes = {name: oct(member.mode) for name, member in found.items()}
    assert modes == {
        "opt": "0o755",
        "opt/bin": "0o755",
        "opt/bin/run": "0o755",
        "opt/data": "0o644",
        "opt/link": "0o777",
    }
    assert found["opt/link"].linkname == "data"


def test_gzip_has_neither_name_nor_time(tmp_path: Path) -> None:
    assert written(tmp_path, file("a"))[1][:10] == bytes.fromhex("1f8b08000000000000ff")


@pytest.mark.parametrize("path", ["a" * 90 + "/" + "b" * 200, "straße/日本", "x" * 255])
def test_long_and_foreign_names_survive(tmp_path: Path, path: str) -> None:
    assert path in members(written(tmp_path, file(path))[1])


def test_compiled_python_of_a_folder_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "tree" / "package" / "__pycache__").mkdir(parents=True)
    (tmp_path / "tree" / "package" / "__pycache__" / "a.cpython-311.pyc").write_bytes(b"x")
    write_layer(tmp_path / "tree", tmp_path / "layer")
    assert list(members((tmp_path / "layer").read_bytes())) == ["package"]


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "../x", "a/../../x", "a//b", "./a", "a/", "", ".", "..", "a\0b", "//a"]
)
def test_a_name_that_is_no_plain_path_is_refused(tmp_path: Path, path: str) -> None:
    with pytest.raises(LayerRefused, match="not a plain relative path"):
        written(tmp_path, file(path))


def test_a_name_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LayerRefused, match="not UTF-8"):
        written(tmp_path, file("a\udcff"))


@pytest.mark.parametrize("link", ["/etc/passwd", "../../etc/passwd", "absent", "folder/../file", "..", ""])
def test_a_link_that_points_out_of_the_layer_is_refused(tmp_path: Path, link: str) -> None:
    with pytest.raises(LayerRefused, match="points out of the layer"):
        written(tmp_path, file("folder/file"), file("file"), LayerFile("link", link=link))


def test_links_of_a_library_to_its_own_files_are_kept(tmp_path: Path) -> None:
    (tmp_path / "tree" / "lib").mkdir(parents=True)
    (tmp_path / "tree" / "lib" / "libx.so.1.2").write_bytes(b"elf")
    (tmp_path / "tree" / "lib" / "libx.so.1").symlink_to("libx.so.1.2")
    (tmp_path / "tree" / "lib" / "libx.so").symlink_to("libx.so.1")
    (tmp_path / "tree" / "lib64").symlink_to("lib")
    write_layer(tmp_path / "tree", tmp_path / "layer")
    found = members((tmp_path / "layer").read_bytes())
    assert {n: m.linkname for n, m in found.items() if m.issym()} == {
        "lib/libx.so": "libx.so.1",
        "lib/libx.so.1": "libx.so.1.2",
        "lib64": "lib",
    }


def test_a_file_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LayerRefused, match="there twice"):
        written(tmp_path, file("a"), file("a"))


def test_a_file_in_the_place_of_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LayerRefused, match="a folder and something else"):
        written(tmp_path, file("a"), file("a/b"))


def test_a_pipe_is_refused_and_not_opened(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    os.mkfifo(tmp_path / "tree" / "pipe")
    with pytest.raises(LayerRefused, match="cannot be part of an image"):
        write_layer(tmp_path / "tree", tmp_path / "layer")


@pytest.mark.parametrize("size", [0, 3])
def test_a_file_of_another_size_than_announced_is_refused(tmp_path: Path, size: int) -> None:
    with pytest.raises(LayerRefused, match="changed while it was read"):
        written(tmp_path, LayerFile("a", size, lambda: [b"xx"]))


@pytest.mark.parametrize("size", [0, 1, BLOCK_BYTES - 1, BLOCK_BYTES, BLOCK_BYTES + 1, 5 * BLOCK_BYTES])
def test_gzip_of_any_size_is_read_by_zlib(size: int) -> None:
    content = (b"some text that repeats " * (size // 23 + 1))[:size]
    target = io.BytesIO()
    with GzipWriter(target) as writer:
        writer.write(content)
    reader = zlib.decompressobj(31)
    assert reader.decompress(target.getvalue()) == content
    assert reader.eof
    assert not reader.unused_data


def test_neither_threads_nor_the_size_of_pieces_change_the_gzip(monkeypatch: pytest.MonkeyPatch) -> None:
    content = os.urandom(1 << 18) * 12
    outputs = set()
    for threads, piece in ((1, 1 << 22), (4, 1000), (2, BLOCK_BYTES + 1)):
        monkeypatch.setattr(gzipping, "_threads", lambda threads=threads: threads)
        target = io.BytesIO()
        with GzipWriter(target) as writer:
            for start in range(0, len(content), piece):
                writer.write(content[start : start + piece])
        outputs.add(target.getvalue())
    assert len(outputs) == 1
