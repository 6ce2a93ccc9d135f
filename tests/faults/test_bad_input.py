"""Whatever is wrong with a request is said in words, and nothing has changed: no row, no blob, no temporary file."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from tests.faults.state import State, state_of, wait_for_state
from tests.faults.wire import CONTENT_TYPE, Wire, form, open_socket, part, request_head, upload_form
from tests.unit.documents.streams import document, frame, frames, stream
from tools.live_hub import LiveHub

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

DOCUMENTS = [document(number, padding=3000) for number in range(400)]
WHOLE = stream(DOCUMENTS)
HEADER_BYTES = 9


@pytest.fixture(scope="module")
def kept(alice: Wire, bob: Wire) -> str:
    """An array that is there, and must stay as it is."""
    assert alice.push(WHOLE, "alice/kept").http == 200
    assert bob.push(WHOLE, "bob/kept").http == 200
    return "alice/kept"


@pytest.fixture
def before(module_hub: LiveHub, kept: str) -> State:
    return state_of(module_hub.data)


@dataclass(frozen=True)
class Bad:
    """A stream and what is said about it."""

    stream: bytes
    http: int
    words: str


def bomb() -> bytes:
    """A document whose blob is 512 MiB of zeros, in half a MiB."""
    packer = zlib.compressobj(9, wbits=31)
    field = b"\x12" + b"\x80\x80\x80\x80\x02"  # the tag of `blob`, and 2**29 as a varint
    zeros = bytes(1 << 20)
    member = packer.compress(field) + b"".join(packer.compress(zeros) for _ in range(512)) + packer.flush()
    return stream([], count=1) + frame(member)


STREAMS: dict[str, Callable[[], Bad]] = {
    "truncated in a document": lambda: Bad(WHOLE[:-1000], 422, "not a complete DocumentArray at document 399"),
    "truncated in a length": lambda: Bad(WHOLE[: HEADER_BYTES + 2], 422, "not a complete DocumentArray"),
    "truncated in the header": lambda: Bad(WHOLE[:5], 422, "not a complete DocumentArray"),
    "no bytes at all": lambda: Bad(b"", 422, "not a complete DocumentArray"),
    "count too high": lambda: Bad(stream(DOCUMENTS, count=401), 422, "promises 401 documents, 400 arrived"),
    "count too low": lambda: Bad(stream(DOCUMENTS, count=399), 422, "399 documents"),
    "an enormous count": lambda: Bad(stream(DOCUMENTS, count=2**64 - 1), 422, "at most 1,000,000,000"),
    "bytes behind the last document": lambda: Bad(WHOLE + b"more", 422, "400 documents"),
    "no DocumentArray": lambda: Bad(b"%PDF-1.7 and so on" * 1000, 422, "not a complete DocumentArray"),
    "an unknown version": lambda: Bad(b"\x03" + WHOLE[1:], 422, "it begins with byte 3"),
    "a pickle": lambda: Bad(b"\x80\x04\x95" + bytes(100), 422, "not a complete DocumentArray"),
    "documents without gzip": lambda: Bad(stream([], count=1) + frame(b"x" * 100), 422, "not gzip-compressed"),
    "gzip around no document": lambda: Bad(
        stream([], count=1) + frame(gzip.compress(b"\xff" * 100)), 422, "not a protobuf message"
    ),
    "a wrong checksum": lambda: Bad(
        stream([], count=1) + frame(gzip.compress(DOCUMENTS[0])[:-8] + bytes(8)), 422, "checksum"
    ),
    "a gzip bomb": lambda: Bad(bomb(), 422, "gzip bomb"),
    "a length of 4 GiB": lambda: Bad(
        stream([], count=2) + frames(DOCUMENTS[:1]) + b"\xff\xff\xff\xff" + bytes(100), 422, "length field says"
    ),
    "a length of nothing": lambda: Bad(stream([], count=1) + bytes(4), 422, "length field says 0 bytes"),
}


@pytest.mark.parametrize("what", STREAMS)
def test_a_bad_stream(module_hub: LiveHub, alice: Wire, before: State, kept: str, name: str, what: str):
    bad = STREAMS[what]()
    for target in (name, kept):
        answer = alice.push(bad.stream, target)
        assert (answer.http, bad.words in answer.message) == (bad.http, True), answer.json
        assert answer.json["readableMessage"] == answer.message
    assert wait_for_state(module_hub.data, before) == before
    assert alice.pull(kept).body == WHOLE


@pytest.mark.parametrize(
    ("pushed_name", "http", "words"),
    [
        ("digits", 400, "push to 'alice/digits'"),
        ("", 400, "name: it is missing; push to 'alice/"),
        ("bob/digits", 403, "the namespace 'bob' is not yours; yours is 'alice'"),
        ("bob/kept", 403, "the namespace 'bob' is not yours; yours is 'alice'"),
        ("nobody/digits", 403, "the namespace 'nobody' is not yours; yours is 'alice'"),
        ("admin/digits", 403, "the namespace 'admin' is not yours; yours is 'alice'"),
        ("ALICE/digits", 400, "write 'alice'"),
        ("al--ice/digits", 400, "not a valid namespace name"),
        ("a" * 40 + "/digits", 400, "not a valid namespace name"),
        ("alice/", 400, "not a valid resource name"),
        ("/digits", 400, "not a valid namespace name"),
        ("alice/a/b", 400, "not a valid resource name"),
        ("alice/../bob", 400, "not a valid resource name"),
        ("alice/a..b", 400, "'..'"),
        ("alice/a\nb", 400, "not a valid resource name"),
        ("alice/a+b", 400, "not a valid resource name"),
        ("alice/a%2fb", 400, "not a valid resource name"),
        ("alice/a#b", 400, "not a valid resource name"),
        ("alice/ü", 400, "not a valid resource name"),
        ("alice/" + "a" * 10_000, 400, "not a valid resource name"),
    ],
)
def test_a_wrong_name(
    module_hub: LiveHub, alice: Wire, before: State, kept: str, pushed_name: str, http: int, words: str
):
    answer = alice.push(stream([document(1)]), pushed_name)
    assert (answer.http, words in answer.message) == (http, True), answer.json
    assert len(answer.message) < 500
    assert state_of(module_hub.data) == before


BODIES: dict[str, tuple[bytes, int, str]] = {
    "no file part": (form(part("name", "alice/x"), part("type", "documentArray")), 400, "it has no file part"),
    "no parts": (form(), 400, "it has no file part"),
    "two file parts": (
        form(
            part("file", WHOLE, filename="DocumentArray"),
            part("file", WHOLE, filename="DocumentArray"),
            part("name", "alice/x"),
            part("type", "documentArray"),
        ),
        400,
        "it has two file parts",
    ),
    "two names": (
        form(
            part("file", WHOLE, filename="DocumentArray"),
            part("name", "alice/x"),
            part("name", "alice/y"),
            part("type", "documentArray"),
        ),
        400,
        "it was sent twice",
    ),
    "a file part without filename": (form(part("file", "text"), part("name", "alice/x")), 400, "has no filename"),
    "another file part": (form(part("data", WHOLE, filename="x"), part("name", "alice/x")), 400, "named 'file'"),
    "no last boundary": (upload_form(WHOLE, "alice/x")[:-8], 400, "cut off"),
    "cut off in the file": (upload_form(WHOLE, "alice/x")[:5000], 400, "cut off"),
    "no multipart at all": (b"{}", 400, "it is no multipart form"),
    "metaData that is no JSON": (
        form(part("file", WHOLE, filename="DocumentArray"), part("name", "alice/x"), part("metaData", "{")),
        400,
        "metaData: it is not JSON",
    ),
    "public that is neither": (
        form(part("file", WHOLE, filename="DocumentArray"), part("name", "alice/x"), part("public", "maybe")),
        400,
        "public: 'maybe' is neither True nor False",
    ),
    "a type that is none": (
        form(part("file", WHOLE, filename="DocumentArray"), part("name", "alice/x"), part("type", "../x")),
        400,
        "type: it must be",
    ),
}


@pytest.mark.parametrize("what", BODIES)
def test_a_bad_upload(module_hub: LiveHub, alice: Wire, before: State, what: str):
    body, http, words = BODIES[what]
    answer = alice.post("artifact.upload", body, CONTENT_TYPE)
    assert (answer.http, words in answer.message) == (http, True), answer.json
    assert wait_for_state(module_hub.data, before) == before


@pytest.mark.parametrize("content_type", [None, "multipart/form-data", "application/json", "text/plain; boundary=x"])
def test_an_upload_of_another_content_type(module_hub: LiveHub, alice: Wire, before: State, content_type: str | None):
    answer = alice.post("artifact.upload", upload_form(WHOLE, "alice/x"), content_type)
    assert (answer.http, "no multipart/form-data with a boundary" in answer.message) == (400, True), answer.json
    assert state_of(module_hub.data) == before


@pytest.mark.parametrize("length", [None, len(upload_form(WHOLE, "alice/x"))])
def test_a_connection_that_breaks_in_the_middle(module_hub: LiveHub, alice: Wire, before: State, length: int | None):
    """As docarray leaves it when it fails while it serialises, and as a cable does when it is pulled."""
    body = upload_form(WHOLE, "alice/x")[: len(WHOLE) // 2]
    with open_socket(module_hub.url) as sock:
        sock.sendall(request_head("/v2/rpc/artifact.upload", token=alice.token, length=length))
        sock.sendall(body if length else f"{len(body):x}\r\n".encode() + body + b"\r\n")
    assert wait_for_state(module_hub.data, before) == before
    assert alice.pull("alice/x").http == 404


@pytest.mark.parametrize("method", ["artifact.nonsense", "ARTIFACT.UPLOAD", "user.identity", "..", "__class__"])
def test_an_unknown_method(module_hub: LiveHub, alice: Wire, before: State, method: str):
    answer = alice.call(method)
    assert answer.http == 404
    assert answer.json["status"] in {40402, 40403}
    assert "There is no" in answer.message
    assert state_of(module_hub.data) == before


@pytest.mark.parametrize("method", ["artifact.list", "artifact.update", "artifact.getDetail", "user.pat.create"])
@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"{not json", "it is not JSON"),
        (b"\xff\xfe", "it is not JSON"),
        (b"[1, 2]", "it is JSON, but not an object"),
        (b'"text"', "it is JSON, but not an object"),
        (b"[" * 100_000, "it is not JSON"),
    ],
)
def test_a_body_that_is_no_json_object(
    module_hub: LiveHub, alice: Wire, before: State, method: str, body: bytes, words: str
):
    answer = alice.post(method, body)
    assert (answer.http, words in answer.message) == (400, True), answer.json
    assert state_of(module_hub.data) == before


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"pageSize": 1_000_000_000}, "pageSize: 1 to 10,000 are allowed"),
        ({"pageSize": 0}, "pageSize: 1 to 10,000 are allowed"),
        ({"pageSize": -1}, "pageSize: it must be a whole number"),
        ({"pageSize": "many"}, "pageSize: it must be a whole number"),
        ({"pageSize": 1.5}, "pageSize: it must be a whole number"),
        ({"pageIndex": 10**30}, "pageIndex: it must be"),
        ({"filter": {"colour": "red"}}, "filter.colour: unknown field"),
        ({"filter": {"metaData.a.$where": 1}}, "a path has at most"),
        ({"filter": {"type": {"$ne": 1}}}, "only equality"),
        ({"filter": "type"}, "filter: it must be an object"),
        ({"filter": {"metaData." + ".".join("a" * 9): 1}}, "a path has at most"),
        ({"sort": {"colour": 1}}, "sort.colour: unknown field"),
        ({"sort": {"name": "up"}}, "1 sorts ascending, -1 descending"),
        ({"sort": "name"}, "sort: it must be an object"),
    ],
)
def test_a_list_that_cannot_be(module_hub: LiveHub, alice: Wire, before: State, asked: dict[str, object], words: str):
    answer = alice.call("artifact.list", **asked)
    assert (answer.http, answer.json["status"], words in answer.message) == (400, 40001, True), answer.json
    assert state_of(module_hub.data) == before
