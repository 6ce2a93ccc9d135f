"""What the old clients run, each in an environment of its own. Arguments: which field is filled, and how many."""

from __future__ import annotations

from typing import Final

_CLOCK: Final = """
import json, sys, time
import numpy as np

field, count = sys.argv[1], int(sys.argv[2])
seconds = {}

def clock(name, call):
    begin = time.perf_counter()
    result = call()
    seconds[name] = time.perf_counter() - begin
    return result
"""

#: Every pull and load must bring the documents back as they went.
DOCARRAY_021: Final = (
    _CLOCK
    + """
from docarray import Document, DocumentArray

random = np.random.default_rng(1)
if field == 'embedding':
    docs = [Document(embedding=random.random(512, dtype=np.float32)) for _ in range(count)]
else:
    docs = [Document(blob=random.bytes(100_000)) for _ in range(count)]
docs = DocumentArray(docs)

name = f'alice/{field}'
file = f'{field}.bin'
gzip = {'protocol': 'protobuf', 'compress': 'gzip'}
# What a first call imports is no part of any measurement.
docs[:2].save_binary('warm', **gzip)
DocumentArray.load_binary('warm', **gzip)
docs[:2].push('alice/warm', show_progress=False)
clock('save', lambda: docs.save_binary(file, **gzip))
clock('push', lambda: docs.push(name, show_progress=False))
loaded = clock('load', lambda: DocumentArray.load_binary(file, **gzip))
pulled = clock('pull', lambda: DocumentArray.pull(name, show_progress=False, local_cache=False))
for other in (loaded, pulled):
    assert len(other) == count and other[-1].id == docs[-1].id
    assert np.array_equal(other[-1].embedding, docs[-1].embedding) and other[-1].blob == docs[-1].blob
print(json.dumps(seconds))
"""
)

DOCARRAY_038: Final = (
    _CLOCK
    + """
import os
from docarray import BaseDoc, DocList
from docarray.typing import NdArray

class Embedded(BaseDoc):
    embedding: NdArray[512]

class Holding(BaseDoc):
    blob: bytes

random = np.random.default_rng(1)
if field == 'embedding':
    docs = DocList[Embedded](Embedded(embedding=random.random(512, dtype=np.float32)) for _ in range(count))
else:
    docs = DocList[Holding](Holding(blob=random.bytes(100_000)) for _ in range(count))

url = 'file://' + os.path.abspath(field)
docs[:2].push(url + '-warm', show_progress=False)
clock('push', lambda: docs.push(url, show_progress=False))
pulled = clock('pull', lambda: type(docs).pull(url, show_progress=False, local_cache=False))
assert len(pulled) == count and pulled[-1].id == docs[-1].id
print(json.dumps(seconds))
"""
)
