# What scripts for docarray 0.18 begin with.
# ruff: noqa: F401  (the scripts use the imports)
import os
import sys

from docarray import Document, DocumentArray


def texts(*values):
    return DocumentArray([Document(id=str(i), text=value) for i, value in enumerate(values)])
