"""One call of the registry: who, which repository, and what its answer must say when it is refused."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from palomar.contract.actions import Action
from palomar.contract.errors import (
    BadRequestBody,
    CredentialInvalid,
    CredentialMissing,
    PalomarError,
    TooLarge,
    Unauthenticated,
)
from palomar.contract.images import RepositoryName
from palomar.server.access.policy import ANONYMOUS, Subject
from palomar.server.web.address import base_url
from palomar.server.web.oci.answers import refuse
from palomar.server.web.oci.callers import Caller, identify_caller
from palomar.server.web.oci.scopes import ACTIONS, PULL, PUSH, REPOSITORY, repository_scope
from palomar.server.wiring import Hub

TOKEN_PATH = "/v2/token"  # noqa: S105 - a path
_WORDS = {action: word for word, action in ACTIONS.items()}
_NOT_ASKED = Caller(ANONYMOUS, has_credential=False)
_NO_NAME = RepositoryName("")


@dataclass(slots=True)
class Call:
    hub: Hub
    request: Request
    #: What a token for this call must be fetched for.
    scope: str = ""
    caller: Caller = _NOT_ASKED
    name: RepositoryName = _NO_NAME
    #: What a refusal of this call says besides, such as how far an upload is.
    refusal_headers: dict[str, str] = field(default_factory=dict)

    @property
    def subject(self) -> Subject:
        return self.caller.subject

    def query(self, parameter: str) -> str | None:
        return self.request.query_params.get(parameter)

    async def identify(self) -> None:
        """Raises CredentialInvalid."""
        self.caller = await identify_caller(self.hub, self.request.headers.get("authorization"))

    def status_of(self, error: PalomarError) -> int | None:
        """None for the usual one."""
        grant = self.caller.grant
        is_narrow = isinstance(error, CredentialMissing) and not self.subject.is_anonymous
        return 403 if is_narrow and grant is not None and grant.wants_403 else None

    def challenge(self, error: Unauthenticated) -> str:
        """Where to fetch a token and for what (RFC 6750, section 3; the Docker registry's token specification)."""
        base = base_url(self.request, self.hub.settings)
        values = {"realm": base + TOKEN_PATH, "service": urlsplit(base).netloc}
        if self.scope:
            values["scope"] = self.scope
        if isinstance(error, CredentialInvalid):
            values["error"] = "invalid_token"
        elif self.caller.grant is not None:
            values["error"] = "insufficient_scope"
        return "Bearer " + ",".join(f'{name}="{value}"' for name, value in values.items())


Handler = Callable[[Call], Awaitable[Response]]
Endpoint = Callable[[Request], Awaitable[Response]]


def endpoint(path: str, handle: Handler, *, scope: str = "") -> Endpoint:
    """What a route runs: refusals leave it in OCI's words, and those for want of a credential with a challenge."""

    async def serve(request: Request) -> Response:
        request.scope["palomar.route"] = path
        call = Call(request.app.state.hub, request, scope)
        try:
            return await handle(call)
        except PalomarError as error:
            headers = dict(call.refusal_headers)
            if isinstance(error, Unauthenticated):
                headers["WWW-Authenticate"] = call.challenge(error)
            return refuse(error, method=request.method, headers=headers, status=call.status_of(error))

    return serve


def repository_endpoint(path: str, handlers: Mapping[str, tuple[Action, Handler]]) -> Endpoint:
    """Of a path with a repository's name: by method, the action that a token must be for, and what does it."""

    async def handle(call: Call) -> Response:
        method, text = call.request.method, call.request.path_params["name"]
        action, run = handlers["GET" if method == "HEAD" else method]
        # Before anybody is known, so that the challenge to a token that has expired says what the next one is for.
        call.scope = _scope(text, action)
        await call.identify()
        call.name = RepositoryName.parse(text)
        if not call.caller.covers(REPOSITORY, call.name, _WORDS[action]):
            raise CredentialMissing
        return await run(call)

    return endpoint(path, handle)


def _scope(name: str, action: Action) -> str:
    """A push looks what is there already, so its token is good for both. What is no name is not echoed in a header."""
    if not name.isascii() or not name.isprintable() or '"' in name or "\\" in name:
        return ""
    word = _WORDS[action]
    return repository_scope(name, *((PULL, PUSH) if word == PUSH else (word,)))


# --- bodies --------------------------------------------------------------------------------------------------------


async def body_pieces(request: Request) -> AsyncIterator[bytes]:
    """The body as it arrives. Raises BadRequestBody where the connection breaks off before its end."""
    try:
        async for piece in request.stream():
            if piece:
                yield piece
    except ClientDisconnect:
        raise BadRequestBody("it was cut off; send it again") from None


async def read_body(request: Request, *, what: str, limit: int) -> bytes:
    """A small body, whole. Raises TooLarge, before anything is read where the length is announced."""
    if (content_length(request) or 0) > limit:
        raise TooLarge(what, limit)
    pieces: list[bytes] = []
    held = 0
    async for piece in body_pieces(request):
        held += len(piece)
        if held > limit:
            raise TooLarge(what, limit)
        pieces.append(piece)
    return b"".join(pieces)


def content_length(request: Request) -> int | None:
    """What the request announces; None for a chunked body."""
    text = request.headers.get("content-length", "")
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 20 else None
