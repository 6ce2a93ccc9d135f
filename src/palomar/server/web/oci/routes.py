"""The paths of distribution-spec 1.1, "Endpoints".

A repository's name has slashes and may contain any of the words that follow it, so paths are matched from the right:
``{name:path}`` takes as much as it can. ``/v2/rpc/*`` and ``/v2/.well-known/*`` are the old clients', and come first.
"""

from __future__ import annotations

from collections.abc import Mapping

from starlette.routing import Route

from palomar.contract.actions import Action
from palomar.server.web import errors
from palomar.server.web.oci import blobs, discovery, manifests, token, uploads
from palomar.server.web.oci.answers import render_error
from palomar.server.web.oci.call import TOKEN_PATH, Handler, endpoint, repository_endpoint
from palomar.server.web.oci.scopes import CATALOG_SCOPE

PREFIX = "/v2/"
_READ, _PUSH, _DELETE = Action.IMAGE_READ, Action.IMAGE_PUSH, Action.IMAGE_DELETE

#: By path: what each method needs, and what does it.
_REPOSITORY: dict[str, Mapping[str, tuple[Action, Handler]]] = {
    "/v2/{name:path}/manifests/{reference}": {
        "GET": (_READ, manifests.get_manifest),  # end-3
        "PUT": (_PUSH, manifests.put_manifest),  # end-7
        "DELETE": (_DELETE, manifests.delete_manifest),  # end-9
    },
    # Without the slash at the end too: who leaves it out means the same.
    "/v2/{name:path}/blobs/uploads": {"POST": (_PUSH, uploads.start)},
    "/v2/{name:path}/blobs/uploads/": {"POST": (_PUSH, uploads.start)},  # end-4a, 4b, 11
    "/v2/{name:path}/blobs/uploads/{upload_id}": {
        "GET": (_PUSH, uploads.show),  # end-13
        "PATCH": (_PUSH, uploads.append),  # end-5
        "PUT": (_PUSH, uploads.finish),  # end-6
        "DELETE": (_PUSH, uploads.cancel),  # end-14
    },
    "/v2/{name:path}/blobs/{digest}": {
        "GET": (_READ, blobs.get_blob),  # end-2
        "DELETE": (_DELETE, blobs.delete_blob),  # end-10
    },
    "/v2/{name:path}/tags/list": {"GET": (_READ, discovery.list_tags)},  # end-8
    "/v2/{name:path}/referrers/{digest}": {"GET": (_READ, discovery.list_referrers)},  # end-12
}


def routes() -> list[Route]:
    errors.use_renderer(PREFIX, render_error)
    return [
        Route(PREFIX, endpoint(PREFIX, discovery.ping), methods=["GET"]),  # end-1
        Route(TOKEN_PATH, endpoint(TOKEN_PATH, token.give_token), methods=["GET", "POST"]),
        Route("/v2/_catalog", endpoint("/v2/_catalog", discovery.list_catalog, scope=CATALOG_SCOPE), methods=["GET"]),
        *(
            Route(path, repository_endpoint(path, handlers), methods=list(handlers))
            for path, handlers in _REPOSITORY.items()
        ),
    ]
