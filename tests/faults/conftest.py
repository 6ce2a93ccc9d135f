"""Callers on a hub that the tests of a module share."""

from __future__ import annotations

from uuid import uuid4

import pytest

from tests.faults.wire import Wire
from tools.live_hub import LiveHub


@pytest.fixture(scope="module")
def alice(module_hub: LiveHub) -> Wire:
    return Wire(module_hub.url, module_hub.add_user("alice"))


@pytest.fixture(scope="module")
def bob(module_hub: LiveHub) -> Wire:
    return Wire(module_hub.url, module_hub.add_user("bob"))


@pytest.fixture
def name() -> str:
    return f"alice/array-{uuid4().hex[:12]}"
