"""Asks an Executor of the hub for the digits that it does not know: ARRAY USES."""

import json
import sys

from docarray import DocumentArray  # type: ignore[import-not-found]
from jina import Flow  # type: ignore[import-not-found]

name, uses = sys.argv[1:]
asked = DocumentArray.pull(name)[1::2]
with Flow().add(uses=uses) as flow:
    answered = flow.post("/classify", asked)
pairs = [(int(document.tags["label"]), int(document.tags["prediction"])) for document in answered]
right = sum(label == prediction for label, prediction in pairs)
print(json.dumps({"documents": len(pairs), "right": right, "first": pairs[:10]}))
