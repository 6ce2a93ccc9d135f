"""Everything that Palomar refuses, as one tree.

    PalomarError
    |-- InvalidInput            the request itself is wrong
    |   |-- BadName             a namespace, resource or token name that the rules do not allow
    |   |-- BareNameRefused     a push that names no namespace
    |   |-- BadParameter        one field of a request
    |       |-- SourceLost      the registry that a base image is copied from went away
    |   |-- BadRequestBody      not JSON, no file part, two file parts, cut off
    |   |-- MalformedStream     bytes that are no DocumentArray, or a truncated or padded one
    |   |-- CountMismatch       a header that promises another number of documents than arrived
    |   |-- DigestMismatch      bytes that do not have the digest they were announced with
    |   |-- BadPackage          an Executor package that is no safe zip, or cannot be read
    |       |-- NoExecutorFound no class in it, or none that can be told apart, derives from Executor
    |   |-- BadDigest           no sha256 or sha512 digest
    |   |-- BlobUploadInvalid   bytes of an image's blob, fewer or more than their request said
    |   |-- ManifestInvalid     a manifest that is none, or contradicts itself
    |       |-- ManifestIncomplete  it names blobs or manifests that the repository lacks
    |-- Unauthenticated         who is asking?
    |   |-- CredentialMissing
    |   |-- CredentialInvalid   unknown, expired, revoked: never said which
    |   |-- LoginFailed
    |-- NotAllowed              known caller, known thing, not theirs to change
    |-- NotFound                absent, or not for this caller's eyes: never said which
    |   |-- UnknownMethod
    |   |-- RepositoryUnknown   of images
    |   |-- ImageBlobUnknown
    |   |-- ManifestUnknown
    |   |-- UploadUnknown       of a blob: never was, done, run out, or somebody else's
    |-- Conflict
    |   |-- NameTaken
    |   |-- NameRetired         a tombstone holds the name
    |   |-- LegacyFrozen        an old un-namespaced array cannot be updated
    |   |-- VersionConflict     somebody pushed in between
    |   |-- TagProtected        a protected tag never moves
    |   |-- BreakingChange      a release breaks what its tag promises, in a namespace that refuses that
    |   |-- UploadOutOfOrder    a chunk that does not begin where the upload stands
    |   |-- ImageBlobInUse      a manifest needs the blob that was to be deleted
    |   |-- BuildOver           a build that has ended cannot be cancelled
    |-- LimitExceeded
    |   |-- TooManyUploads
    |   |-- TooManyBuilds       that wait, of one namespace
    |   |-- TooManyVariants     of one release
    |   |-- TooLarge
    |   |-- QuotaExceeded
    |   |-- RateLimited
    |-- ImageMissing            of an Executor
    |   |-- ImageBuilding       not yet
    |   |-- ImageBuildFailed
    |   |-- ImageNotBuilt       the hub builds none, or not this one
    |-- Unsupported             this hub does not do that
    |-- Unavailable             the hub's fault, or its disk's
        |-- StorageFull
        |-- DataCorrupt         stored bytes fail their checksum
        |-- Busy

A class knows its stable ``code`` and its fields, and nothing of HTTP. Every adapter maps classes to its own wire
(a test asserts that each has a mapping), and the SDK rebuilds the same class from ``code`` and ``fields``.
"""

from palomar.contract.errors.base import PalomarError, catalogue, shorten
from palomar.contract.errors.builds import (
    BuildOver,
    ImageBuildFailed,
    ImageBuilding,
    ImageMissing,
    ImageNotBuilt,
    SourceLost,
    TooManyBuilds,
    TooManyVariants,
)
from palomar.contract.errors.images import (
    BadDigest,
    BlobUploadInvalid,
    ImageBlobInUse,
    ImageBlobUnknown,
    ManifestIncomplete,
    ManifestInvalid,
    ManifestUnknown,
    RepositoryUnknown,
    TooManyUploads,
    UploadOutOfOrder,
    UploadUnknown,
)
from palomar.contract.errors.requests import (
    BadName,
    BadPackage,
    BadParameter,
    BadRequestBody,
    BareNameRefused,
    CountMismatch,
    CredentialInvalid,
    CredentialMissing,
    DigestMismatch,
    InvalidInput,
    LoginFailed,
    MalformedStream,
    NoExecutorFound,
    NotAllowed,
    NotFound,
    Unauthenticated,
    UnknownMethod,
)
from palomar.contract.errors.state import (
    BreakingChange,
    Busy,
    Conflict,
    DataCorrupt,
    LegacyFrozen,
    LimitExceeded,
    NameRetired,
    NameTaken,
    QuotaExceeded,
    RateLimited,
    StorageFull,
    TagProtected,
    TooLarge,
    Unavailable,
    Unsupported,
    VersionConflict,
)

__all__ = [
    "BadDigest",
    "BadName",
    "BadPackage",
    "BadParameter",
    "BadRequestBody",
    "BareNameRefused",
    "BlobUploadInvalid",
    "BreakingChange",
    "BuildOver",
    "Busy",
    "Conflict",
    "CountMismatch",
    "CredentialInvalid",
    "CredentialMissing",
    "DataCorrupt",
    "DigestMismatch",
    "ImageBlobInUse",
    "ImageBlobUnknown",
    "ImageBuildFailed",
    "ImageBuilding",
    "ImageMissing",
    "ImageNotBuilt",
    "InvalidInput",
    "LegacyFrozen",
    "LimitExceeded",
    "LoginFailed",
    "MalformedStream",
    "ManifestIncomplete",
    "ManifestInvalid",
    "ManifestUnknown",
    "NameRetired",
    "NameTaken",
    "NoExecutorFound",
    "NotAllowed",
    "NotFound",
    "PalomarError",
    "QuotaExceeded",
    "RateLimited",
    "RepositoryUnknown",
    "SourceLost",
    "StorageFull",
    "TagProtected",
    "TooLarge",
    "TooManyBuilds",
    "TooManyUploads",
    "TooManyVariants",
    "Unauthenticated",
    "Unavailable",
    "UnknownMethod",
    "Unsupported",
    "UploadOutOfOrder",
    "UploadUnknown",
    "VersionConflict",
    "catalogue",
    "shorten",
]
