from __future__ import annotations

import hashlib
import io
import stat
import struct
import tarfile
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import replace

import pytest

from palomar.contract.errors import BadPackage
from palomar.packages.archive import open_package
from palomar.packages.limits import PackageLimits
from tests.unit.packages.zips import CONFIG, EXECUTOR, FILE_MODE, Raw, deflated, described, opened, raw_zip, zipped

PLAIN = Raw()
OTHER = Raw(name=b"config.yml", data=CONFIG)
ZEROS = bytes(20 * 1024 * 1024)


def refusal(data: bytes, **limits: int) -> tuple[str, str | None]:
    with pytest.raises(BadPackage) as caught:
        opened(data, **limits)
    return caught.value.reason, caught.value.entry


# --- what is accepted --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_package_as_the_client_zips_it(method: int) -> None:
    files = {"config.yml": CONFIG, "executor.py": EXECUTOR, "empty.txt": b"", "data/größe.txt": b"\x00\xff" * 5}
    data = zipped(files, method)
    archive = opened(data)
    assert archive.names == tuple(files)
    assert {name: archive.read(name, 10_000) for name in archive.names} == files
    assert (archive.size, archive.md5) == (len(data), hashlib.md5(data).hexdigest())  # noqa: S324
    assert archive.sha256 == hashlib.sha256(data).hexdigest()


def test_entries_for_folders_are_no_files() -> None:
    archive = opened(zipped({"data/": b"", "data/x": b"1"}))
    assert archive.names == ("data/x",)
    assert "data/" not in archive


def test_what_zipfile_writes_to_a_stream() -> None:
    class Pipe(io.RawIOBase):
        def __init__(self) -> None:
            self.written = bytearray()

        def writable(self) -> bool:
            return True

        def write(self, data: object) -> int:
            self.written += bytes(data)  # type: ignore[call-overload]
            return len(bytes(data))  # type: ignore[call-overload]

    pipe = Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("executor.py", EXECUTOR)
        archive.writestr("config.yml", CONFIG)
    assert opened(bytes(pipe.written)).read("config.yml", 1000) == CONFIG


def test_what_zipfile_writes_when_told_to_use_zip64() -> None:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive, archive.open("executor.py", "w", force_zip64=True) as entry:
        entry.write(EXECUTOR)
    assert opened(buffer.getvalue()).read("executor.py", 1000) == EXECUTOR


@pytest.mark.parametrize(
    "layout",
    [
        lambda *sizes: struct.pack("<3L", *sizes),
        lambda *sizes: b"PK\x07\x08" + struct.pack("<3L", *sizes),
        lambda *sizes: struct.pack("<LQQ", *sizes),
        lambda *sizes: b"PK\x07\x08" + struct.pack("<LQQ", *sizes),
    ],
    ids=["plain", "signed", "wide", "signed and wide"],
)
def test_sizes_may_follow_the_data(layout: Callable[[int, int, int], bytes]) -> None:
    archive = opened(raw_zip(described(PLAIN, layout), OTHER))
    assert archive.read("executor.py", 1000) == EXECUTOR


def test_the_directory_may_have_another_order() -> None:
    body = raw_zip(PLAIN, OTHER)
    first, second = raw_zip(PLAIN), len(raw_zip(PLAIN)) - 22 - (46 + len(PLAIN.name))
    assert body[: len(first[:second])] == first[:second]
    swapped = zipfile.ZipFile(io.BytesIO(body))
    directory = body[swapped.start_dir : -22]
    length = 46 + len(PLAIN.name)
    data = body[: swapped.start_dir] + directory[length:] + directory[:length] + body[-22:]
    archive = opened(data)
    assert archive.names == ("config.yml", "executor.py")
    assert archive.read("executor.py", 1000) == EXECUTOR


def test_reading_has_a_limit_and_a_start() -> None:
    archive = opened(zipped({"README.md": b"0123456789"}))
    assert archive.read("README.md", 10) == b"0123456789"
    assert archive.read_start("README.md", 4) == b"0123"
    with pytest.raises(BadPackage, match="larger than 9 bytes"):
        archive.read("README.md", 9)
    with pytest.raises(KeyError):
        archive.read("absent", 9)


