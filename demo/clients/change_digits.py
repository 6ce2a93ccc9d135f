"""Pulls an array, paints over some neighbouring images, and pushes it again: NAME COUNT."""

import hashlib
import json
import sys

from docarray import DocumentArray  # type: ignore[import-not-found]

name, count = sys.argv[1], int(sys.argv[2])
documents = DocumentArray.pull(name)
for document in documents[1000 : 1000 + count]:
    document.tensor = 255 - document.tensor
answer = documents.push(name)
digests = [hashlib.sha256(d.to_protobuf().SerializeToString(deterministic=True)).hexdigest() for d in documents]
print(json.dumps({"digests": digests, "receipt": answer["receipt"]}))
