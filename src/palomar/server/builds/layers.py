"""Layers of an image: from files to a gzipped tar whose bytes depend on names, contents and modes alone.

Names are sorted, so parents come first; times and owners are 0, modes are 0644 or 0755, and nothing else of the
machine that wrote the layer is in it. What is written twice from equal files is the same layer, which is how an image
of equal inputs gets an equal digest (and a registry keeps it once).
"""

from __future__ import annotations

import os
import stat
import tarfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from posixpath import dirname, normpath
from posixpath import join as joined
from typing import BinaryIO, Final, TypeAlias

from palomar.contract.images import OCI_LAYER_GZIP
from palomar.server.builds.gzipping import GzipWriter

LAYER_MEDIA_TYPE: Final = OCI_LAYER_GZIP

_PIECE_BYTES: Final = 1 << 20
_TAR_BLOCK: Final = 512
_COMPILED_FOLDER: Final = "__pycache__"

Pieces: TypeAlias = Callable[[], Iterable[bytes]]


class LayerRefused(ValueError):
    """What cannot become a layer; the message is one sentence."""


@dataclass(frozen=True, slots=True)
class LayerFile:
    """A file, folder or symbolic link of a layer; ``path`` is relative, with slashes, and leads nowhere else.

    ``pieces`` gives exactly ``size_bytes`` bytes and is called once, when it is the file's turn.
    """

    path: str
    size_bytes: int = 0
    pieces: Pieces | None = None
    is_executable: bool = False
    link: str | None = None

    @classmethod
    def of_bytes(cls, path: str, content: bytes, *, is_executable: bool = False) -> LayerFile:
        return cls(path, len(content), lambda: [content], is_executable)

    @property
    def is_folder(self) -> bool:
        return self.pieces is None and self.link is None


@dataclass(frozen=True, slots=True)
class WrittenLayer:
    """``digest`` and ``size_bytes`` are of the gzipped file, ``diff_id`` and ``unpacked_bytes`` of the tar in it."""

    digest: str
    diff_id: str
    size_bytes: int
    unpacked_bytes: int
    media_type: str = LAYER_MEDIA_TYPE


def write_layer(source: Iterable[LayerFile] | Path, target: Path) -> WrittenLayer:
    """Writes the files, or what is in a folder, to ``target``. Blocking, and busy on every core: call it in a thread.

    Folders above a file are added where they are missing. Raises LayerRefused for a name that leads out of the layer, a
    link that points to nothing in it, a name that is there twice, or a file that changes meanwhile.
    """
    files = _completed(files_in(source) if isinstance(source, Path) else source)
    _check_links(files)
    with target.open("wb") as file, GzipWriter(file) as gzip:
        for path in sorted(files):
            _add(gzip, files[path])
        gzip.write(bytes(2 * _TAR_BLOCK))
    return WrittenLayer(gzip.digest, gzip.raw_digest, gzip.size_bytes, gzip.raw_bytes)


# --- what goes in ------------------------------------------------------------------------------------------------


def files_in(folder: Path) -> Iterator[LayerFile]:
    """Everything below a folder but compiled Python, which would differ from one installation to the next."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name != _COMPILED_FOLDER:
                yield from _entries_of(Path(entry.path), entry.name)


def _entries_of(path: Path, name: str) -> Iterator[LayerFile]:
    status = path.lstat()
    if stat.S_ISLNK(status.st_mode):
        yield LayerFile(name, link=os.readlink(path))  # noqa: PTH115 - a Path would tidy the target up
    elif stat.S_ISREG(status.st_mode):
        is_executable = bool(status.st_mode & stat.S_IXUSR)
        yield LayerFile(name, status.st_size, partial(_pieces_of, path), is_executable)
    elif stat.S_ISDIR(status.st_mode):
        yield LayerFile(name)
        for file in files_in(path):
            yield LayerFile(f"{name}/{file.path}", file.size_bytes, file.pieces, file.is_executable, file.link)
    else:
        raise LayerRefused(f"{name!a} is neither a file nor a folder nor a link, and cannot be part of an image")


def _pieces_of(path: Path) -> Iterator[bytes]:
    """Never through a link that took the file's place."""
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb") as file:
        yield from read_pieces(file)


def read_pieces(file: BinaryIO) -> Iterator[bytes]:
    while piece := file.read(_PIECE_BYTES):
        yield piece


def _completed(source: Iterable[LayerFile]) -> dict[bytes, LayerFile]:
    """By name, and with every folder above; bytes sort as the names of a tar should, parents first."""
    files: dict[bytes, LayerFile] = {}
    for file in source:
        name = _checked_name(file.path)
        known = files.get(name)
        if known is not None and not (known.is_folder and file.is_folder):
            raise LayerRefused(f"{file.path!a} is there twice")
        files[name] = file
    for name in list(files):
        _add_folders_above(files, name.decode())
    return files


def _checked_name(path: str) -> bytes:
    if not path or path.startswith("/") or "\0" in path or normpath(f"/{path}") != f"/{path}":
        raise LayerRefused(f"{path!a} is not a plain relative path")
    try:
        return path.encode()
    except UnicodeEncodeError:
        raise LayerRefused(f"the file name {path!a} is not UTF-8") from None


def _add_folders_above(files: dict[bytes, LayerFile], path: str) -> None:
    while path := dirname(path):
        if not files.setdefault(path.encode(), LayerFile(path)).is_folder:
            raise LayerRefused(f"{path!a} is a folder and something else at once")


def _check_links(files: dict[bytes, LayerFile]) -> None:
    """A link may only point at what comes with it, by a path that means the same whether or not links are followed."""
    for file in files.values():
        if file.link is None:
            continue
        target = os.fsencode(normpath(joined(dirname(file.path), file.link)))
        if normpath(file.link) != file.link or target not in files:
            raise LayerRefused(f"the link {file.path!a} points out of the layer, to {file.link!a}")


# --- what comes out ----------------------------------------------------------------------------------------------


def _add(gzip: GzipWriter, file: LayerFile) -> None:
    gzip.write(_header(file).tobuf(tarfile.PAX_FORMAT, "utf-8", "strict"))
    written = 0
    for piece in file.pieces() if file.pieces else ():
        written += len(piece)
        if written > file.size_bytes:
            break
        gzip.write(piece)
    if written != file.size_bytes:
        raise LayerRefused(f"{file.path!a} changed while it was read")
    gzip.write(bytes(-written % _TAR_BLOCK))


def _header(file: LayerFile) -> tarfile.TarInfo:
    """Owner and time of a fresh TarInfo are 0 and nobody."""
    header = tarfile.TarInfo(file.path)
    header.mode = 0o644
    if file.link is not None:
        header.type, header.linkname, header.mode = tarfile.SYMTYPE, file.link, 0o777
    elif file.pieces is None:
        header.type, header.mode = tarfile.DIRTYPE, 0o755
    else:
        header.size, header.mode = file.size_bytes, 0o755 if file.is_executable else 0o644
    return header