def test_memory_is_bounded() -> None:
    data = io.BytesIO(zipped({"big.bin": ZEROS * 3}))
    tracemalloc.start()
    open_package(data, PackageLimits(max_ratio=2000))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 * 1024 * 1024


# --- what is no zip ----------------------------------------------------------------------------------------------


def tar(mode: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:  # type: ignore[call-overload]
        info = tarfile.TarInfo("executor.py")
        info.size = len(EXECUTOR)
        archive.addfile(info, io.BytesIO(EXECUTOR))
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "it is empty: send a zip archive"),
        (tar("w"), "it is a tar archive, whatever else it may be: send a zip archive"),
        (tar("w") + zipped({"a.py": b""}), "it is a tar archive, whatever else it may be: send a zip archive"),
        (tar("w:gz"), "it is a gzip file or .tar.gz archive: send a zip archive"),
        (tar("w:bz2"), "it is a bzip2 file or .tar.bz2 archive: send a zip archive"),
        (tar("w:xz"), "it is an xz file or .tar.xz archive: send a zip archive"),
        (b"7z\xbc\xaf\x27\x1c" + bytes(50), "it is a 7z archive: send a zip archive"),
        (EXECUTOR, "it does not begin as a zip archive does"),
        (b"#!/bin/sh\n" + zipped({"a.py": b""}), "it does not begin as a zip archive does"),
        (b"PK\x03\x04" + bytes(100), "it is not a zip archive, or it is cut off"),
        (zipped({"a.py": b"1"})[:-5], "it has data or a comment after its end record"),
        (zipped({"a.py": b"1"})[:-30], "it is not a zip archive, or it is cut off"),
        (zipped({}), "it has no files"),
    ],
)
def test_other_formats_are_named(data: bytes, words: str) -> None:
    assert refusal(data) == (words, None)


def test_a_tar_whose_first_name_begins_like_a_zip() -> None:
    info = tarfile.TarInfo("PK\x03\x04")
    data = info.tobuf() + zipped({"a.py": b""})
    assert refusal(data)[0].startswith("it is a tar archive")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (raw_zip(PLAIN) + b"more", "it has data or a comment after its end record"),
        (raw_zip(PLAIN, comment=4) + b"more", "it has data or a comment after its end record"),
        (raw_zip(PLAIN, comment=4), "its end record has a comment or a zip64 extension, which no package needs"),
        (raw_zip(PLAIN, disk=1), "it is one part of a zip over several disks"),
        (raw_zip(PLAIN, here=2), "it is one part of a zip over several disks"),
        (raw_zip(PLAIN, directory_at=0), "its end record does not say where its central directory is"),
        (raw_zip(PLAIN, entries=2), "its end record promises 2 entries, its central directory has 1"),
        (raw_zip(PLAIN, OTHER, entries=1), "its end record promises 1 entries, its central directory has 2"),
    ],
)
def test_end_records_that_lie(data: bytes, words: str) -> None:
    assert refusal(data) == (words, None)


def test_a_zip64_end_record() -> None:
    data = raw_zip(PLAIN)
    at = len(data) - 22
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, at, 1)
    with_locator = data[:at] + locator + data[at:]
    assert "zip64" in refusal(with_locator)[0]


def test_a_directory_cut_short() -> None:
    data = raw_zip(PLAIN)
    end = zipfile.ZipFile(io.BytesIO(data))
    directory = data[end.start_dir : -22]
    shorter = data[: end.start_dir] + directory[:-3]
    record = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 1, 1, len(directory) - 3, end.start_dir, 0)
    assert refusal(shorter + record) == ("its central directory is damaged", None)


def test_a_directory_that_is_none() -> None:
    data = raw_zip(PLAIN).replace(b"PK\x01\x02", b"PK\x01\x03")
    assert refusal(data) == ("its central directory is damaged", None)


# --- headers that disagree ---------------------------------------------------------------------------------------

