"""What an image holds, found out from its layers without unpacking them: its Python and its C library."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from posixpath import basename
from typing import Final, NamedTuple, TypeAlias

from palomar.server.builds.layer_reader import BadLayer, LayerReader, Member, plain_path, resolve

MIN_PYTHON: Final = (3, 8)

_PYTHON: Final = re.compile(r"python3\.(\d{1,3})", re.ASCII)
# In the order of a container's PATH.
_BIN: Final = ("usr/local/bin", "usr/bin")
_GLIBC: Final = re.compile(r"libc\.so\.6|libc-2\.\d+\.so", re.ASCII)
_GLIBC_VERSION: Final = re.compile(rb"GNU C Library [^\n\0]{0,200}?version (\d+\.\d+)")
_MUSL: Final = re.compile(r"ld-musl-[a-z0-9_-]+\.so\.1", re.ASCII)
_LIBRARY_FOLDERS: Final = ("lib", "lib64", "lib32", "libx32", "usr")
_MAX_LIBC_BYTES: Final = 16 * 1024**2


class Python(NamedTuple):
    """``path`` is absolute, in the image; ``version`` as '3.11'."""

    path: str
    version: str


@dataclass(frozen=True, slots=True)
class _Link:
    layer: int
    target: str


@dataclass(frozen=True, slots=True)
class _File:
    layer: int
    is_executable: bool
    glibc: str | None = None


@dataclass(slots=True)
class _Folder:
    layer: int
    children: dict[str, _Node] = field(default_factory=dict)


_Node: TypeAlias = "_Folder | _File | _Link"


class Contents:
    """The names in an image after some of its layers, without their content."""

    def __init__(self) -> None:
        self._root = _Folder(0)
        self._layer = 0

    def add(self, layer: LayerReader) -> None:
        """Raises BadLayer."""
        self._layer += 1
        for member in layer:
            self._add(layer, member)

    def python(self) -> Python | None:
        """The newest one that is really there and not older than `MIN_PYTHON`."""
        found = sorted(self._pythons(), key=lambda item: item[0], reverse=True)
        return next((Python(f"/{path}", f"3.{minor}") for minor, path in found if (3, minor) >= MIN_PYTHON), None)

    def libc(self) -> str | None:
        """'glibc 2.36', or 'musl', or None for neither."""
        is_musl = False
        for folder in _LIBRARY_FOLDERS:
            for path, node in _walk(folder, self._root.children.get(folder)):
                if _GLIBC.fullmatch(basename(path)) and (version := self._glibc(path)):
                    return f"glibc {version}"
                is_musl = is_musl or (not isinstance(node, _Folder) and _MUSL.fullmatch(basename(path)) is not None)
        return "musl" if is_musl else None

    def _glibc(self, path: str) -> str | None:
        file = self._file(path)
        return file.glibc if file else None

    def _pythons(self) -> Iterator[tuple[int, str]]:
        for folder in _BIN:
            place = self._node(resolve(folder, self._link_at))
            for name in place.children if isinstance(place, _Folder) else ():
                path = f"{folder}/{name}"
                found = _PYTHON.fullmatch(name)
                file = self._file(path) if found else None
                if found and file and file.is_executable:
                    yield int(found[1]), path

    # --- what there is -------------------------------------------------------------------------------------------

    def _node(self, path: str) -> _Node | None:
        node: _Node | None = self._root
        for part in path.split("/") if path else ():
            node = node.children.get(part) if isinstance(node, _Folder) else None
        return node

    def _link_at(self, path: str) -> str | None:
        node = self._node(path)
        return node.target if isinstance(node, _Link) else None

    def _file(self, path: str) -> _File | None:
        """Where the path leads, if that is a file."""
        try:
            node = self._node(resolve(path, self._link_at))
        except BadLayer:  # links that go round lead to no file
            return None
        return node if isinstance(node, _File) else None

    # --- what a layer changes ------------------------------------------------------------------------------------

    def _add(self, layer: LayerReader, member: Member) -> None:
        path = resolve(member.path, self._link_at, follows_last=member.is_opaque)
        if member.is_opaque or member.is_whiteout:
            self._take_away(path, is_whole=member.is_whiteout)
            return
        node = self._made(layer, member)
        if node is not None and path:
            folder, _, name = path.rpartition("/")
            self._folder(folder).children[name] = node
        elif path:
            self._folder(path)

    def _made(self, layer: LayerReader, member: Member) -> _Node | None:
        """None for a folder, which may be there already, and for what is neither file nor link."""
        header = member.header
        if header.issym():
            return _Link(self._layer, header.linkname)
        if header.islnk():
            same = self._node(resolve(plain_path(header.linkname), self._link_at, follows_last=False))
            return same if isinstance(same, _File | _Link) else None
        if not header.isfile():
            return None
        is_libc = _GLIBC.fullmatch(basename(member.path)) and header.size <= _MAX_LIBC_BYTES
        glibc = _glibc_version(b"".join(layer.pieces(member))) if is_libc else None
        return _File(self._layer, bool(header.mode & 0o111), glibc)

    def _folder(self, path: str) -> _Folder:
        """Made where it is missing, with those above it."""
        folder = self._root
        for part in path.split("/") if path else ():
            below = folder.children.get(part)
            if not isinstance(below, _Folder):
                below = folder.children[part] = _Folder(self._layer)
            folder = below
        return folder

    def _take_away(self, path: str, *, is_whole: bool) -> None:
        node = self._node(path)
        if isinstance(node, _Folder):
            self._empty(node)
        folder, _, name = path.rpartition("/")
        parent = self._node(folder)
        if is_whole and path and isinstance(parent, _Folder) and self._is_gone(node):
            parent.children.pop(name, None)

    def _empty(self, folder: _Folder) -> None:
        for name, node in list(folder.children.items()):
            if isinstance(node, _Folder):
                self._empty(node)
            if self._is_gone(node):
                del folder.children[name]

    def _is_gone(self, node: _Node | None) -> bool:
        """A whiteout means what was there before its own layer."""
        if isinstance(node, _Folder) and node.children:
            return False
        return node is None or node.layer < self._layer


def _walk(path: str, node: _Node | None) -> Iterator[tuple[str, _Node]]:
    if node is None:
        return
    yield path, node
    for name, child in node.children.items() if isinstance(node, _Folder) else ():
        # Of /usr only what is named as at the root: the whole of it would be most of the image.
        if path != "usr" or name in _LIBRARY_FOLDERS:
            yield from _walk(f"{path}/{name}", child)


def _glibc_version(content: bytes) -> str | None:
    found = _GLIBC_VERSION.search(content)
    return found[1].decode() if found else None
