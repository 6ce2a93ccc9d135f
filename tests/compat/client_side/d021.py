# What scripts for docarray 0.21 begin with.
# ruff: noqa: F401, RUF005  (the scripts use the imports)
import os
import sys

import numpy as np
import scipy.sparse
from docarray import Document, DocumentArray, dataclass
from docarray.score import NamedScore
from docarray.typing import JSON, Audio, Image, Mesh, Text

DTYPES = ["float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]
DTYPES += ["bool", "complex64", "complex128"]
RANDOM = np.random.RandomState(0)


def same(one, other):
    """Equal in every field that goes over the wire, dtypes and order included."""
    return [wire(d) for d in one] == [wire(d) for d in other]


def wire(document):
    return document.to_protobuf().SerializeToString(deterministic=True)


def texts(*values):
    return DocumentArray([Document(id=str(i), text=value) for i, value in enumerate(values)])


def settled(array):
    """As the client itself gives it back: each loading fills in parents and granularities one level deeper."""
    for _ in range(4):
        array = DocumentArray.from_bytes(array.to_bytes(protocol="protobuf"), protocol="protobuf")
    return array


def sparse(form):
    return scipy.sparse.random(20, 30, 0.1, format=form, random_state=1, dtype=np.float64)


def nested():
    def leaf(name):
        return Document(id=name, text="leaf", tags={"deep": [1, {"a": None}]}, embedding=np.ones(3, "float32"))

    def branch(name):
        return Document(id=name, uri="https://example.org/a.png", chunks=[leaf(f"{name}-leaf"), Document(blob=b"\0\1")])

    match = Document(id="m", scores={"cosine": NamedScore(value=0.5, ref_id="root"), "l2": NamedScore(value=1.5)})
    root = Document(id="root", text="root", chunks=[branch("chunk")], matches=[match, branch("match")])
    root.scores["mean"].value = 0.25
    root.scores["mean"].description = "of all"
    root.evaluations["recall"].value = 0.75
    return settled(DocumentArray([root, Document(chunks=[Document(chunks=[Document(chunks=[leaf("deep")])])])]))


@dataclass
class Page:
    title: Text
    picture: Image
    sound: Audio
    shape: Mesh
    meta: JSON


def multimodal():
    page = Page(
        title="Olá",
        picture=RANDOM.randint(0, 255, (8, 8, 3)).astype("uint8"),
        sound=RANDOM.rand(400).astype("float32"),
        shape=RANDOM.rand(4, 3).astype("float32"),
        meta={"a": [1, 2]},
    )
    return DocumentArray([Document(page), Document(page)])


SAMPLES = {
    "none": DocumentArray,
    "one": lambda: texts("alone"),
    "no-content": lambda: DocumentArray([Document(), Document()]),
    "unicode": lambda: texts("grüße", "鳩小屋", "🕊️ dove", "nul \0 inside", "\u202eright to left", "e\u0301"),
    "tags": lambda: DocumentArray([Document(tags={"n": 1, "x": None, "deep": {"l": [True, "ü", 1.5]}, "": ""})]),
    "dense": lambda: DocumentArray([Document(tensor=(RANDOM.rand(3, 4) * 100).astype(t)) for t in DTYPES]),
    "odd-shapes": lambda: DocumentArray(
        # The client itself forgets the dtype of an array without elements unless it is float64.
        [Document(tensor=np.zeros(shape)) for shape in [(1,), (0, 3), (2, 1, 1, 2)]]
        + [Document(tensor=np.asfortranarray(RANDOM.rand(4, 5))), Document(tensor=[[1, 2], [3, 4]])]
    ),
    "sparse": lambda: DocumentArray(
        [Document(tensor=sparse(f), embedding=sparse(f)) for f in ("bsr", "csc", "csr", "coo")]
    ),
    "embeddings": lambda: DocumentArray([Document(embedding=RANDOM.rand(512).astype("float32")) for _ in range(500)]),
    "blobs": lambda: DocumentArray([Document(blob=RANDOM.bytes(n), mime_type="image/png") for n in (1, 255, 70_000)]),
    "every-field": lambda: DocumentArray(
        [Document(uri="a", weight=0.5, modality="text", offset=1.5, location=[1.0, 2.0], granularity=3, adjacency=4)]
        + [Document(parent_id="p", mime_type="text/plain")]
    ),
    "nested": nested,
    "multimodal": multimodal,
    "1.5-mib-document": lambda: DocumentArray(
        [Document(text="a"), Document(blob=RANDOM.bytes(3 << 19)), Document(text="z")]
    ),
    "6-mib-document": lambda: DocumentArray(
        [Document(text="a"), Document(blob=RANDOM.bytes(6 << 20)), Document(text="z")]
    ),
    "many-chunks": lambda: DocumentArray([Document(blob=RANDOM.bytes(20_000)) for _ in range(500)]),
}
