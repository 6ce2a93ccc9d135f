"""A multipart body as it arrives: small fields whole, file parts in pieces, nothing kept."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TypeAlias

from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect, Request

from palomar.contract.errors import BadRequestBody, TooLarge

_MAX_PARTS = 100


@dataclass(frozen=True, slots=True)
class FieldPart:
    name: str
    value: str


@dataclass(frozen=True, slots=True)
class FileOpened:
    name: str
    filename: str


@dataclass(frozen=True, slots=True)
class FileBytes:
    data: bytes


@dataclass(frozen=True, slots=True)
class FileClosed:
    name: str


Part: TypeAlias = FieldPart | FileOpened | FileBytes | FileClosed


async def read_multipart(request: Request, *, max_field_bytes: int) -> AsyncIterator[Part]:
    """Raises BadRequestBody for what is no multipart form or is cut off, TooLarge for a field above the limit."""
    content_type, options = parse_options_header(request.headers.get("content-type", ""))
    boundary = options.get(b"boundary")
    if content_type != b"multipart/form-data" or not boundary:
        raise BadRequestBody("it is no multipart/form-data with a boundary")
    reader = _PartReader(boundary, max_field_bytes)
    try:
        async for piece in request.stream():
            for part in reader.feed(piece):
                yield part
    except ClientDisconnect:
        raise BadRequestBody("it was cut off; send it again") from None
    if not reader.is_complete:
        raise BadRequestBody("its last boundary is missing, so it was cut off; send it again")


class _PartReader:
    def __init__(self, boundary: bytes, max_field_bytes: int) -> None:
        self._ready: list[Part] = []
        self._max_field_bytes = max_field_bytes
        self._parts = 0
        self.is_complete = False
        self._begin_part()
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin_part,
                "on_part_data": self._take_data,
                "on_part_end": self._end_part,
                "on_header_field": self._take_header_name,
                "on_header_value": self._take_header_value,
                "on_header_end": self._end_header,
                "on_headers_finished": self._end_headers,
                "on_end": self._end,
            },
        )

    def feed(self, data: bytes) -> list[Part]:
        try:
            self._parser.write(data)
        except MultipartParseError:
            raise BadRequestBody("it is no multipart form") from None
        ready, self._ready = self._ready, []
        return ready

    def _begin_part(self) -> None:
        self._parts += 1
        if self._parts > _MAX_PARTS:
            raise BadRequestBody(f"it has more than {_MAX_PARTS} parts")
        self._name = ""
        self._filename: str | None = None
        self._value = bytearray()
        self._header_name = bytearray()
        self._header_value = bytearray()

    def _take_header_name(self, data: bytes, start: int, end: int) -> None:
        self._header_name += data[start:end]

    def _take_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]

    def _end_header(self) -> None:
        if self._header_name.lower() == b"content-disposition":
            _, options = parse_options_header(bytes(self._header_value))
            self._name = options.get(b"name", b"").decode("utf-8", "replace")
            filename = options.get(b"filename")
            self._filename = None if filename is None else filename.decode("utf-8", "replace")
        self._header_name.clear()
        self._header_value.clear()

    def _end_headers(self) -> None:
        if not self._name:
            raise BadRequestBody("one of its parts has no name")
        if self._filename is not None:
            self._ready.append(FileOpened(self._name, self._filename))

    def _take_data(self, data: bytes, start: int, end: int) -> None:
        if self._filename is not None:
            self._ready.append(FileBytes(data[start:end]))
            return
        self._value += data[start:end]
        if len(self._value) > self._max_field_bytes:
            raise TooLarge(f"The field {self._name!r}", self._max_field_bytes)

    def _end_part(self) -> None:
        if self._filename is not None:
            self._ready.append(FileClosed(self._name))
            return
        try:
            self._ready.append(FieldPart(self._name, self._value.decode()))
        except UnicodeDecodeError:
            words = f"its field {self._name!r} is no UTF-8 text; if it is a file, give it a filename"
            raise BadRequestBody(words) from None

    def _end(self) -> None:
        self.is_complete = True
