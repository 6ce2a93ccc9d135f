"""Programs of the system that are measured against or measured with: nginx and curl."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.rows import NotMeasurable
from tools.live_hub import free_port

_START_S = 10.0
_TRANSFER_S = 1800
# One process that runs as whoever measures, so that it may read their folders.
_NGINX = """
daemon off;
master_process off;
pid {state}/nginx.pid;
error_log {state}/error.log;
events {{ worker_connections 512; }}
http {{
  access_log off;
  sendfile on;
  tcp_nopush on;
  keepalive_requests 10000000;
  default_type application/octet-stream;
  client_body_temp_path {state}/body;
  proxy_temp_path {state}/proxy;
  fastcgi_temp_path {state}/fastcgi;
  uwsgi_temp_path {state}/uwsgi;
  scgi_temp_path {state}/scgi;
  server {{ listen 127.0.0.1:{port}; root {root}; {more} }}
}}
"""
_PUTS = "client_max_body_size 0; dav_methods PUT;"


@dataclass(frozen=True, slots=True)
class Transfer:
    seconds: float
    received_bytes: int

    @property
    def mib_per_s(self) -> float:
        return self.received_bytes / 1024**2 / self.seconds


def tool(name: str) -> str:
    """The path of a program. Raises NotMeasurable where it is not installed."""
    # Debian puts servers where an ordinary user's PATH does not look.
    path = shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:/usr/local/sbin:/usr/sbin")
    if path is None:
        raise NotMeasurable(f"{name} is not installed")
    return path


@contextmanager
def nginx(root: Path, state: Path, *, takes_puts: bool = False) -> Iterator[str]:
    """Serves a folder, or takes files into it too; yields the URL."""
    program, port = tool("nginx"), free_port()
    state.mkdir(parents=True, exist_ok=True)
    config = state / "nginx.conf"
    config.write_text(_NGINX.format(state=state, root=root, port=port, more=_PUTS if takes_puts else ""))
    process = subprocess.Popen([program, "-e", str(state / "error.log"), "-c", str(config)], stdin=subprocess.DEVNULL)
    try:
        _wait(process, state)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


def _wait(process: subprocess.Popen[bytes], state: Path) -> None:
    give_up_at = time.monotonic() + _START_S
    while not (state / "nginx.pid").exists():
        if process.poll() is not None or time.monotonic() > give_up_at:
            raise NotMeasurable(f"nginx does not start: {(state / 'error.log').read_text()[-500:]}")
        time.sleep(0.02)


def curl(url: str, *, target: Path | None = None, headers: Mapping[str, str] = {}) -> Transfer:
    """One download, to nowhere or to a file. Raises CalledProcessError for an error of HTTP too."""
    written = "%{time_total} %{size_download}"
    command = [tool("curl"), "--silent", "--fail", "--output", str(target or os.devnull), "--write-out", written]
    done = subprocess.run(
        [*command, *_as_options(headers), url], check=True, capture_output=True, text=True, timeout=_TRANSFER_S
    )
    seconds, size = done.stdout.split()
    return Transfer(float(seconds), int(size))


def curl_all(
    urls: Sequence[tuple[str, Path | None]], config: Path, *, parallel: int, headers: Mapping[str, str] = {}
) -> Transfer:
    """Many downloads by one curl, so many at a time, over kept connections."""
    config.write_text("".join(f'url = "{url}"\noutput = "{target or os.devnull}"\n' for url, target in urls))
    command = [
        tool("curl"),
        "--silent",
        "--fail",
        "--parallel",
        "--parallel-max",
        str(parallel),
        "--config",
        str(config),
    ]
    begin = time.perf_counter()
    done = subprocess.run(
        [*command, "--write-out", "%{size_download}\n", *_as_options(headers)],
        check=True,
        capture_output=True,
        text=True,
        timeout=_TRANSFER_S,
    )
    return Transfer(time.perf_counter() - begin, sum(map(int, done.stdout.split())))


def _as_options(headers: Mapping[str, str]) -> list[str]:
    return [part for name, value in headers.items() for part in ("--header", f"{name}: {value}")]
