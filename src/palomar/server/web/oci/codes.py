"""PalomarError to the error codes of distribution-spec 1.1 ("Error Codes") and their statuses."""

from __future__ import annotations

from typing import NamedTuple

from palomar.contract import errors as e


class Refusal(NamedTuple):
    code: str
    status: int


# Of a refusal (4xx) the specification allows these codes and no others; for the hub's own failures (5xx) it has none,
# so those have the two that Docker's clients know. Looked up along the class's ancestors.
REFUSALS: dict[type[e.PalomarError], Refusal] = {
    e.PalomarError: Refusal("UNKNOWN", 500),
    e.InvalidInput: Refusal("UNSUPPORTED", 400),
    e.BadName: Refusal("NAME_INVALID", 400),
    e.BadRequestBody: Refusal("BLOB_UPLOAD_INVALID", 400),
    e.BadDigest: Refusal("DIGEST_INVALID", 400),
    e.DigestMismatch: Refusal("DIGEST_INVALID", 400),
    e.BlobUploadInvalid: Refusal("SIZE_INVALID", 400),
    e.ManifestInvalid: Refusal("MANIFEST_INVALID", 400),
    e.ManifestIncomplete: Refusal("MANIFEST_BLOB_UNKNOWN", 400),
    e.Unauthenticated: Refusal("UNAUTHORIZED", 401),
    e.NotAllowed: Refusal("DENIED", 403),
    e.NotFound: Refusal("NAME_UNKNOWN", 404),
    e.UnknownMethod: Refusal("UNSUPPORTED", 404),
    # Of an Executor's image, which only the other adapters ask for.
    e.ImageMissing: Refusal("MANIFEST_UNKNOWN", 404),
    e.RepositoryUnknown: Refusal("NAME_UNKNOWN", 404),
    e.ImageBlobUnknown: Refusal("BLOB_UNKNOWN", 404),
    e.ManifestUnknown: Refusal("MANIFEST_UNKNOWN", 404),
    e.UploadUnknown: Refusal("BLOB_UPLOAD_UNKNOWN", 404),
    e.Conflict: Refusal("DENIED", 409),
    e.LegacyFrozen: Refusal("DENIED", 403),
    e.UploadOutOfOrder: Refusal("BLOB_UPLOAD_INVALID", 416),
    e.LimitExceeded: Refusal("DENIED", 413),
    e.TooLarge: Refusal("SIZE_INVALID", 413),
    # Docker shows the message of a 403, and nothing of a 413's.
    e.QuotaExceeded: Refusal("DENIED", 403),
    e.RateLimited: Refusal("TOOMANYREQUESTS", 429),
    e.TooManyUploads: Refusal("TOOMANYREQUESTS", 429),
    e.Unsupported: Refusal("UNSUPPORTED", 400),
    e.Unavailable: Refusal("UNAVAILABLE", 503),
    e.StorageFull: Refusal("UNAVAILABLE", 507),
    e.DataCorrupt: Refusal("UNKNOWN", 500),
}

# Of a name that is none, by what it was to name.
_NAMES = {"tag": Refusal("MANIFEST_INVALID", 400), "digest": Refusal("DIGEST_INVALID", 400)}


def refusal(error: e.PalomarError, method: str) -> Refusal:
    if isinstance(error, e.BadName) and error.kind in _NAMES:
        return _NAMES[error.kind]
    if isinstance(error, e.Conflict) and method == "DELETE":
        # For what must stay the specification knows 400 and 405 alone (end-9, end-10).
        return Refusal("DENIED", 405)
    return next(REFUSALS[cls] for cls in type(error).__mro__ if cls in REFUSALS)
