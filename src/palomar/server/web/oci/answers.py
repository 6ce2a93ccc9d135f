"""What every answer of the registry looks like, refusals above all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.responses import JSONResponse, Response

from palomar.contract import errors as e
from palomar.server.web.oci.codes import refusal

# Clients of before distribution-spec look for it in the answer to /v2/.
API_VERSION = {"Docker-Distribution-API-Version": "registry/2.0"}
_MAX_LISTED = 20
_LOGIN = "log in with 'docker login' and any user name; the password is a personal access token of this hub"
_RETRY_AFTER_S: dict[type[e.PalomarError], int] = {e.TooManyUploads: 60, e.Busy: 1}


def answer(status: int, headers: Mapping[str, str] | None = None) -> Response:
    """Without a body. 204 has no Content-Length (RFC 9110, section 8.6), the others say 0."""
    return Response(status_code=status, headers={**API_VERSION, **(headers or {})})


def answer_json(
    body: Any, *, media_type: str = "application/json", headers: Mapping[str, str] | None = None
) -> Response:
    return JSONResponse(body, headers={**API_VERSION, **(headers or {})}, media_type=media_type)


def refuse(
    error: e.PalomarError, *, method: str, headers: Mapping[str, str] | None = None, status: int | None = None
) -> Response:
    """``{"errors": [...]}``; to HEAD the same without a body. ``status`` is another one than the error's own."""
    code, own_status = refusal(error, method)
    status = own_status if status is None else status
    response = _errors(error, code, status)
    response.headers.update({**API_VERSION, **_hints(error, status), **(headers or {})})
    if method == "HEAD":
        response.body = b""
        del response.headers["content-length"]
    return response


def render_error(error: e.PalomarError, status: int, request_id: str) -> Response:
    """Of what no route of the registry answers: an unknown path or method, and accidents."""
    code = "UNSUPPORTED" if status == 405 else refusal(error, "GET").code
    response = _errors(error, code, status, request_id=request_id)
    response.headers.update(API_VERSION)
    return response


def _errors(error: e.PalomarError, code: str, status: int, **detail: str) -> Response:
    listed = [{"code": code, "message": _message(error), "detail": {"code": error.code, **detail}}]
    if isinstance(error, e.ManifestIncomplete) and error.missing:
        # "one or more MANIFEST_BLOB_UNKNOWN errors": one for each, as clients know it.
        listed = [
            {"code": code, "message": error.detail, "detail": {"code": error.code, "digest": digest}}
            for digest in error.missing[:_MAX_LISTED]
        ]
    return JSONResponse({"errors": listed}, status)


def _message(error: e.PalomarError) -> str:
    """The tree's sentence about a login names the commands of other clients."""
    if isinstance(error, e.CredentialMissing):
        return f"This needs a login: {_LOGIN}."
    if isinstance(error, e.CredentialInvalid):
        return f"The credential is unknown, expired or revoked: {_LOGIN}."
    return error.detail


def _hints(error: e.PalomarError, status: int) -> dict[str, str]:
    """What HTTP wants beside a status (RFC 9110, sections 10.2.1 and 10.2.3)."""
    hints = {}
    if isinstance(error, e.RateLimited):
        hints["Retry-After"] = str(error.retry_after_s)
    elif type(error) in _RETRY_AFTER_S:
        hints["Retry-After"] = str(_RETRY_AFTER_S[type(error)])
    if status == 405:
        hints["Allow"] = "GET, HEAD"
    return hints
