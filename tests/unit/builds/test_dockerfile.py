"""Which images a Dockerfile stands on."""

from __future__ import annotations

import pytest

from palomar.server.builds.dockerfile import images_in


@pytest.mark.parametrize(
    ("text", "images"),
    [
        ("FROM python:3.11", ["python:3.11"]),
        ("from a\nFROM b as x\nFROM x\nFROM scratch", ["a", "b"]),
        (
            "ARG V=3.11\nFROM --platform=linux/amd64 python:${V}-slim AS base\nCOPY --from=base / /",
            ["python:3.11-slim"],
        ),
        ("ARG V\nFROM jinaai/jina:$JINA_VERSION", ["jinaai/jina:3.34.0"]),
        ("FROM python:${V:-3.9}", ["python:3.9"]),
        ("FROM a\nCOPY --from=busybox /bin/sh /\nCOPY --from=0 / /", ["a", "busybox"]),
        ("FROM a\nRUN --mount=type=bind,from=x true\nARG V=1\nFROM b:${V:-2}", ["a", "b:2"]),
        ("# FROM comment\nFROM \\\n  a", ["a"]),
        ("", []),
    ],
)
def test_images_are_found_where_docker_finds_them(text: str, images: list[str]) -> None:
    assert list(images_in(text, {"JINA_VERSION": "3.34.0"})) == images
