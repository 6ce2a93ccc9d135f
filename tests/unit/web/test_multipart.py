"""A multipart body that arrives in pieces of any size: whole fields, streamed files, clear refusals."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request
from starlette.types import Message

from palomar.contract.errors import BadRequestBody, TooLarge
from palomar.server.web.multipart import FieldPart, FileBytes, FileClosed, FileOpened, Part, read_multipart

BOUNDARY = "cut-here"
CONTENT_TYPE = f'multipart/form-data; boundary="{BOUNDARY}"'
MAX_FIELD_BYTES = 100


def part(head: str, body: bytes) -> bytes:
    return f"--{BOUNDARY}\r\nContent-Disposition: form-data; {head}\r\n\r\n".encode() + body + b"\r\n"


END = f"--{BOUNDARY}--\r\n".encode()
FIELD = part('name="name"', b"alice/digits")
FILE = part('name="file"; filename="DocumentArray"', b"\r\n--cut-her\0\xff" * 10)


def request_of(body: bytes, content_type: str, *, piece: int, breaks_off: bool = False) -> Request:
    pieces: list[Message] = [
        {"type": "http.request", "body": body[start : start + piece], "more_body": True}
        for start in range(0, len(body), piece)
    ]
    last: Message = {"type": "http.disconnect"} if breaks_off else {"type": "http.request", "body": b""}
    messages = iter([*pieces, last])

    async def receive() -> Message:
        return next(messages)

    scope = {"type": "http", "method": "POST", "headers": [(b"content-type", content_type.encode())]}
    return Request(scope, receive)


async def parts_of(
    body: bytes, content_type: str = CONTENT_TYPE, *, piece: int = 7, breaks_off: bool = False
) -> list[Part]:
    request = request_of(body, content_type, piece=piece, breaks_off=breaks_off)
    return [found async for found in joined(read_multipart(request, max_field_bytes=MAX_FIELD_BYTES))]


async def joined(parts: AsyncIterator[Part]) -> AsyncIterator[Part]:
    """The pieces of one file as one."""
    data = b""
    async for found in parts:
        if isinstance(found, FileBytes):
            data += found.data
            continue
        if isinstance(found, FileClosed):
            yield FileBytes(data)
            data = b""
        yield found


WHOLE = [
    FieldPart("name", "alice/digits"),
    FileOpened("file", "DocumentArray"),
    FileBytes(b"\r\n--cut-her\0\xff" * 10),
    FileClosed("file"),
]


@given(st.integers(1, 500))
async def test_the_parts_are_the_same_however_the_body_is_cut(piece: int) -> None:
    assert await parts_of(FIELD + FILE + END, piece=piece) == WHOLE


async def test_a_file_may_come_first_and_may_be_empty() -> None:
    body = part('name="file"; filename=""', b"") + FIELD + END
    assert await parts_of(body) == [FileOpened("file", ""), FileBytes(b""), FileClosed("file"), WHOLE[0]]


async def test_a_file_is_handed_on_before_it_is_whole() -> None:
    body = part('name="file"; filename="x"', b"a" * 1000) + END
    reading = read_multipart(request_of(body, CONTENT_TYPE, piece=50), max_field_bytes=MAX_FIELD_BYTES)
    sizes = [len(found.data) async for found in reading if isinstance(found, FileBytes)]
    assert sum(sizes) == 1000
    assert max(sizes) <= 50


async def test_text_is_utf_8_in_names_and_values() -> None:
    assert await parts_of(part('name="é"', "ü".encode()) + END) == [FieldPart("é", "ü")]


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (FIELD + END, "application/json"),
        (FIELD + END, "multipart/form-data"),
        (FIELD + END, "multipart/mixed; boundary=cut-here"),
        (b"", CONTENT_TYPE),
        (b"anything at all", CONTENT_TYPE),
        (FIELD, CONTENT_TYPE),
        (FIELD + FILE[:-20], CONTENT_TYPE),
        (part('filename="x"', b"no name") + END, CONTENT_TYPE),
        (part('name="x"', b"\xff\xfe") + END, CONTENT_TYPE),
        (FIELD * 101 + END, CONTENT_TYPE),
    ],
)
async def test_what_is_no_form_or_is_cut_off_is_refused(body: bytes, content_type: str) -> None:
    with pytest.raises(BadRequestBody):
        await parts_of(body, content_type)


async def test_a_client_that_goes_away_is_refused_as_cut_off() -> None:
    with pytest.raises(BadRequestBody, match="cut off"):
        await parts_of(FIELD + FILE[:30], breaks_off=True)


async def test_a_field_above_the_limit_is_refused_and_a_file_is_not() -> None:
    await parts_of(part('name="file"; filename="x"', b"a" * 10_000) + END)
    await parts_of(part('name="x"', b"a" * MAX_FIELD_BYTES) + END)
    with pytest.raises(TooLarge):
        await parts_of(part('name="x"', b"a" * (MAX_FIELD_BYTES + 1)) + END)


async def test_headers_without_end_are_refused() -> None:
    body = f"--{BOUNDARY}\r\n".encode() + b"X-Filler: " + b"a" * 100_000 + b"\r\n" * 2
    with pytest.raises(BadRequestBody):
        await parts_of(body, piece=4096)
