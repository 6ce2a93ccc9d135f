"""Which digit is it? The neighbours of its embedding decide."""

from pathlib import Path

import numpy as np  # type: ignore[import-not-found,unused-ignore]
from docarray import DocumentArray  # type: ignore[import-not-found]
from jina import Executor, requests  # type: ignore[import-not-found]
from sklearn.neighbors import KNeighborsClassifier  # type: ignore[import-not-found]


class DigitClassifier(Executor):  # type: ignore[misc,unused-ignore]
    """Writes the digit that an embedding shows to the tag ``prediction``."""

    def __init__(self, neighbours: int = 3, **kwargs: object) -> None:
        super().__init__(**kwargs)
        known = np.load(Path(__file__).parent / "known.npz")
        self.model = KNeighborsClassifier(neighbours).fit(known["embeddings"], known["labels"])

    @requests(on="/classify")  # type: ignore[untyped-decorator,unused-ignore]
    def classify(self, docs: DocumentArray, **kwargs: object) -> DocumentArray:  # noqa: ARG002  (jina passes more)
        for document, prediction in zip(docs, self.model.predict(docs.embeddings), strict=True):
            document.tags["prediction"] = int(prediction)
        return docs
