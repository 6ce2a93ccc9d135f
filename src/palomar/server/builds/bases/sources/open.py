"""From what an operator types to a source."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

from palomar.server.builds.bases.sources.docker_archive import MANIFEST, DockerArchiveSource
from palomar.server.builds.bases.sources.files import ArchiveFiles, FolderFiles
from palomar.server.builds.bases.sources.images import Source, refused
from palomar.server.builds.bases.sources.layout import INDEX, LayoutSource
from palomar.server.builds.bases.sources.remote import Login, RemoteSource

_REMOTE: Final = ("docker://", "https://", "http://")
_ARCHIVE_ENDINGS: Final = (".tar", ".tar.gz", ".tgz", ".oci")


@contextmanager
def open_source(text: str, scratch: Path, *, login: Login | None = None) -> Iterator[Source]:
    """What is there as a folder or a file is meant; anything else is an image of a registry.

    Raises BadParameter, and OSError for a file that cannot be read.
    """
    path = Path(text)
    if text.startswith(_REMOTE) or not (path.exists() or _looks_like_a_path(text)):
        with RemoteSource(text, login) as remote:
            yield remote
    elif path.is_dir():
        yield LayoutSource(FolderFiles(path))
    elif path.is_file():
        with closing(ArchiveFiles(path, scratch)) as files:
            yield _archive(files, text)
    else:
        raise refused(f"there is no file or folder {text!a}")


def _looks_like_a_path(text: str) -> bool:
    """Nobody means a registry by these, which would be asked for them."""
    return text.startswith(("/", "./", "../", "~")) or text.endswith(_ARCHIVE_ENDINGS)


def _archive(files: ArchiveFiles, text: str) -> Source:
    """Newer versions of `docker save` write both forms in one; the layout says more."""
    if INDEX in files:
        return LayoutSource(files)
    if MANIFEST in files:
        return DockerArchiveSource(files)
    raise refused(f"{text!a} is no image: it has neither {INDEX} nor {MANIFEST}")
