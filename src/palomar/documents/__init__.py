"""The DocumentArray codec: framing, protobuf, chunking, summaries. Pure functions over bytes."""
