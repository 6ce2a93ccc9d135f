"""The real thing: ``palomar serve`` as a child process, on a port and a data folder of its own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx2

START_S = 60
STOP_S = 30
FOREIGN_PREFIXES = ("PALOMAR_", "JINA_", "AWS_")


class HubFailed(RuntimeError):
    """The hub or one of its commands did not do what it must."""


class LiveHub:
    """A hub that can be started, stopped and killed; accounts are made with the commands an operator types."""

    def __init__(self, folder: Path, **environ: str) -> None:
        self.data = folder / "data"
        self.log_path = folder / "serve.log"
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.environ = clean_environ(PALOMAR_DATA=str(self.data), **environ)
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def log(self) -> str:
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    @property
    def pid(self) -> int:
        return self._running().pid

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise HubFailed("the hub is not running")
        return self._process

    def start(self) -> None:
        """Return when the hub is ready."""
        command = [palomar(), "serve", "--port", str(self.port)]
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                command, env=self.environ, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
            )
        self._wait_until_ready()

    def _wait_until_ready(self) -> None:
        give_up_at = time.monotonic() + START_S
        while not self._is_ready():
            if self._running().poll() is not None:
                raise HubFailed(f"the hub ended at start:\n{self.log}")
            if time.monotonic() > give_up_at:
                raise HubFailed(f"the hub is not ready after {START_S} s:\n{self.log}")
            time.sleep(0.05)

    def _is_ready(self) -> bool:
        try:
            return httpx2.get(f"{self.url}/readyz", timeout=5).status_code == 200
        except httpx2.TransportError:
            return False

    def stop(self) -> int:
        """As an operator does; returns the exit code."""
        return self._end(signal.SIGTERM)

    def kill(self) -> None:
        """As a power cut does."""
        self._end(signal.SIGKILL)

    def _end(self, signal_number: signal.Signals) -> int:
        if self._process is None:
            return 0
        process, self._process = self._process, None
        process.send_signal(signal_number)
        try:
            return process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise

    def restart(self) -> None:
        self.stop()
        self.start()

    def admin(self, *arguments: str, stdin: str = "", timeout_s: float = START_S) -> str:
        """What ``palomar admin ...`` prints on stdout; it must succeed."""
        done = subprocess.run(
            [palomar(), "admin", *arguments],
            env=self.environ,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        if done.returncode:
            raise HubFailed(f"palomar admin {' '.join(arguments)}: {done.stderr}")
        return done.stdout

    def add_user(self, name: str, *, password: str | None = None) -> str:
        """A new account; its token."""
        with_password = ("--password-stdin",) if password is not None else ()
        self.admin("user-add", name, *with_password, stdin=password or "")
        return self.admin("token-create", name).strip()


def palomar() -> str:
    """The command of the environment that runs the tests."""
    return str(Path(sys.executable).parent / "palomar")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def clean_environ(**extra: str) -> dict[str, str]:
    """This process's environment without settings of Palomar or its clients, and ``extra``."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN_PREFIXES)}
    return kept | extra
