"""Every refusal has one of the specification's codes, and the bodies that its clients read."""

from __future__ import annotations

import json
from typing import Any

import pytest

from palomar.contract import errors as e
from palomar.server.web.errors import render, use_renderer
from palomar.server.web.oci.answers import refuse, render_error
from palomar.server.web.oci.codes import REFUSALS, refusal
from tests.factories.errors import CLASSES, make_error

every_class = pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)

# distribution-spec 1.1, "Error Codes": "The code field MUST be one of the following".
SPECIFIED = {
    *("BLOB_UNKNOWN", "BLOB_UPLOAD_INVALID", "BLOB_UPLOAD_UNKNOWN", "DIGEST_INVALID", "MANIFEST_BLOB_UNKNOWN"),
    *("MANIFEST_INVALID", "MANIFEST_UNKNOWN", "NAME_INVALID", "NAME_UNKNOWN", "SIZE_INVALID", "UNAUTHORIZED"),
    *("DENIED", "UNSUPPORTED", "TOOMANYREQUESTS"),
}
OF_THE_HUB = {"UNKNOWN", "UNAVAILABLE"}


@every_class
def test_a_class_has_a_code_of_the_specification(cls: type[e.PalomarError]) -> None:
    code, status = refusal(make_error(cls), "GET")
    assert code in (SPECIFIED if status < 500 else OF_THE_HUB)
    assert 400 <= status < 600


@every_class
def test_a_class_or_its_parent_is_in_the_table(cls: type[e.PalomarError]) -> None:
    """What has only the root's entry would be an accident of the hub's in the eyes of a client."""
    assert cls in REFUSALS or any(parent in REFUSALS for parent in cls.__mro__[1:-1] if parent is not e.PalomarError)


EXPECTED = {
    e.BadDigest: ("DIGEST_INVALID", 400),
    e.DigestMismatch: ("DIGEST_INVALID", 400),
    e.BlobUploadInvalid: ("SIZE_INVALID", 400),
    e.ManifestInvalid: ("MANIFEST_INVALID", 400),
    e.ManifestIncomplete: ("MANIFEST_BLOB_UNKNOWN", 400),
    e.CredentialMissing: ("UNAUTHORIZED", 401),
    e.CredentialInvalid: ("UNAUTHORIZED", 401),
    e.NotAllowed: ("DENIED", 403),
    e.QuotaExceeded: ("DENIED", 403),
    e.RepositoryUnknown: ("NAME_UNKNOWN", 404),
    e.ImageBlobUnknown: ("BLOB_UNKNOWN", 404),
    e.ManifestUnknown: ("MANIFEST_UNKNOWN", 404),
    e.UploadUnknown: ("BLOB_UPLOAD_UNKNOWN", 404),
    e.UploadOutOfOrder: ("BLOB_UPLOAD_INVALID", 416),
    e.TooLarge: ("SIZE_INVALID", 413),
    e.TooManyUploads: ("TOOMANYREQUESTS", 429),
    e.RateLimited: ("TOOMANYREQUESTS", 429),
    e.TagProtected: ("DENIED", 409),
}


@pytest.mark.parametrize(("cls", "expected"), EXPECTED.items(), ids=lambda value: getattr(value, "__name__", ""))
def test_a_code_and_its_status(cls: type[e.PalomarError], expected: tuple[str, int]) -> None:
    assert refusal(make_error(cls), "PUT") == expected


@pytest.mark.parametrize(
    ("kind", "code"), [("repository", "NAME_INVALID"), ("tag", "MANIFEST_INVALID"), ("digest", "DIGEST_INVALID")]
)
def test_a_bad_name_is_told_by_what_it_was_to_name(kind: str, code: str) -> None:
    assert refusal(e.BadName(kind, "x", "it is wrong", "right ones"), "PUT") == (code, 400)


@pytest.mark.parametrize("cls", [e.TagProtected, e.ImageBlobInUse])
def test_what_must_not_be_deleted_is_405_as_end_9_and_end_10_say(cls: type[e.PalomarError]) -> None:
    response = refuse(make_error(cls), method="DELETE")
    assert response.status_code == 405
    assert response.headers["allow"]


@every_class
def test_a_body_is_a_list_of_errors(cls: type[e.PalomarError]) -> None:
    error = make_error(cls)
    body = json.loads(bytes(refuse(error, method="GET").body))
    assert body.keys() == {"errors"}
    for one in body["errors"]:
        assert one.keys() == {"code", "message", "detail"}
        assert one["code"] == refusal(error, "GET").code
        assert one["message"]
        assert one["detail"]["code"] == cls.code


@every_class
def test_a_refusal_to_head_has_no_body(cls: type[e.PalomarError]) -> None:
    response = refuse(make_error(cls), method="HEAD")
    assert bytes(response.body) == b""
    assert response.status_code == refusal(make_error(cls), "HEAD").status


def test_every_missing_blob_is_an_error_of_its_own() -> None:
    error = e.ManifestIncomplete("it is incomplete", [f"sha256:{number:064x}" for number in range(30)])
    listed = json.loads(bytes(refuse(error, method="PUT").body))["errors"]
    assert [one["detail"]["digest"] for one in listed] == error.missing[:20]
    assert {one["code"] for one in listed} == {"MANIFEST_BLOB_UNKNOWN"}


def test_429_says_when_to_try_again() -> None:
    assert refuse(e.RateLimited(17), method="GET").headers["retry-after"] == "17"
    assert int(refuse(e.TooManyUploads(1000), method="POST").headers["retry-after"]) > 0


@pytest.mark.parametrize("cls", [e.CredentialMissing, e.CredentialInvalid])
def test_a_login_is_explained_in_the_words_of_container_tools(cls: type[e.PalomarError]) -> None:
    assert "docker login" in json.loads(bytes(refuse(make_error(cls), method="GET").body))["errors"][0]["message"]


OCI: dict[str, Any] = {"type": "http", "path": "/v2/alice/absent"}
RPC: dict[str, Any] = {"type": "http", "path": "/v2/rpc/user.identity.whoami"}


def test_an_accident_says_nothing_of_what_happened() -> None:
    use_renderer("/v2/", render_error)
    response = render(RuntimeError("the password is hunter2"), OCI, "request-1")
    assert response.status_code == 500
    assert b"hunter2" not in bytes(response.body)
    assert json.loads(bytes(response.body))["errors"][0]["detail"] == {"code": "error", "request_id": "request-1"}


def test_the_old_clients_below_the_same_prefix_keep_their_own_form() -> None:
    from palomar.server.web import hubble

    hubble.routes()
    use_renderer("/v2/", render_error)
    assert "readableMessage" in json.loads(bytes(render(e.CredentialMissing(), RPC, "").body))
    hubble.routes()  # the order in which the adapters come makes no difference
    assert "errors" in json.loads(bytes(render(e.CredentialMissing(), OCI, "").body))
    assert "readableMessage" in json.loads(bytes(render(e.CredentialMissing(), RPC, "").body))
