"""Pushes nested, multimodal documents: NAME public|private."""

import hashlib
import json
import sys

import numpy as np  # type: ignore[import-not-found,unused-ignore]
from docarray import Document, DocumentArray, dataclass  # type: ignore[import-not-found]
from docarray.typing import Audio, Image, Mesh, Text  # type: ignore[import-not-found]

name, is_public = sys.argv[1], sys.argv[2] == "public"
random = np.random.RandomState(7)


@dataclass
class Note:
    """What one dove looked and sounded like."""

    words: Text
    picture: Image
    call: Audio
    shape: Mesh


def note(number: int) -> Note:
    seconds = np.linspace(0, 0.25, 2000)
    return Note(  # type: ignore[call-arg]
        words=f"dove {number}: Straßentaube, pomba, 鳩",
        picture=random.randint(0, 255, (32, 32, 3)).astype("uint8"),
        call=np.sin(2 * np.pi * (300 + 20 * number) * seconds).astype("float32"),
        shape=random.rand(50, 3).astype("float32"),
    )


days = [
    Document(id=f"day-{day}", text=f"day {day}", chunks=[Document(note(3 * day + number)) for number in range(3)])
    for day in range(10)
]
documents = DocumentArray(days)
# As the client itself gives them back: each loading fills in parents and granularities one level deeper.
for _ in range(3):
    documents = DocumentArray.from_bytes(documents.to_bytes(protocol="protobuf"), protocol="protobuf")
answer = documents.push(name, public=is_public)
digests = [hashlib.sha256(d.to_protobuf().SerializeToString(deterministic=True)).hexdigest() for d in documents]
print(json.dumps({"digests": digests, "receipt": answer["receipt"], "visibility": answer["visibility"]}))