SIZES_DISAGREE = "its local header and the central directory disagree on its size or checksum"
KIND_DISAGREES = "its local header and the central directory disagree on how it is packed"


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        (
            replace(PLAIN, local={"name": b"executor.pz"}),
            "its local header gives it another name than the central directory",
        ),
        (replace(PLAIN, local={"size": 5}), SIZES_DISAGREE),
        (replace(PLAIN, central={"size": 5}), SIZES_DISAGREE),
        (replace(PLAIN, local={"packed_bytes": 5}), SIZES_DISAGREE),
        (replace(PLAIN, local={"crc": 5}), SIZES_DISAGREE),
        (replace(PLAIN, local={"method": 0}), KIND_DISAGREES),
        (replace(PLAIN, local={"flags": 2}), KIND_DISAGREES),
        (replace(PLAIN, local={"size": 0, "crc": 0, "packed_bytes": 0}), SIZES_DISAGREE),
        (replace(PLAIN, central={"at": 1}), "it overlaps another entry, or something lies before it"),
    ],
)
def test_headers_that_disagree(entry: Raw, words: str) -> None:
    assert refusal(raw_zip(entry)) == (words, "executor.py")


def test_sizes_after_the_data_that_disagree() -> None:
    entry = described(PLAIN, lambda crc, packed, size: struct.pack("<3L", crc, packed, size + 1))
    assert refusal(raw_zip(entry)) == (
        "the sizes after its data are not those of the central directory",
        "executor.py",
    )
    unsigned = described(PLAIN, lambda *sizes: b"PK\x00\x00" + struct.pack("<3L", *sizes))
    assert refusal(raw_zip(unsigned)) == ("the sizes after its data are damaged", "executor.py")


@pytest.mark.parametrize("after", [b"x", bytes(12), bytes(50)])
def test_something_between_two_entries(after: bytes) -> None:
    words = "something lies between it and the next entry, or the two overlap"
    assert refusal(raw_zip(replace(PLAIN, after=after), OTHER)) == (words, "executor.py")
    assert refusal(raw_zip(PLAIN, gap=after)) == (words, "executor.py")


def test_something_before_the_first_entry() -> None:
    data = raw_zip(PLAIN, before=b"PK\x03\x04 hidden")
    assert refusal(data) == ("it overlaps another entry, or something lies before it", "executor.py")


def test_entries_that_share_their_bytes() -> None:
    """The kernel of a bomb without ratio: many names for one compressed stream."""
    first = raw_zip(PLAIN)
    twin = replace(PLAIN, name=b"executor.pz", central={"at": 0})
    assert len(first) > 0
    reason, _ = refusal(raw_zip(PLAIN, twin))
    assert "overlap" in reason


def test_an_entry_that_reaches_into_the_next() -> None:
    longer = replace(PLAIN, method=0, local={"packed_bytes": 9999}, central={"packed_bytes": 9999})
    assert refusal(raw_zip(longer, OTHER)) == (
        "it overlaps the next entry, or the archive is cut off",
        "executor.py",
    )


def test_a_header_that_is_not_there() -> None:
    data = raw_zip(PLAIN).replace(b"PK\x03\x04", b"PK\x03\x05", 1)
    assert refusal(data) == ("there is no local header where the central directory says", "executor.py")


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        (replace(PLAIN, flags=1), "it is encrypted"),
        (replace(PLAIN, flags=1 << 6), "it is encrypted"),
        (replace(PLAIN, flags=1 << 13), "it is encrypted"),
        (replace(PLAIN, flags=1 << 5), "it uses a zip feature that not every program knows"),
        (replace(PLAIN, version=63), "it uses a zip feature that not every program knows"),
        (
            replace(PLAIN, method=12, packed=b"x"),
            "it is packed by method 12; only stored and deflated are read everywhere",
        ),
        (
            replace(PLAIN, method=9, packed=b"x"),
            "it is packed by method 9; only stored and deflated are read everywhere",
        ),
        (replace(PLAIN, disk=1), "it says that it lies on another disk"),
    ],
)
def test_features_that_are_not_read_everywhere(entry: Raw, words: str) -> None:
    assert refusal(raw_zip(entry)) == (words, "executor.py")


