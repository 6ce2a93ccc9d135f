"""What the native API, ``/api/v1``, takes and gives: JSON in snake_case, sizes in bytes, times in UTC.

What is taken is strict: an unknown field is a mistake and is refused. Of what is given, readers must ignore fields
that they do not know.
"""

from __future__ import annotations

import json
from base64 import b64decode
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from palomar.contract.actions import Scope, Visibility

MAX_DIGESTS_PER_QUESTION = 10_000
MAX_DOCUMENTS_PER_ANSWER = 10_000
MAX_DOCUMENT_BYTES_PER_ANSWER = 64 * 1024 * 1024
MAX_PREVIEWS = 100
MAX_RECIPE_PARTS = 10_000
#: The body of a recipe and of a commit; a manifest has 44 bytes per chunk, and base64 adds a third.
MAX_RECIPE_BYTES = 8 * 1024 * 1024
MAX_COMMIT_BYTES = 64 * 1024 * 1024
#: The path segment that stands for the namespace of an old un-namespaced array.
NO_NAMESPACE = "_"

ENCODING_HEADER = "Palomar-Encoding"
STORED_DIGEST_HEADER = "Palomar-Stored-Digest"
DOCUMENTS_HEADER = "Palomar-Documents"


class Kind(StrEnum):
    """The generation of an array's documents: docarray up to 0.21, docarray 0.30 and later."""

    V1 = "v1"
    V2 = "v2"


class ChunkEncoding(StrEnum):
    GZIP_MEMBERS = "gzip-members"
    ZSTD = "zstd"


def _storable_text(text: str) -> str:
    """PostgreSQL keeps no NUL, and a lone surrogate is no Unicode text."""
    if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise ValueError("it has characters that cannot be stored")
    return text


def _storable_json(value: dict[str, Any]) -> dict[str, Any]:
    try:
        text = json.dumps(value, allow_nan=False, ensure_ascii=False)
    except (ValueError, RecursionError):
        raise ValueError("it has numbers or a depth that JSON does not allow") from None
    if r"\u0000" in text:
        raise ValueError("it has characters that cannot be stored")
    _storable_text(text)
    return value


def _from_base64(value: Any) -> Any:
    """Strict, for a stray character means that something else was meant; bytes are taken as they are."""
    if isinstance(value, str):
        try:
            return b64decode(value, validate=True)
        except ValueError:
            raise ValueError("it is not base64") from None
    return value


Base64 = Annotated[
    bytes, BeforeValidator(_from_base64), WithJsonSchema({"type": "string", "contentEncoding": "base64"})
]
Text = Annotated[str, AfterValidator(_storable_text)]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Metadata = Annotated[dict[str, Any], AfterValidator(_storable_json)]
Number = Annotated[int, Field(ge=0, lt=2**31)]
#: A position in an array, or a number of documents.
Position = Annotated[int, Field(ge=0, lt=2**63)]


