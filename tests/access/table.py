"""The access matrix: what every route of every adapter answers to every caller. Written by hand, checked for gaps.

A row says the statuses for an anonymous caller, a stranger, the owner, and the owner with a token that lacks the
needed scope; after a slash the same for a private thing, where it differs. Expired and revoked credentials get 401
everywhere, except where a row says that no credential is looked at.
"""

from __future__ import annotations

from typing import Any

from palomar.contract.actions import Scope
from tests.access.registry import REGISTRY
from tests.access.rows import Body, Row, nothing
from tests.access.world import Thing
from tests.api.packages import PACKAGE
from tests.unit.documents.streams import document, stream


def as_json(**fields: str) -> Body:
    """Fields that name attributes of the thing are filled in with a leading '$'."""
    return lambda thing: {
        "json": {
            key: getattr(thing, value[1:]) if isinstance(value, str) and value.startswith("$") else value
            for key, value in fields.items()
        }
    }


def upload(**fields: str) -> Body:
    data = stream([document(0)])
    return lambda thing: {
        "data": {key: getattr(thing, value[1:]) if value.startswith("$") else value for key, value in fields.items()},
        "files": {"file": ("DocumentArray", data)},
    }


def chunk(_thing: Thing) -> dict[str, Any]:
    return {"content": b"no chunk", "headers": {"Palomar-Encoding": "gzip-members"}}


def recipe(thing: Thing) -> dict[str, Any]:
    return {"json": {"parts": [{"array": thing.name, "version": 1, "start": 0, "stop": 1}]}}


def package(**fields: str) -> Body:
    return lambda thing: {
        "data": {key: getattr(thing, value[1:]) if value.startswith("$") else value for key, value in fields.items()},
        "files": {"file": ("filename", PACKAGE)},
    }


def form(**fields: str) -> Body:
    return lambda _thing: {"data": fields}


WRITE, ACCOUNT = Scope.WRITE, Scope.ACCOUNT
ARRAY = "/api/v1/arrays/{namespace}/{name}"
VERSION = ARRAY + "/versions/{number}"
EXECUTOR = "/api/v1/executors/{namespace}/{name}"
RELEASE = EXECUTOR + "/releases/{number}"
PUSH = "/api/v1/pushes/{push_id}"
NAMESPACE = "/api/v1/namespaces/{namespace}"

# Reading: a private thing is absent for everybody but its owner. Changing: whoever changes something must be known.
READ = "200 200 200 403 / 404 404 200 403"
CHANGE = "401 403 200 403 / 401 404 200 403"

HUBBLE = [
    Row("artifact.upload", "401 403 200 403", upload(name="alice/new", type="documentArray"), WRITE),
    Row("artifact.upload", CHANGE, upload(id="$id", type="documentArray"), WRITE),
    Row("artifact.getDownloadUrl", READ, as_json(name="$name")),
    Row("artifact.getDownloadUrl", READ, as_json(id="$id")),
    Row("artifact.getDetail", READ, as_json(id="$id")),
    Row("artifact.getDetail", READ, as_json(name="$name")),
    Row("artifact.update", CHANGE, as_json(id="$id", public="False"), WRITE),
    Row("artifact.delete", CHANGE, as_json(name="$name"), WRITE),
    Row("artifact.delete", CHANGE, as_json(id="$id"), WRITE),
    Row("artifact.deleteMany", CHANGE, as_json(ids="$id"), WRITE),
    Row("artifact.deleteMany", CHANGE, as_json(names="$name"), WRITE),
    # A list shows what may be seen: without the scope, nothing.
    Row("artifact.list", "401 200 200 200"),
    Row("da.pull", READ, as_json(token="$name")),
    Row("da.push", "401 400 400 400"),
    Row("dockerRegistry.listInternalRegistries", "401 200 200 200"),
    Row("user.identity.whoami", "401 200 200 200"),
    Row("user.session.dismiss", "401 200 200 200"),
    Row("user.session.getRaw", "401 200 200 200"),
    Row("user.pat.create", "401 200 200 403", as_json(name="new"), ACCOUNT),
    Row("user.pat.list", "401 200 200 403", needs=ACCOUNT),
    Row("user.pat.delete", "401 404 404 403", as_json(name="absent"), ACCOUNT),
    # The login itself has no credential yet; what an old client sends along is not looked at.
    Row("user.identity.authorize", "400 400 400 400", is_open=True),
    Row("user.identity.proxiedAuthorize", "200 200 200 200", is_open=True),
    Row("user.identity.grant.auto", "401 401 401 401", as_json(code="x", state="y"), is_open=True),
    Row("user.identity.grant.auth0Unified", "401 401 401 401", as_json(code="x", state="y"), is_open=True),
]

