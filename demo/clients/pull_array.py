"""Pulls an array, with the client's local cache, and reports the digest of every document: NAME."""

import hashlib
import json
import sys

from docarray import DocumentArray  # type: ignore[import-not-found]

documents = DocumentArray.pull(sys.argv[1])
digests = [hashlib.sha256(d.to_protobuf().SerializeToString(deterministic=True)).hexdigest() for d in documents]
print(json.dumps({"digests": digests}))
