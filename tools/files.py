"""Which files belong to the repository: what git tracks, and what it would track."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def repository_files(root: Path = ROOT) -> list[Path]:
    """Every file that is tracked or new and not ignored, sorted."""
    # A checkout that belongs to another user (a CI job's, say) is as good as one's own: nothing of it is executed.
    command = ["git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listing = subprocess.run(command, cwd=root, check=True, capture_output=True)
    names = sorted(set(listing.stdout.decode().split("\0")) - {""})
    return [root / name for name in names if (root / name).is_file()]


def with_suffix(files: Iterable[Path], *suffixes: str) -> list[Path]:
    return [path for path in files if path.suffix in suffixes]


def text_of(path: Path) -> str | None:
    """None for a file that is no UTF-8 text."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return None