@pytest.mark.parametrize(
    ("extra", "words"),
    [
        (struct.pack("<HH", 0x5455, 9), "its extra fields are damaged"),
        (b"\x01", "its extra fields are damaged"),
        (struct.pack("<HH", 0x5455, 0) * 2, "its extra fields are damaged"),
        (struct.pack("<HHB", 0x7075, 1, 1), "it has an extra field of kind 0x7075, which some programs obey"),
        (struct.pack("<HH", 0x756E, 0), "it has an extra field of kind 0x756e, which some programs obey"),
        (struct.pack("<HHQ", 1, 8, 5), "its zip64 sizes are missing, or there without need"),
    ],
)
def test_extra_fields_that_change_an_entry(extra: bytes, words: str) -> None:
    assert refusal(raw_zip(replace(PLAIN, extra=extra))) == (words, "executor.py")


def test_times_and_owners_are_no_matter() -> None:
    extra = struct.pack("<HHBL", 0x5455, 5, 1, 1_600_000_000) + struct.pack("<HHBB", 0x7875, 2, 1, 4)
    assert opened(raw_zip(replace(PLAIN, extra=extra))).names == ("executor.py",)


def test_zip64_sizes_that_are_missing_or_wrong() -> None:
    missing = replace(PLAIN, central={"size": 0xFFFFFFFF})
    assert refusal(raw_zip(missing)) == ("its zip64 sizes are missing, or there without need", "executor.py")
    wrong = replace(PLAIN, local={"size": 0xFFFFFFFF, "extra": struct.pack("<HHQ", 1, 8, 5)})
    assert refusal(raw_zip(wrong)) == (SIZES_DISAGREE, "executor.py")


# --- links, devices, special modes -------------------------------------------------------------------------------

SPECIAL = "it is a device, a pipe, a socket or another special file"
FOLDER_OR_NOT = "its name and its attributes disagree on whether it is a folder"


@pytest.mark.parametrize(
    ("attributes", "words"),
    [
        (stat.S_IFLNK << 16, "it is a symbolic link"),
        (stat.S_IFCHR << 16, SPECIAL),
        (stat.S_IFBLK << 16, SPECIAL),
        (stat.S_IFIFO << 16, SPECIAL),
        (stat.S_IFSOCK << 16, SPECIAL),
        (0x08, SPECIAL),
        (0x400, SPECIAL),
        (stat.S_IFDIR << 16, FOLDER_OR_NOT),
        (0x10, FOLDER_OR_NOT),
        (
            (FILE_MODE | stat.S_ISUID) << 16,
            "it would run as its owner or group (set-user-id or set-group-id)",
        ),
        (
            (FILE_MODE | stat.S_ISGID) << 16,
            "it would run as its owner or group (set-user-id or set-group-id)",
        ),
    ],
)
def test_special_files(attributes: int, words: str) -> None:
    assert refusal(raw_zip(replace(PLAIN, attributes=attributes))) == (words, "executor.py")


@pytest.mark.parametrize("mode", [0, stat.S_IFREG | 0o755, 0o600, stat.S_IFREG | 0o777])
def test_plain_modes(mode: int) -> None:
    assert opened(raw_zip(replace(PLAIN, attributes=mode << 16))).entries[0].mode == mode & 0o777


def test_a_folder_with_content() -> None:
    assert refusal(raw_zip(replace(PLAIN, name=b"data/", attributes=0))) == (
        "it is a folder and has content",
        "data/",
    )


def test_a_folder_that_says_it_is_a_file() -> None:
    assert refusal(raw_zip(Raw(name=b"data/", data=b"", method=0))) == (FOLDER_OR_NOT, "data/")