EXECUTORS = [
    # Whether one may push there is said before the body; what is wrong with the package, in the stream behind a 200.
    *(
        row
        for key in ("executor.push", "executor.create", "executor.createAsync")
        for row in (
            Row(key, "401 200 200 403", package(id="New"), WRITE),
            Row(key, "401 403 200 403", package(id="$name"), WRITE),
        )
    ),
    Row("executor.update", CHANGE, package(id="$name"), WRITE),
    Row("executor.update", CHANGE, package(id="$short_id"), WRITE),
    Row("executor.updateAsync", CHANGE, package(id="$name"), WRITE),
    Row("executor.getPackage", READ, as_json(id="$name")),
    Row("executor.getPackage", READ, as_json(id="$short_id")),
    Row("executor.listAsyncTasks", "401 200 200 403 / 401 404 200 403", as_json(id="$name")),
    # Only who pushed knows of a push.
    Row("executor.queryProgress", "401 404 404 404", as_json(id="f" * 32)),
    # There are no sandboxes, and the client looks at the body alone.
    Row("sandbox.get", "200 200 200 200", as_json(name="$resource")),
    Row("sandbox.create", "501 501 501 501", as_json(name="$resource")),
    Row("GET /api/v1/executors", "200 200 200 200"),
    Row(f"GET {EXECUTOR}", READ),
    Row(f"PATCH {EXECUTOR}", CHANGE, as_json(visibility="private"), WRITE),
    Row(f"DELETE {EXECUTOR}", "401 403 204 403 / 401 404 204 403", needs=WRITE),
    Row(f"POST {EXECUTOR}/undelete", "401 404 200 403 / 401 404 200 403", needs=WRITE, is_deleted=True),
    Row(f"PUT {EXECUTOR}/tags/{{tag}}", CHANGE, lambda _thing: {"json": {"release": 1}}, WRITE),
    Row(f"DELETE {EXECUTOR}/tags/{{tag}}", "401 403 204 403 / 401 404 204 403", needs=WRITE),
    Row(f"GET {EXECUTOR}/releases", READ),
    Row(f"GET {RELEASE}", READ),
    Row(f"GET {RELEASE}/package", "307 307 307 403 / 404 404 307 403"),
    Row(f"GET {RELEASE}/builds", READ),
    # The owner's is refused because this hub has no base image.
    Row(f"POST {RELEASE}/builds", "401 403 501 403 / 401 404 501 403", as_json(), WRITE),
    Row(f"GET {RELEASE}/builds/{{build_id}}", READ),
    Row(f"GET {RELEASE}/builds/{{build_id}}/log", READ, query=lambda _thing: "?follow=false"),
    Row(f"POST {RELEASE}/builds/{{build_id}}/cancel", CHANGE, needs=WRITE),
    Row(f"GET {EXECUTOR}/compare", READ, query=lambda _thing: "?old=1&new=1"),
]

