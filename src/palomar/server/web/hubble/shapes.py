"""Between the domain and the wire's artifact objects, in pure functions."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Any

from pydantic import TypeAdapter, ValidationError

from palomar.contract.errors import BadParameter, TooLarge
from palomar.contract.v1 import Metadata
from palomar.server.artifacts.models import DOCUMENT_ARRAY
from palomar.server.artifacts.queries import Page
from palomar.server.artifacts.resource import Found, ShownArtifact
from palomar.server.artifacts.values import Receipt

_TRUE, _FALSE = frozenset({"true", "1", "yes", "on"}), frozenset({"false", "0", "no", "off", ""})
_METADATA: TypeAdapter[dict[str, Any] | None] = TypeAdapter(Metadata | None)
_TYPE = re.compile(r"[A-Za-z][A-Za-z0-9._-]{0,63}", re.ASCII)


def artifact_object(shown: ShownArtifact) -> dict[str, Any]:
    """As `artifact.getDetail`, `update` and `list` return it; times are text, because a number crashes docarray."""
    return {
        "_id": shown.id,
        "name": shown.shown_name,
        "type": shown.kind,
        "visibility": shown.visibility.value,
        "createdAt": to_iso(shown.created_at),
        "updatedAt": to_iso(shown.updated_at),
        "metaData": _readable_metadata(shown),
        "version": shown.version,
    }


def upload_object(found: Found, receipt: Receipt) -> dict[str, Any]:
    """The artifact, and what old clients do not read: the receipt."""
    return {
        **artifact_object(ShownArtifact.of(found)),
        "receipt": {
            "version": receipt.version,
            "digest": receipt.digest,
            "documents": receipt.documents,
            "rawBytes": receipt.raw_bytes,
            "streamBytes": receipt.stream_bytes,
            "newBytes": receipt.new_bytes,
            "visibility": receipt.visibility.value,
            "durableAt": to_iso(receipt.durable_at),
        },
    }


def _readable_metadata(shown: ShownArtifact) -> dict[str, Any] | None:
    """Docarray's list needs `metaData.summary` with an item `Length`, or it fails for the whole account.

    docarray 0.11.3 to 0.16 pushed none, and an `artifact.update` may have replaced it.
    """
    metadata = shown.metadata
    if shown.kind != DOCUMENT_ARRAY:
        return None if metadata is None else dict(metadata)
    known = metadata if isinstance(metadata, dict) else {}
    given = known.get("summary")
    summary = [item for item in given if _is_named(item)] if isinstance(given, list) else []
    if not any(item["name"] == "Length" for item in summary):
        summary.append({"name": "Length", "value": shown.documents})
    return {**known, "summary": summary}


def _is_named(item: Any) -> bool:
    return isinstance(item, dict) and isinstance(item.get("name"), str)


def to_iso(moment: datetime) -> str:
    """``2022-09-15T07:14:54.256Z``."""
    # Times from the database are in UTC already; a page of a list has a hundred of them.
    utc = moment if moment.tzinfo is UTC else moment.astimezone(UTC)
    return utc.isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


def to_bool(name: str, value: Any) -> bool | None:
    """Python-style booleans of forms (``True``), JSON's own, or nothing."""
    if value is None or isinstance(value, bool):
        return value
    text = str(value).strip().lower()
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise BadParameter(name, f"{text[:20]!r} is neither True nor False")


def to_text(name: str, value: Any) -> str | None:
    if value is None or value == "":
        return None
    if not isinstance(value, str):
        raise BadParameter(name, "it must be one text")
    return value


def to_type(value: Any) -> str | None:
    text = to_text("type", value)
    if text is not None and not _TYPE.fullmatch(text):
        raise BadParameter("type", "it must be 1 to 64 letters, digits, '.', '_' and '-', beginning with a letter")
    return text


def to_metadata(value: Any, *, max_bytes: int) -> dict[str, Any] | None:
    """JSON text of an object, or the object itself."""
    if value is None or value == "":
        return None
    if isinstance(value, str):
        if len(value.encode(errors="surrogatepass")) > max_bytes:
            raise TooLarge("metaData", max_bytes)
        try:
            value = json.loads(value, parse_constant=_refuse_constant)
        except (ValueError, RecursionError):
            raise BadParameter("metaData", "it is not JSON") from None
    if value is not None and not isinstance(value, dict):
        raise BadParameter("metaData", "it must be a JSON object")
    try:
        return _METADATA.validate_python(value)
    except ValidationError as error:
        raise BadParameter("metaData", error.errors()[0]["msg"].removeprefix("Value error, ")) from None


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")  # PostgreSQL, rightly, stores none


def to_texts(name: str, value: Any) -> list[str]:
    """A repeated form field, a single one, or a JSON array."""
    values = value if isinstance(value, list) else [value]
    return [text for item in values if (text := to_text(name, item)) is not None]


def to_page(fields: dict[str, Any], *, max_size: int) -> Page:
    """Docarray 0.17 to 0.30 sends no size and never asks for a second page, so the default is all there may be."""
    size = _to_int("pageSize", fields.get("pageSize"), max_size)
    if not 1 <= size <= max_size:
        raise BadParameter("pageSize", f"1 to {max_size:,} are allowed")
    index = _to_int("pageIndex", fields.get("pageIndex"), 0)
    if not 0 <= index <= 2**31:
        raise BadParameter("pageIndex", "it must be 0 or more")
    sort = fields.get("sort") or {"createdAt": -1}
    if not isinstance(sort, dict):
        raise BadParameter("sort", 'it must be an object such as {"createdAt": -1}')
    # No client defines whether pages count from 0 or 1: both are the first one.
    return Page(start=max(0, index - 1) * size, size=size, sort=sort)


def to_filters(value: Any) -> dict[str, Any]:
    if value is None or value == "":
        return {}
    if not isinstance(value, dict):
        raise BadParameter("filter", 'it must be an object such as {"type": "documentArray"}')
    return value


def _to_int(name: str, value: Any, default: int) -> int:
    if value is None or value == "":
        return default
    text = str(value)
    if isinstance(value, bool) or not text.isascii() or not text.isdecimal() or len(text) > 19:
        raise BadParameter(name, "it must be a whole number, 0 or more")
    return int(text)