# --- data that is not what the headers say -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        (replace(PLAIN, crc=1), "its checksum is wrong"),
        (replace(PLAIN, method=0, crc=1), "its checksum is wrong"),
        (replace(PLAIN, size=10), "it holds more than the 10 bytes that its header says"),
        (replace(PLAIN, size=1000), f"it holds {len(EXECUTOR)} bytes, its header says 1,000"),
        (replace(PLAIN, method=0, size=10), "it holds more than the 10 bytes that its header says"),
        (replace(PLAIN, packed=deflated(EXECUTOR)[:-4]), "its compressed data is cut off"),
        (replace(PLAIN, packed=b""), "its compressed data is cut off"),
        (replace(PLAIN, packed=b"\xff" * 20), "its compressed data is damaged"),
        (replace(PLAIN, packed=deflated(EXECUTOR) + b"tail"), "something follows its compressed data"),
        (replace(PLAIN, packed=deflated(EXECUTOR) + bytes(600_000)), "something follows its compressed data"),
        (replace(PLAIN, packed=zlib.compress(EXECUTOR)), "its compressed data is damaged"),
    ],
)
def test_data_that_disagrees_with_its_header(entry: Raw, words: str) -> None:
    assert refusal(raw_zip(entry)) == (words, "executor.py")


def test_what_follows_a_stream_at_the_end_of_a_block() -> None:
    """The compressed stream fills the first block read exactly, so that its tail only shows in the next one."""
    block = 256 * 1024
    for length in range(block - 200, block):
        data = bytes(length)
        packed = b"".join(_stored_blocks(data))
        if len(packed) == block:
            break
    else:
        pytest.fail("no length fills a block")
    entry = replace(PLAIN, data=data, packed=packed + b"tail")
    assert refusal(raw_zip(entry)) == ("something follows its compressed data", "executor.py")
    assert opened(raw_zip(replace(entry, packed=packed))).read("executor.py", block) == data


def _stored_blocks(data: bytes) -> list[bytes]:
    pieces = [data[at : at + 0xFFFF] for at in range(0, len(data), 0xFFFF)]
    last = len(pieces) - 1
    return [
        struct.pack("<BHH", number == last, len(piece), len(piece) ^ 0xFFFF) + piece
        for number, piece in enumerate(pieces)
    ]


# --- bombs -------------------------------------------------------------------------------------------------------


def test_a_bomb_by_ratio() -> None:
    reason, entry = refusal(zipped({"bomb.bin": ZEROS}))
    assert reason.startswith("it is a zip bomb: it unpacks to more than 200 times its ")
    assert entry == "bomb.bin"


def test_a_bomb_of_many_entries_each_below_the_floor() -> None:
    files = {f"{number}.bin": bytes(5 * 1024 * 1024) for number in range(5)}
    reason, entry = refusal(zipped(files))
    assert reason.startswith("it is a zip bomb")
    assert entry is None


def test_a_bomb_whose_header_says_it_is_small() -> None:
    entry = replace(PLAIN, data=ZEROS, size=100)
    assert refusal(raw_zip(entry)) == ("it holds more than the 100 bytes that its header says", "executor.py")


def test_what_compresses_well_and_is_small_is_no_bomb() -> None:
    assert opened(zipped({"zeros.bin": bytes(10 * 1024 * 1024)})).names == ("zeros.bin",)


def test_a_bomb_by_count() -> None:
    data = zipped({f"{number}.txt": b"" for number in range(10_001)})
    assert refusal(data) == ("it has 10,001 entries, more than 10,000", None)
    many = zipped({f"{number}.txt": b"" for number in range(5)})
    assert refusal(many, max_entries=4) == ("it has 5 entries, more than 4", None)


def test_a_bomb_by_count_whose_end_record_lies() -> None:
    data = zipped({f"{number}.txt": b"" for number in range(5)})
    lying = data[:-14] + struct.pack("<HH", 1, 1) + data[-10:]
    assert refusal(lying, max_entries=4) == ("its central directory has more than 4 entries", None)


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        ({"max_package_bytes": 100}, "it is larger than 100 bytes"),
        ({"max_unpacked_bytes": 100}, "it unpacks to more than 100 bytes"),
        ({"max_directory_bytes": 50}, "its central directory is larger than 50 bytes"),
    ],
)
def test_sizes(limits: dict[str, int], words: str) -> None:
    assert refusal(zipped({"executor.py": EXECUTOR}), **limits) == (words, None)
