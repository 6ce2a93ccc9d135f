"""Fetches the source of one package into a sandbox; standard library alone, as ``first.py``.

Arguments: an address (https, http, git+https) or a path, and where to put it.
"""

from __future__ import annotations

import base64
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path
from urllib.parse import unquote, urlsplit


def _clone(address: str, target: str) -> None:
    plain = address[len("git+") :].partition("#")[0]
    head, at, revision = plain.rpartition("@")
    # An @ before the host belongs to a user's name.
    has_revision = at and "/" in head.partition("://")[2]
    source, revision = (head, revision) if has_revision else (plain, "HEAD")
    git = shutil.which("git")
    if git is None:
        sys.exit("no git: the base image has no program 'git'")
    subprocess.run([git, "clone", "--quiet", "--no-checkout", "--", source, target], check=True)  # noqa: S603 - in the sandbox
    subprocess.run([git, "-C", target, "checkout", "--quiet", revision], check=True)  # noqa: S603 - in the sandbox


def _request(address: str) -> urllib.request.Request:
    """Credentials go into a header, and not to where a redirect leads."""
    parts = urlsplit(address)
    user, at, host = parts.netloc.rpartition("@")
    request = urllib.request.Request(parts._replace(netloc=host).geturl())  # noqa: S310 - as below
    if at:
        value = base64.b64encode(unquote(user).encode()).decode()
        request.add_unredirected_header("Authorization", "Basic " + value)
    return request


def main() -> None:
    address, target = sys.argv[1:]
    if address.startswith("git+"):
        _clone(address, target)
        return
    Path(target).parent.mkdir(parents=True, exist_ok=True)
    # The address was checked outside, and there is nothing here that must not be read.
    with urllib.request.urlopen(_request(address)) as answer, Path(target).open("wb") as file:  # noqa: S310
        shutil.copyfileobj(answer, file, 1 << 20)


if __name__ == "__main__":
    main()
