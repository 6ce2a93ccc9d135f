"""Where packages may come from, and what working with them may cost."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from palomar.server.builds.limits import SandboxLimits

_CA_BUNDLES: Final = ("/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem")

#: For ``PackageRules.index_url``: what is in a folder is all there is.
NO_INDEX: Final = ""


@dataclass(frozen=True, slots=True)
class PackageRules:
    """What the operator decided, and what was learned from that.

    ``cache`` is the hub's own folder, shared by all builds. ``index_url`` is None for uv's own index, which
    ``package_index`` finds out, and ``NO_INDEX`` where ``find_links``, a flat folder of packages, is all there is.
    ``index_hosts`` are hosts, or host:port, that files come from beside those that the index itself names, which are
    in ``learned_hosts`` once they are known. ``git_hosts`` are those that a requirement may name as git+https.
    """

    cache: Path
    index_url: str | None = None
    index_hosts: tuple[str, ...] = ()
    git_hosts: tuple[str, ...] = ()
    find_links: Path | None = None
    limits: SandboxLimits = field(default_factory=SandboxLimits)
    max_cache_bytes: int = 20 * 1024**3
    bwrap: Path | None = None
    uv: Path | None = None
    ca_bundle: Path | None = None
    learned_hosts: frozenset[tuple[str, int]] = frozenset()

    def hosts(self) -> frozenset[tuple[str, int]]:
        """Host and port of everything that a build may reach; nothing while the index is not known."""
        return self.near_hosts() | self.learned_hosts if self.index_url else frozenset()

    def near_hosts(self) -> frozenset[tuple[str, int]]:
        """Those that may be on this machine or network: what the operator wrote, and nothing that was learned."""
        if not self.index_url:
            return frozenset()
        written = frozenset(address(host) for host in (*self.index_hosts, *self.git_hosts))
        return written | ({url_address(self.index_url)} - self.learned_hosts)

    def secrets(self) -> dict[str, str]:
        """The index's password, by the word that stands for it where it would be shown."""
        password = urlsplit(self.index_url).password if self.index_url else None
        return {"INDEX_PASSWORD": password} if password else {}

    def find_bwrap(self) -> Path | None:
        return self.bwrap or _program("bwrap")

    def find_uv(self) -> Path | None:
        """Beside the hub's own Python, where pip puts it, else on the path."""
        if self.uv:
            return self.uv
        try:
            from uv import find_uv_bin
        except ImportError:
            return _program("uv")
        try:
            return Path(find_uv_bin())
        except FileNotFoundError:
            return _program("uv")

    def find_ca_bundle(self) -> Path | None:
        """The operator's, else the machine's: a base image may have none."""
        if self.ca_bundle:
            return self.ca_bundle
        return next((path for path in map(Path, _CA_BUNDLES) if path.is_file()), None)


def _program(name: str) -> Path | None:
    found = shutil.which(name)
    return Path(found) if found else None


def address(host: str, *, default_port: int = 443) -> tuple[str, int]:
    """``host`` or ``host:port``, as a name in lower case and a number."""
    name, _, port = host.strip().rpartition(":")
    if not name or not port.isdigit():
        return host.strip().lower().rstrip("."), default_port
    return name.lower().rstrip("."), int(port)


def url_address(url: str) -> tuple[str, int]:
    """Host and port that a URL leads to."""
    parts = urlsplit(url)
    return (parts.hostname or "").rstrip("."), parts.port or (80 if parts.scheme == "http" else 443)