class Taken(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Given(BaseModel):
    model_config = ConfigDict(frozen=True)


# --- errors --------------------------------------------------------------------------------------------------------


class Problem(Given):
    """Problem details (RFC 9457); ``code`` and ``fields`` are stable."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    fields: dict[str, Any]
    request_id: str


# --- accounts ------------------------------------------------------------------------------------------------------


class Whoami(Given):
    account_id: str
    name: str
    nickname: str | None
    credential: str
    scopes: list[Scope]


class TokenRow(Given):
    """Of a token only its last characters can be read again."""

    id: str
    name: str
    hint: str
    scopes: list[str]
    created_at: datetime
    expires_at: datetime | None
    last_used_at: datetime | None


class TokenList(Given):
    tokens: list[TokenRow]


class TokenOrder(Taken):
    """``days`` null means that it never expires; ``scopes`` null means those of the credential that asks."""

    name: Annotated[Text, Field(min_length=1, max_length=100)]
    days: Annotated[int, Field(ge=1)] | None = 30
    scopes: list[Scope] | None = None


class NewToken(Given):
    """Shown once."""

    token: str


class NamespaceSettings(Given):
    """``refuse_breaking``: whether an Executor's push under a version tag that breaks its users is refused."""

    namespace: str
    default_visibility: Visibility
    visibility_ceiling: Visibility
    refuse_breaking: bool
    quota_bytes: int | None
    created_at: datetime


class NamespaceChanges(Taken):
    """What is left out stays as it is."""

    default_visibility: Visibility | None = None
    visibility_ceiling: Visibility | None = None
    refuse_breaking: bool | None = None


# --- arrays --------------------------------------------------------------------------------------------------------


class ArrayRow(Given):
    """``namespace`` is null for an old un-namespaced array; ``visibility`` is what takes effect."""

    namespace: str | None
    name: str
    kind: Kind | None
    version: int
    digest: str | None
    documents: int
    raw_bytes: int
    visibility: Visibility
    created_at: datetime
    updated_at: datetime


class ArrayDetail(ArrayRow):
    metadata: dict[str, Any] | None


class ArrayPage(Given):
    """``next_cursor`` is null on the last page. There is no total: counting what one may see is slow."""

    arrays: list[ArrayRow]
    next_cursor: str | None


class ArrayChanges(Taken):
    """What is left out stays as it is; ``name`` is the new name within the namespace."""

    name: str | None = None
    visibility: Visibility | None = None
    metadata: Metadata | None = None


class Receipt(Given):
    """A version, whose bytes and row are on disk since ``durable_at``.

    ``digest`` is the manifest's. ``stream_bytes`` is the size of an old client's download. ``new_bytes``, for those who
    may push here and null for others, is what the push added to the store.
    """

    namespace: str | None
    name: str
    version: int
    kind: Kind
    digest: str
    documents: int
    raw_bytes: int
    stream_bytes: int
    new_bytes: int | None
    visibility: Visibility
    message: str
    pushed_by: str | None
    durable_at: datetime


class VersionDetail(Receipt):
    metadata: dict[str, Any] | None


class VersionPage(Given):
    versions: list[Receipt]
    next_cursor: str | None


class DocumentPreview(Given):
    """``document`` is null when it is too large to be shown."""

    position: int
    raw_bytes: int
    document: dict[str, Any] | None


class PreviewPage(Given):
    kind: Kind
    start: int
    total: int
    documents: list[DocumentPreview]


class DownloadUrl(Given):
    """An old client's stream, which the URL opens without a credential until it expires."""

    url: str
    stream_bytes: int
    expires_in_s: int


# --- pushes --------------------------------------------------------------------------------------------------------


class PushOrder(Taken):
    """``name`` is ``namespace/name``. With ``base_version`` the commit fails when somebody pushed in between."""

    name: Annotated[str, Field(max_length=300)]
    kind: Kind
    is_public: bool | None = None
    metadata: Metadata | None = None
    message: Annotated[Text, Field(max_length=500)] = ""
    base_version: Number | None = None


class PushOpened(Given):
    """Every call for the push moves ``expires_at``."""

    push_id: str
    expires_at: datetime


class ChunkQuestion(Taken):
    digests: Annotated[list[Digest], Field(max_length=MAX_DIGESTS_PER_QUESTION)]


class ChunkAnswer(Given):
    """Those of the digests that must be sent, each once, in the order of the question."""

    missing: list[str]


class NewDocuments(Taken):
    """Documents in their raw form: per document its length (u32 big-endian) and its bytes."""

    documents: Base64


class KnownDocuments(Taken):
    """Documents ``start`` to ``stop`` (exclusive) of a version that the caller may read."""

    array: Annotated[str, Field(max_length=300)]
    version: Number
    start: Position
    stop: Position


class Recipe(Taken):
    """A chunk as the concatenation of parts."""

    parts: Annotated[list[NewDocuments | KnownDocuments], Field(min_length=1, max_length=MAX_RECIPE_PARTS)]


class Commit(Taken):
    manifest: Base64
