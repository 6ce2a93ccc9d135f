"""Where everything lies: the whole key layout of a blob store.

A key is 32 lower-case hexadecimal digits:

    0197a3c4e5f6 0b1c2d3e4f5a6b7c8d9e
    |            |
    |            80 random bits; the last three digits choose the folder
    milliseconds since 1970 (48 bits), as in a version 7 UUID

The time in front is for the database: rows of new blobs go to the right end of its index instead of all over it.
Nothing reads the time back, and collection goes by what the store says of an object's age, because clocks of replicas
differ. Folders are chosen by the random end, so that blobs of one hour do not meet in one folder, or in one partition
of an object store.

In a local store, under its root:

    objects/d/9e/0197...8d9e    one file per blob; 16 times 256 folders, so 10 million blobs are about 2,500 a folder
    tmp/<random>/<random>       what one process is writing; the folder is locked while the process lives (scratch.py)

4,096 folders and not 65,536: each costs two synchronised directory writes when it is first used.

In an object store, under the prefix of its URL:

    d/9e/0197...8d9e

Unfinished multipart uploads of an object store are not objects; the bucket needs a lifecycle rule that ends them after
a day or more, for the case that the hub dies while it uploads.
"""

from __future__ import annotations

import re
import secrets
import time
from typing import Final

OBJECTS: Final = "objects"
SCRATCH: Final = "tmp"

_KEY: Final = re.compile(r"[0-9a-f]{32}", re.ASCII)


def new_key() -> str:
    """A key that nobody has used: 80 random bits within a millisecond."""
    milliseconds = time.time_ns() // 1_000_000 & 0xFFFF_FFFF_FFFF
    return f"{milliseconds:012x}{secrets.token_hex(10)}"


def is_key(name: str) -> bool:
    return _KEY.fullmatch(name) is not None


def folder_of(key: str) -> tuple[str, str]:
    """The two folders, outer first, that hold the blob.

    Raises:
        ValueError: Not a key; so no other string ever becomes a path.
    """
    if not is_key(key):
        raise ValueError(f"{key[:80]!r} is not a blob key: 32 lower-case hexadecimal digits are")
    return key[-3], key[-2:]


def object_path(key: str) -> str:
    """The blob's name below the root of the objects, with slashes."""
    outer, inner = folder_of(key)
    return f"{outer}/{inner}/{key}"
