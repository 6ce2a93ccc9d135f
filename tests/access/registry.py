"""The rows of the registry in the access matrix."""

from __future__ import annotations

from typing import Any

from palomar.contract.actions import Scope
from tests.access.images import new_bytes
from tests.access.rows import Row
from tests.access.world import Thing
from tests.api.oci import sha256

# Whoever may read what is public; who is not signed in is asked for credentials wherever they may not go, and a
# private repository is none for everybody else. Pushing is decided on the namespace, private or not.
READ = "200 200 200 403 / 401 404 200 403"
DELETE = "401 403 202 403 / 401 404 202 403"
REPOSITORY = "/v2/{name:path}"


def push(status: int) -> str:
    return f"401 403 {status} 403"


def manifest(thing: Thing) -> dict[str, Any]:
    return {"content": thing.image.manifest}


def blob(thing: Thing) -> dict[str, Any]:
    return {"content": new_bytes(thing.name)}


def its_digest(thing: Thing) -> str:
    return f"?digest={sha256(new_bytes(thing.name))}"


WRITE = Scope.WRITE
UPLOAD = f"{REPOSITORY}/blobs/uploads/{{upload_id}}"

REGISTRY = [
    Row("GET /v2/", "401 200 200 200"),
    # A token can be had by everybody; what is in it is the policy's matter.
    Row("GET /v2/token", "200 200 200 200"),
    Row("POST /v2/token", "400 400 400 400", is_open=True),
    # A list shows what may be seen: without the scope, nothing.
    Row("GET /v2/_catalog", "401 200 200 200"),
    Row(f"GET {REPOSITORY}/manifests/{{reference}}", READ),
    Row(f"PUT {REPOSITORY}/manifests/{{reference}}", push(201), manifest, WRITE),
    Row(f"DELETE {REPOSITORY}/manifests/{{reference}}", DELETE, needs=WRITE),
    Row(f"POST {REPOSITORY}/blobs/uploads", push(202), needs=WRITE),
    Row(f"POST {REPOSITORY}/blobs/uploads/", push(202), needs=WRITE),
    Row(f"POST {REPOSITORY}/blobs/uploads/", push(201), blob, WRITE, query=its_digest),
    Row(f"GET {UPLOAD}", push(204), needs=WRITE),
    Row(f"PATCH {UPLOAD}", push(202), blob, WRITE),
    Row(f"PUT {UPLOAD}", push(201), blob, WRITE, query=its_digest),
    Row(f"DELETE {UPLOAD}", push(204), needs=WRITE),
    Row(f"GET {REPOSITORY}/blobs/{{digest}}", READ),
    Row(f"DELETE {REPOSITORY}/blobs/{{digest}}", DELETE, needs=WRITE),
    Row(f"GET {REPOSITORY}/tags/list", READ),
    Row(f"GET {REPOSITORY}/referrers/{{digest}}", READ),
]
