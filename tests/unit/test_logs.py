"""What is logged of an unexpected error."""

from __future__ import annotations

import pytest
import structlog

from palomar.server.logs import configure_logs
from palomar.server.settings import Settings

SECRET = "plm_a-token-that-no-log-may-show"


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
