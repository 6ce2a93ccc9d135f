"""What one document and one stream may be at most."""

from __future__ import annotations

from dataclasses import dataclass

from palomar.contract.errors import MalformedStream, TooLarge
from palomar.documents.gzipmember import MIN_MEMBER_BYTES, max_member_bytes

#: protobuf's own limit for one message.
MAX_MESSAGE_BYTES = 2**31 - 1


@dataclass(frozen=True, slots=True)
class IngestLimits:
    """Limits on what is taken in; ``max_document_raw_bytes`` above protobuf's own limit is without effect.

    A document above ``bomb_floor_bytes`` that inflates to more than ``bomb_ratio`` times its compressed size is
    refused as a gzip bomb; so is a stream above ``bomb_stream_floor_bytes``, whose documents may each be below it.
    """

    max_document_raw_bytes: int = MAX_MESSAGE_BYTES
    max_member_bytes: int = max_member_bytes(MAX_MESSAGE_BYTES)
    max_documents: int = 10**9
    bomb_floor_bytes: int = 64 * 1024 * 1024
    bomb_ratio: int = 256
    bomb_stream_floor_bytes: int = 1024 * 1024 * 1024

    def check_member(self, member_bytes: int, document: int) -> None:
        """The length field of one document, as it stands before the member."""
        if member_bytes < MIN_MEMBER_BYTES:
            words = f"its length field says {member_bytes} bytes, and the shortest gzip member has {MIN_MEMBER_BYTES}"
            raise MalformedStream(words, document)
        if member_bytes > self.max_member_bytes:
            words = f"its length field says {member_bytes:,} bytes, and at most {self.max_member_bytes:,} are allowed"
            raise MalformedStream(words, document)

    def check_raw(self, raw_bytes: int, member_bytes: int, document: int) -> None:
        """What has been inflated so far from a member of ``member_bytes``."""
        limit = min(self.max_document_raw_bytes, MAX_MESSAGE_BYTES)
        if raw_bytes > limit:
            raise TooLarge(f"Document {document}", limit)
        if raw_bytes > self.bomb_floor_bytes and raw_bytes > self.bomb_ratio * member_bytes:
            words = (
                f"it is a gzip bomb: its {member_bytes:,} bytes inflate to more than {self.bomb_ratio} times as many"
            )
            raise MalformedStream(words, document)

    def check_stream(self, raw_bytes: int, received_bytes: int) -> None:
        """What a whole stream has inflated to so far."""
        if raw_bytes > self.bomb_stream_floor_bytes and raw_bytes > self.bomb_ratio * received_bytes:
            words = f"it is a gzip bomb: {received_bytes:,} bytes inflated to more than {self.bomb_ratio} times as many"
            raise MalformedStream(words)
