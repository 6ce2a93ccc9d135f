"""What every test stands on. The fixtures themselves are in ``tests/fixtures``, one module per concern."""

from __future__ import annotations

import pytest
from hypothesis import settings as hypothesis_settings

pytest.register_assert_rewrite("tests.suites", "tests.factories", "tests.fixtures")

pytest_plugins = (
    "tests.fixtures.environment",
    "tests.fixtures.base_image",
    "tests.fixtures.databases",
    "tests.fixtures.blob_stores",
    "tests.fixtures.hubs",
    "tests.fixtures.live_hub",
    "tests.fixtures.old_clients",
    "tests.fixtures.podman",
)

# No test is timed: a slow machine is no failure.
hypothesis_settings.register_profile("palomar", deadline=None, print_blob=True)
hypothesis_settings.load_profile("palomar")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Nothing but this machine can be reached; read by pytest-socket, hence before it."""
    config.option.allow_hosts = config.option.allow_hosts or "127.0.0.0/8,::1,localhost"
    config.option.allow_unix_socket = True
