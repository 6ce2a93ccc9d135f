# What scripts for docarray 0.38 begin with.
# ruff: noqa: F401, I001, RUF012, UP045  (the scripts use the imports; the classes are written as its users write them)
import os
import sys
from typing import Any, Optional

import numpy as np
from docarray import BaseDoc, DocList
from docarray.documents import AudioDoc, ImageDoc, Mesh3D, TextDoc
from docarray.store import JACDocStore
from docarray.typing import AnyEmbedding, ID, ImageBytes, ImageUrl, NdArray

RANDOM = np.random.RandomState(0)
DTYPES = "float32 float64 int8 int16 int32 int64 uint8 uint16 uint32 uint64 bool complex64".split()


def jac(name):
    return f"jac://{name}"


def same(one, other):
    """Equal in every field that goes over the wire."""
    return [wire(d) for d in one] == [wire(d) for d in other]


def wire(document):
    return document.to_protobuf().SerializeToString(deterministic=True)


def same_after_a_trip(documents, name):
    kind = type(documents)
    documents.push(jac(name))
    assert same(kind.pull(jac(name), local_cache=False), documents), "without cache"
    assert same(kind.pull(jac(name)), documents), "filling the cache"
    assert same(kind.pull(jac(name)), documents), "from the cache"
    assert same(list(kind.pull_stream(jac(name))), documents), "as a stream"


class Word(BaseDoc):
    text: str = ""


class Plain(BaseDoc):
    text: Optional[str] = None
    number: int = 0
    real: float = 0.0
    flag: bool = False
    raw: bytes = b""
    things: list = []
    table: dict = {}
    pair: tuple = (1, 2)


class Media(BaseDoc):
    url: Optional[ImageUrl] = None
    data: Optional[ImageBytes] = None
    tensor: Optional[NdArray] = None
    embedding: Optional[AnyEmbedding] = None


class Page(BaseDoc):
    title: TextDoc
    picture: ImageDoc
    sound: AudioDoc
    shape: Mesh3D
    words: DocList[Word]


class Book(BaseDoc):
    pages: DocList[Page]
    cover: Optional[Page] = None


def words(*values):
    return DocList[Word]([Word(id=str(i), text=value) for i, value in enumerate(values)])


def page(title):
    return Page(
        title=TextDoc(text=title, embedding=RANDOM.rand(16).astype("float32")),
        picture=ImageDoc(url="https://example.org/a.png", tensor=RANDOM.randint(0, 255, (8, 8, 3)).astype("uint8")),
        sound=AudioDoc(tensor=RANDOM.rand(400).astype("float32"), frame_rate=16000),
        shape=Mesh3D(url="https://example.org/a.obj"),
        words=words("α", "β"),
    )


SAMPLES = {
    "one": lambda: words("alone"),
    "unicode": lambda: words("grüße", "鳩小屋", "🕊️ dove", "nul \0 inside", "\u202eright to left", "e\u0301"),
    "plain": lambda: DocList[Plain](
        [
            Plain(
                text="a", number=-(2**31), real=0.1, flag=True, raw=b"\0\xff", things=[1, "ü", [True]], table={"a": 1.5}
            ),
            Plain(),
        ]
    ),
    "dense": lambda: DocList[Media]([Media(tensor=(RANDOM.rand(3, 4) * 100).astype(t)) for t in DTYPES]),
    "odd-shapes": lambda: DocList[Media]([Media(tensor=np.zeros(s)) for s in [(1,), (2, 1, 1, 2), (1, 1)]]),
    "embeddings": lambda: DocList[Media]([Media(embedding=RANDOM.rand(512).astype("float32")) for _ in range(500)]),
    "blobs": lambda: DocList[Media]([Media(data=RANDOM.bytes(n)) for n in (1, 255, 70_000)]),
    "nested": lambda: DocList[Book]([Book(pages=DocList[Page]([page("a"), page("b")]), cover=page("c"))]),
    "multimodal": lambda: DocList[Page]([page("Olá"), page("鳩")]),
    "1-mib-document": lambda: DocList[Media](
        [Media(data=b"a"), *(Media(data=RANDOM.bytes((1 << 20) - 500)) for _ in range(3)), Media(data=b"z")]
    ),
    "many-chunks": lambda: DocList[Media]([Media(data=RANDOM.bytes(20_000)) for _ in range(500)]),
}
