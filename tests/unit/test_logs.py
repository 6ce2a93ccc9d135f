"""What is logged of an unexpected error."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
import structlog

from palomar.server.logs import configure_logs
from palomar.server.settings import Settings

SECRET = "plm_a-token-that-no-log-may-show"


@pytest.fixture
def own_logs() -> Iterator[None]:
    """Logging is put back as it was."""
    root, palomar = logging.getLogger(), logging.getLogger("palomar")
    before = root.handlers, root.level, palomar.level, structlog.get_config()
    yield
    root.handlers = before[0]
    root.setLevel(before[1])
    palomar.setLevel(before[2])
    structlog.configure(**before[3])


@pytest.mark.usefixtures("own_logs")
@pytest.mark.parametrize("log_format", ["json", "console"])
def test_a_traceback_shows_no_local_variables(settings: Settings, capsys: pytest.CaptureFixture[str], log_format: str):
    configure_logs(settings.model_copy(update={"log_format": log_format}))
    token = SECRET
    try:
        raise RuntimeError(f"{len(token)} characters are wrong")
    except RuntimeError:
        structlog.get_logger("palomar.web").exception("unexpected")
    logged = capsys.readouterr().err
    assert "characters are wrong" in logged
    assert "test_a_traceback" in logged
    assert SECRET not in logged
