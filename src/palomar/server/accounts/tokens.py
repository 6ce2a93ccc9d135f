"""What a personal access token looks like: ``plm_``, 27 random characters, 6 characters of checksum.

27 of 62 characters are 160.7 bits. The prefix lets scanners find leaked tokens; the checksum lets the hub refuse a
mistyped or made-up one without asking the database. There is no dot in it: clients take a dotted token for a JWT.
"""

from __future__ import annotations

import hashlib
import secrets
import string
import zlib

PREFIX = "plm_"
_ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
_RANDOM_LENGTH = 27
_CHECKSUM_LENGTH = 6  # 62 ** 6 > 2 ** 32
TOKEN_LENGTH = len(PREFIX) + _RANDOM_LENGTH + _CHECKSUM_LENGTH


def new_token() -> str:
    body = PREFIX + "".join(secrets.choice(_ALPHABET) for _ in range(_RANDOM_LENGTH))
    return body + _checksum(body)


def is_well_formed(token: str) -> bool:
    """Whether the hub could have made it; says nothing about whether it did."""
    if len(token) != TOKEN_LENGTH or not token.startswith(PREFIX) or not token.isascii():
        return False
    return _checksum(token[:-_CHECKSUM_LENGTH]) == token[-_CHECKSUM_LENGTH:]


def hash_secret(secret: str) -> str:
    """What is stored of a random secret: plain SHA-256, since there is nothing to guess in 160 random bits."""
    return hashlib.sha256(secret.encode()).hexdigest()


def hint(token: str) -> str:
    """What a list shows of a token, so that its owner can tell it from another."""
    return token[-4:]


def _checksum(body: str) -> str:
    number = zlib.crc32(body.encode("ascii"))
    digits = ""
    for _ in range(_CHECKSUM_LENGTH):
        number, rest = divmod(number, len(_ALPHABET))
        digits = _ALPHABET[rest] + digits
    return digits
