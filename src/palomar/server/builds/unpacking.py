"""Laying the layers of an image over one another in a folder, as any user, and never outside of it.

Names are looked up as if the folder were the root: what a layer writes below ``/bin`` where an earlier one has a link
to ``/usr/bin`` lands in ``usr/bin`` of the folder. Nobody else may change the folder meanwhile. Owners, devices,
set-user-id bits and extended attributes are left out: what is unpacked is read by builds and never started as an image.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from posixpath import dirname
from typing import Final

from palomar.server.builds.layer_reader import BadLayer, LayerReader, Member, plain_path, resolve

_FOLDER_MODE: Final = 0o700
_FILE_MODE: Final = 0o400
_PERMISSIONS: Final = 0o777


class Unpacking:
    """The folder must be empty at first and belong to the caller alone. Blocking: use it in a thread."""

    def __init__(self, root: Path) -> None:
        self._root = root
        # What the layer at hand has brought: its whiteouts mean what was there before.
        self._fresh: set[str] = set()

    def add(self, layer: LayerReader) -> None:
        """Raises BadLayer, and OSError where there is no room; the folder is of no use then."""
        self._fresh.clear()
        for member in layer:
            try:
                self._add(layer, member)
            except (NotADirectoryError, IsADirectoryError, FileExistsError) as error:
                raise BadLayer(f"{member.path[:200]!a} stands in the way of something else") from error

    def _add(self, layer: LayerReader, member: Member) -> None:
        if member.is_opaque:
            self._empty(self._inside(member.path))
        elif member.is_whiteout:
            self._remove(self._beside(member.path))
        else:
            self._place(layer, member)

    def _place(self, layer: LayerReader, member: Member) -> None:
        path, header = self._beside(member.path), member.header
        self._make_folder(dirname(path))
        if header.isdir():
            self._make_folder(path)
            self._full(path).chmod(header.mode & _PERMISSIONS | _FOLDER_MODE)
        elif header.issym():
            self._clear(path)
            self._full(path).symlink_to(header.linkname)
        elif header.islnk():
            self._link(path, header.linkname)
        elif header.isfile():
            self._write(path, layer.pieces(member), member)
        self._fresh.add(path)

    def _link(self, path: str, target: str) -> None:
        """To a file of the image, and of the image alone; a link to itself is left as it is."""
        source = self._beside(plain_path(target))
        if source == path:
            return
        self._clear(path)
        try:
            os.link(self._full(source), self._full(path), follow_symlinks=False)
        except OSError as error:
            raise BadLayer(f"{path[:200]!a} is to be the same file as {target[:200]!a}, which is not there") from error

    def _write(self, path: str, pieces: Iterator[bytes], member: Member) -> None:
        self._clear(path)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(self._full(path), flags, 0o600), "wb") as file:
            for piece in pieces:
                file.write(piece)
            file.flush()
            os.fchmod(file.fileno(), member.header.mode & _PERMISSIONS | _FILE_MODE)
            # Python takes its compiled files for stale where the source has another time than they say.
            os.utime(file.fileno(), (0, max(0, min(int(member.header.mtime), 2**40))))

    # --- paths ---------------------------------------------------------------------------------------------------

    def _full(self, path: str) -> Path:
        return self._root / path if path else self._root

    def _link_at(self, path: str) -> str | None:
        try:
            return os.readlink(self._full(path))  # noqa: PTH115 - a Path would tidy the target up
        except OSError:
            return None

    def _inside(self, path: str) -> str:
        return resolve(path, self._link_at)

    def _beside(self, path: str) -> str:
        """Where an entry itself lies, even if it is a link."""
        return resolve(path, self._link_at, follows_last=False)

    # --- what is there -------------------------------------------------------------------------------------------

    def _make_folder(self, path: str) -> None:
        """With those above it. A file in its place gives way, as later layers win."""
        if not path or self._is_folder(path):
            return
        self._make_folder(dirname(path))
        self._clear(path)
        self._full(path).mkdir(mode=0o755)

    def _is_folder(self, path: str) -> bool:
        try:
            return stat.S_ISDIR(self._full(path).lstat().st_mode)
        except OSError:
            return False

    def _clear(self, path: str) -> None:
        if self._is_folder(path):
            shutil.rmtree(self._full(path))
        else:
            self._full(path).unlink(missing_ok=True)

    def _remove(self, path: str) -> None:
        """What was there before this layer."""
        if not path or self._is_folder(path):
            self._empty(path)
            if path and path not in self._fresh and not any(self._full(path).iterdir()):
                self._full(path).rmdir()
        elif path not in self._fresh:
            self._full(path).unlink(missing_ok=True)

    def _empty(self, path: str) -> None:
        if not self._is_folder(path):
            return
        with os.scandir(self._full(path)) as entries:
            names = [entry.name for entry in entries]
        for name in names:
            self._remove(f"{path}/{name}".removeprefix("/"))