NATIVE = [
    Row("GET /api/v1/openapi.json", "200 200 200 200", is_open=True),
    Row("GET /api/v1/whoami", "401 200 200 200"),
    Row("GET /api/v1/tokens", "401 200 200 403", needs=ACCOUNT),
    Row("POST /api/v1/tokens", "401 201 201 403", as_json(name="new"), ACCOUNT),
    Row("DELETE /api/v1/tokens/{token_id}", "401 404 404 403", needs=ACCOUNT),
    # Settings are private, so a stranger's namespace looks like none.
    Row(f"GET {NAMESPACE}", "401 404 200 403", needs=ACCOUNT),
    Row(f"PATCH {NAMESPACE}", "401 404 200 403", as_json(), ACCOUNT),
    Row("GET /api/v1/arrays", "200 200 200 200"),
    Row(f"GET {ARRAY}", READ),
    Row(f"PATCH {ARRAY}", CHANGE, as_json(visibility="private"), WRITE),
    Row(f"DELETE {ARRAY}", "401 403 204 403 / 401 404 204 403", needs=WRITE),
    Row(f"POST {ARRAY}/undelete", "401 404 200 403 / 401 404 200 403", needs=WRITE, is_deleted=True),
    Row(f"GET {ARRAY}/versions", READ),
    Row(f"GET {VERSION}", READ),
    Row(f"GET {VERSION}/manifest", READ),
    Row(f"GET {VERSION}/index", READ),
    Row(f"GET {VERSION}/chunks/{{digest}}", READ),
    Row(f"GET {VERSION}/documents", READ),
    Row(f"GET {VERSION}/preview", READ),
    Row(f"GET {VERSION}/download", "307 307 307 403 / 404 404 307 403"),
    Row("POST /api/v1/pushes", "401 403 201 403", as_json(name="alice/new", kind="v1"), WRITE),
    Row(f"POST {PUSH}/missing", "401 404 200 403", lambda thing: {"json": {"digests": [thing.digest]}}, WRITE),
    # What is sent is no chunk: who may not push never learns it.
    Row(f"PUT {PUSH}/chunks/{{digest}}", "401 404 422 403", chunk, WRITE),
    Row(f"PUT {PUSH}/chunks/{{digest}}/recipe", "401 404 422 403", recipe, WRITE),
    Row(f"POST {PUSH}/commit", "401 404 422 403", as_json(manifest="bm9uZQ=="), WRITE),
    Row(f"DELETE {PUSH}", "401 404 204 403", needs=WRITE),
]

OTHERS = [
    Row("GET /v2/.well-known/jwks.json", "200 200 200 200", is_open=True),
    Row("GET /download/{version_id}", "404 404 404 404", is_open=True),
    Row("GET /download/package/{release_id}", "404 404 404 404", is_open=True),
    Row("GET /healthz", "200 200 200 200", is_open=True),
    Row("GET /readyz", "200 200 200 200", is_open=True),
    Row("GET /metrics", "200 200 200 200", is_open=True),
    Row("GET /static/{version}/palomar.css", "200 200 200 200", is_open=True),
]


def page(key: str, expected: str, body: Body = nothing) -> Row:
    return Row(key, expected, body, is_open=True, is_console=True)


# The callers come with a browser's cookie here; 'wrong scope' is a command line's session in that cookie, which is
# worth nothing. An expired or revoked one is an anonymous visitor. 303 leads to the login page.
CONSOLE = [
    page("GET /", "200 200 200 200"),
    page("GET /signup", "200 200 200 200"),
    page("POST /signup", "400 400 400 400"),
    page("GET /login", "200 303 303 200"),
    page("POST /login", "401 401 401 401"),
    page("POST /logout", "303 303 303 303"),
    page("GET /login/cli", "303 404 404 303"),
    page("POST /login/cli", "303 404 404 303", form(request="x", decision="confirm")),
    page("GET /settings", "303 200 200 303"),
    page("POST /settings/tokens", "303 200 200 303", form(name="new", days="30", scopes="read")),
    page("POST /settings/tokens/delete", "303 303 303 303", form(name="absent")),
    page("POST /settings/sessions/end", "303 303 303 303", form(session="absent")),
    page("POST /settings/password", "303 401 401 303", form(current="x", new="y")),
]

TABLE = [*HUBBLE, *EXECUTORS, *NATIVE, *REGISTRY, *OTHERS, *CONSOLE]
