"""From ``PALOMAR_BLOBS_URL`` to a store."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from .local import LocalBlobStore
from .port import BlobStore

if TYPE_CHECKING:
    from obstore.store import ObjectStore

FORMS: Final = (
    "an absolute path, file:///path, s3://bucket/prefix?endpoint=...&region=..., gs://bucket/prefix, "
    "or az://container/prefix?account=..."
)
_BUCKET: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{1,61})[A-Za-z0-9]", re.ASCII)
_PREFIX: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*(?:/[A-Za-z0-9_][A-Za-z0-9._-]*)*", re.ASCII)
_TRUE: Final = {"true": True, "1": True, "false": False, "0": False}


@dataclass(frozen=True, slots=True)
class RemoteOptions:
    """How to speak to an object store.

    Credentials that are not given come from where the provider's own tools take them: ``AWS_*``,
    ``GOOGLE_APPLICATION_CREDENTIALS``, ``AZURE_STORAGE_*``, or the machine's own identity.
    """

    access_key_id: str | None = None
    secret_access_key: str | None = field(default=None, repr=False)
    session_token: str | None = field(default=None, repr=False)
    connect_timeout_s: float = 5.0
    request_timeout_s: float = 60.0
    max_retries: int = 5
    retry_timeout_s: float = 120.0


def open_store(url: str | None, *, data_dir: Path, options: RemoteOptions | None = None) -> BlobStore:
    """The store that the URL names; without one, the folder ``blobs`` in the data folder.

    An object store is not contacted: ``ping`` does that.

    Raises:
        ValueError: The URL is unknown, unsafe or has parts that mean nothing; the message is one sentence.
    """
    if not url:
        return LocalBlobStore(data_dir / "blobs")
    if url.startswith("/"):
        return LocalBlobStore(Path(url))
    parts = _split(url)
    if parts.scheme == "file":
        return _open_folder(parts)
    opener = _OPENERS.get(parts.scheme)
    if opener is None:
        raise ValueError(f"the blob store's URL {url!r} is none of: {FORMS}")
    from .obstore_store import ObstoreBlobStore  # a hub on a local disk starts without obstore

    return ObstoreBlobStore(opener(parts, options or RemoteOptions()))


def _split(url: str) -> SplitResult:
    parts = urlsplit(url)
    if "@" in parts.netloc:
        raise ValueError("credentials do not belong into the blob store's URL: set them in the environment")
    if parts.fragment:
        raise ValueError("the blob store's URL has a '#' part, which means nothing here")
    return parts


def _open_folder(parts: SplitResult) -> BlobStore:
    if parts.netloc not in {"", "localhost"} or not parts.path.startswith("/") or parts.query:
        raise ValueError("a blob store in a folder is named by file:///absolute/path and nothing more")
    return LocalBlobStore(Path(unquote(parts.path)))


# --- object stores -----------------------------------------------------------------------------------------------


def _open_s3(parts: SplitResult, options: RemoteOptions) -> ObjectStore:
    from obstore.store import S3Store

    query = _query(parts, {"endpoint", "region", "virtual_host", "allow_http"})
    config = _present(
        {
            "endpoint": query.get("endpoint"),
            "region": query.get("region"),
            "virtual_hosted_style_request": _flag(query, "virtual_host"),
            "access_key_id": options.access_key_id,
            "secret_access_key": options.secret_access_key,
            "session_token": options.session_token,
        }
    )
    return S3Store(_bucket(parts), config=config, **_common(parts, query, options))


def _open_gcs(parts: SplitResult, options: RemoteOptions) -> ObjectStore:
    from obstore.store import GCSStore

    return GCSStore(_bucket(parts), **_common(parts, _query(parts, set()), options))


def _open_azure(parts: SplitResult, options: RemoteOptions) -> ObjectStore:
    from obstore.store import AzureStore

    query = _query(parts, {"account", "endpoint", "allow_http"})
    config = _present(
        {
            "account_name": query.get("account") or options.access_key_id,
            "account_key": options.secret_access_key,
            "endpoint": query.get("endpoint"),
        }
    )
    return AzureStore(_bucket(parts), config=config, **_common(parts, query, options))


_OPENERS: Final[Mapping[str, Callable[[SplitResult, RemoteOptions], ObjectStore]]] = {
    "s3": _open_s3,
    "gs": _open_gcs,
    "az": _open_azure,
}


def _common(parts: SplitResult, query: Mapping[str, str], options: RemoteOptions) -> dict[str, Any]:
    """Prefix, time limits and retries: the same for all providers."""
    return {
        "prefix": _prefix(parts),
        "client_options": {
            "connect_timeout": timedelta(seconds=options.connect_timeout_s),
            "timeout": timedelta(seconds=options.request_timeout_s),
            "allow_http": _may_speak_plain_http(query),
        },
        "retry_config": {
            "max_retries": options.max_retries,
            "retry_timeout": timedelta(seconds=options.retry_timeout_s),
        },
    }


def _bucket(parts: SplitResult) -> str:
    if not _BUCKET.fullmatch(parts.netloc):
        raise ValueError(f"{parts.netloc!r} in the blob store's URL is not the name of a bucket")
    return parts.netloc


def _prefix(parts: SplitResult) -> str | None:
    prefix = parts.path.strip("/")
    if prefix and not _PREFIX.fullmatch(prefix):
        raise ValueError(
            f"{prefix!r} in the blob store's URL is not a plain prefix: letters, digits, '.', '_', '-', '/'"
        )
    return prefix or None


def _query(parts: SplitResult, known: set[str]) -> dict[str, str]:
    pairs = parse_qsl(parts.query, keep_blank_values=True)
    query = dict(pairs)
    if len(query) < len(pairs):
        raise ValueError("the blob store's URL gives a parameter twice")
    if unknown := sorted(query.keys() - known):
        names = ", ".join(sorted(known)) or "none"
        raise ValueError(f"the blob store's URL has unknown parameters {unknown}; known for {parts.scheme}: {names}")
    return query


def _flag(query: Mapping[str, str], name: str) -> bool | None:
    if name not in query:
        return None
    if query[name] not in _TRUE:
        raise ValueError(f"{name} in the blob store's URL is true or false, not {query[name]!r}")
    return _TRUE[query[name]]


def _may_speak_plain_http(query: Mapping[str, str]) -> bool:
    """Everybody on the way reads what goes over plain HTTP, so it takes this machine or an operator's word."""
    endpoint = urlsplit(query.get("endpoint", "https://"))
    if endpoint.scheme not in {"http", "https"}:
        raise ValueError(f"the endpoint in the blob store's URL is http:// or https://, not {query['endpoint']!r}")
    if endpoint.scheme == "https":
        return False
    if not (_flag(query, "allow_http") or _is_loopback(endpoint.hostname or "")):
        raise ValueError("the endpoint in the blob store's URL has no TLS: use https://, or add allow_http=true")
    return True


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _present(config: Mapping[str, Any]) -> Any:
    return {name: value for name, value in config.items() if value is not None}
