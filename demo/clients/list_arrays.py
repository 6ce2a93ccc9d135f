"""Reports what the client lists as one's own."""

import json

from docarray import DocumentArray  # type: ignore[import-not-found]

print(json.dumps({"names": DocumentArray.cloud_list()}))
