"""Every refusal has its status in every adapter, and an accident says nothing of what happened."""

from __future__ import annotations

import json
from typing import Any

import pytest
from starlette.exceptions import HTTPException

from palomar.contract import errors as e
from palomar.server.web import hubble
from palomar.server.web.errors import http_status, render, to_palomar_error
from palomar.server.web.hubble.rpc import STATUS, lookup
from tests.factories.errors import CLASSES, make_error

every_class = pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
NATIVE: dict[str, Any] = {"type": "http", "path": "/api/v1/whoami", "headers": []}
RPC: dict[str, Any] = {"type": "http", "path": "/v2/rpc/user.identity.whoami", "headers": []}

# What the old clients' own table knows; any other number makes them fail with a bare KeyError.
KNOWN_TO_CLIENTS = {
    *(40001, 40002, 40003, 40004, 40101, 40102, 40103, 40301, 40401, 40402, 40403, 40501, 40502, 40901),
    *(41301, 41302, 42201, 42202, 42203, 42204, 50001, 50002, 50003, 50004, 50005, 50006),
}


@every_class
def test_a_class_has_a_status_that_is_a_refusal(cls: type[e.PalomarError]) -> None:
    assert 400 <= http_status(make_error(cls)) < 600


@every_class
def test_an_old_client_gets_a_number_that_it_knows(cls: type[e.PalomarError]) -> None:
    assert lookup(STATUS, make_error(cls)) in KNOWN_TO_CLIENTS


EXPECTED = {
    e.BadName: 400,
    e.BareNameRefused: 400,
    e.MalformedStream: 422,
    e.CountMismatch: 422,
    e.CredentialMissing: 401,
    e.CredentialInvalid: 401,
    e.NotAllowed: 403,
    e.NotFound: 404,
    e.UnknownMethod: 404,
    e.NameTaken: 409,
    e.VersionConflict: 409,
    e.LegacyFrozen: 403,
    e.TooLarge: 413,
    e.QuotaExceeded: 413,
    e.RateLimited: 429,
    e.Busy: 503,
    e.StorageFull: 507,
    e.DataCorrupt: 500,
    e.PalomarError: 500,
}


@pytest.mark.parametrize(("cls", "status"), EXPECTED.items(), ids=lambda value: getattr(value, "__name__", value))
def test_a_status(cls: type[e.PalomarError], status: int) -> None:
    assert http_status(make_error(cls)) == status


@every_class
def test_the_native_form_is_problem_details(cls: type[e.PalomarError]) -> None:
    error = make_error(cls)
    response = render(error, NATIVE, "request-1")
    body = json.loads(bytes(response.body))
    assert response.media_type == "application/problem+json"
    assert body == {
        "type": f"urn:palomar:error:{cls.code}",
        "title": cls.title,
        "status": response.status_code,
        "detail": error.detail,
        "code": cls.code,
        "fields": error.fields,
        "request_id": "request-1",
    }


@every_class
def test_the_old_form_has_the_texts_that_clients_show(cls: type[e.PalomarError]) -> None:
    hubble.routes()  # registers the adapter's form
    error = make_error(cls)
    response = render(error, RPC, "request-1")
    body = json.loads(bytes(response.body))
    assert body["code"] == response.status_code
    assert body["message"] == body["readableMessage"] == error.detail
    assert body["data"] == {"code": cls.code, "requestId": "request-1"}


def test_a_rate_limit_says_when_to_try_again() -> None:
    assert render(e.RateLimited(17), NATIVE, "").headers["retry-after"] == "17"


def test_an_accident_says_nothing_of_what_happened() -> None:
    response = render(RuntimeError("the password is hunter2"), NATIVE, "request-1")
    assert response.status_code == 500
    assert b"hunter2" not in bytes(response.body)
    assert json.loads(bytes(response.body))["code"] == "error"


@pytest.mark.parametrize(
    ("error", "cls", "status"),
    [
        (HTTPException(404), e.UnknownMethod, 404),
        (HTTPException(405), e.BadRequestBody, 405),
        (HTTPException(502), e.PalomarError, 502),
    ],
)
def test_the_frameworks_own_refusals_are_put_into_our_words(
    error: HTTPException, cls: type[e.PalomarError], status: int
) -> None:
    assert type(to_palomar_error(error, NATIVE)) is cls
    assert render(error, NATIVE, "").status_code == status
