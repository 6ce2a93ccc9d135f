"""Pushes scikit-learn's digits as a DocumentArray: NAME [reversed]."""

import hashlib
import json
import sys

import numpy as np  # type: ignore[import-not-found,unused-ignore]
from docarray import Document, DocumentArray  # type: ignore[import-not-found]
from sklearn.datasets import load_digits  # type: ignore[import-not-found]
from sklearn.decomposition import PCA  # type: ignore[import-not-found]

name, order = sys.argv[1], slice(None, None, -1 if "reversed" in sys.argv else 1)
digits = load_digits()
embeddings = PCA(32, random_state=0).fit_transform(digits.data).astype("float32")
# Eight by eight is small even for a thumbnail.
images = np.kron(digits.images, np.ones((8, 8))).astype("uint8") * 16
documents = DocumentArray(
    [
        Document(id=f"digit-{number}", tensor=image, embedding=embedding, tags={"label": int(label)})
        for number, (image, embedding, label) in enumerate(zip(images, embeddings, digits.target, strict=True))
    ][order]
)
answer = documents.push(name)
digests = [hashlib.sha256(d.to_protobuf().SerializeToString(deterministic=True)).hexdigest() for d in documents]
print(json.dumps({"documents": len(documents), "digests": digests, "receipt": answer["receipt"]}))
