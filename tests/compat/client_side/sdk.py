# What scripts for jina-hubble-sdk begin with.
# ruff: noqa: F401  (the scripts use the imports)
import io
import os
import sys
import uuid

import hubble
from hubble.client.client import Client
from hubble.excepts import (
    AuthenticationRequiredError,
    IdentifierNamespaceOccupiedError,
    OperationNotAllowedError,
    ParamValidationError,
    RequestedEntityNotFoundError,
)

DATA = b"some binary data: \x00\x01" + bytes(range(256)) * 100


def read(answer):
    """The body of an answer that says yes, whichever form the client was asked for."""
    if not isinstance(answer, dict):
        assert answer.ok
        answer = answer.json()
    assert (answer["code"], answer["status"]) == (200, 20000)
    return answer


def refused(error, call, *args, **kwargs):
    try:
        call(*args, **kwargs)
    except error as refusal:
        return refusal
    raise AssertionError(f"{error.__name__} did not come")


def id_of(answer):
    return read(answer)["data"]["_id"]
