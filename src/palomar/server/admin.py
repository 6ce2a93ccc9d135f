"""What ``palomar serve``, ``palomar worker`` and ``palomar admin import-legacy`` do."""

from __future__ import annotations

import asyncio
import ctypes
import shlex
import signal
import socket
import sys
from collections.abc import Coroutine, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import structlog
import uvloop
from granian.constants import HTTPModes, Interfaces
from granian.server.embed import Server

from palomar.contract.errors import BadParameter
from palomar.server.accounts.service import any_account
from palomar.server.artifacts.legacy_import import CATALOGUE, LegacyFolder, Outcome, import_arrays
from palomar.server.artifacts.push import Pusher
from palomar.server.db.engine import Database
from palomar.server.executors.legacy_import import import_executors
from palomar.server.logs import configure_logs
from palomar.server.settings import Settings
from palomar.server.web.app import create_app
from palomar.server.wiring import artifact_rules, executor_pusher, open_blobs, open_hub

log = structlog.get_logger("palomar.serve")

# Requests under way when the hub is told to stop get this long; pushes that do not finish never happened.
_GRACEFUL_S = 10.0
_SWITCH_INTERVAL_S = 0.0005
_M_ARENA_MAX = -8  # from glibc's malloc.h; other C libraries know no such option and refuse it


def serve(settings: Settings) -> None:
    """Runs the hub until it is told to stop (SIGINT, SIGTERM)."""
    configure_logs(settings)
    settings = settings.model_copy(update={"port": _free_port(settings.host, settings.port)})
    _run(_serve(settings))


def _run(work: Coroutine[Any, Any, None]) -> None:
    # Pushes are parsed in threads; the event loop, which everybody else waits for, gets its turn ten times sooner.
    sys.setswitchinterval(_SWITCH_INTERVAL_S)
    _keep_memory_together()
    with suppress(KeyboardInterrupt):
        uvloop.run(work)


def work(settings: Settings) -> None:
    """Runs background jobs alone, beside hubs on the same database, until it is told to stop."""
    configure_logs(settings)
    _run(_work(settings))


def _keep_memory_together() -> None:
    """Glibc gives each thread a heap of its own, and what one has freed another cannot use: two heaps are enough."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 2)


async def _work(settings: Settings) -> None:
    async with open_hub(settings, run_worker=True):
        sys.stderr.write("Palomar's worker runs the jobs of its database\n")
        await stop_signal()


async def _serve(settings: Settings) -> None:
    async with open_hub(settings, run_worker=settings.run_worker) as hub:
        # In this very process: one process to watch, to measure and, in the worst case, to kill.
        server = Server(
            create_app(settings, hub=hub),
            address=settings.host,
            port=settings.port,
            interface=Interfaces.ASGI,
            http=HTTPModes.http1,
            websockets=False,
            log_enabled=False,
        )
        stopping = stop_signal()
        serving = asyncio.create_task(server.serve())
        sys.stderr.write(_greeting(settings, is_new=not await any_account(hub.database)))
        await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
        # Command lines that wait for a login are told so instead of being cut off.
        await hub.identity.logins.close()
        await _stop(server, serving)


async def _stop(server: Server, serving: asyncio.Task[None]) -> None:
    server.stop()  # type: ignore[no-untyped-call]  # granian's is not annotated
    try:
        await asyncio.wait_for(serving, _GRACEFUL_S)
    except TimeoutError:
        log.warning("stopped with requests under way", waited_s=_GRACEFUL_S)


async def import_legacy(database: Database, settings: Settings, path: Path) -> int:
    """Tells on stdout what became of each file, on stderr what else there is; returns how many failed."""
    configure_logs(settings)
    folder = await asyncio.to_thread(LegacyFolder.read, path)
    sys.stderr.writelines(f"{note}\n" for note in _notes(folder))
    failed = 0
    blobs = open_blobs(settings)
    try:
        arrays = import_arrays(Pusher(database, blobs, artifact_rules(settings)), folder)
        executors = import_executors(executor_pusher(settings, database, blobs), folder)
        for results in (arrays, executors):
            async for result in results:
                _print(str(result))
                failed += result.outcome is Outcome.FAILED
    finally:
        await blobs.close()
    return failed


def _notes(folder: LegacyFolder) -> Iterator[str]:
    """What is not imported, and why."""
    for name in folder.absent:
        yield f"{CATALOGUE} names the array {name!a}, but there is no such file in arrays/."
    for name in folder.absent_executors:
        yield f"{CATALOGUE} names the Executor {name!a}, but there is no such file in executors/."
    for path in folder.ignored:
        yield f"{path.parent.name + '/' + path.name!a} is neither arrays/NAME.da nor executors/NAME.zip: ignored."


def _print(line: str) -> None:
    """At once, and whatever letters the terminal has."""
    encoding = sys.stdout.encoding or "utf-8"
    sys.stdout.write(line.encode(encoding, "backslashreplace").decode(encoding) + "\n")
    sys.stdout.flush()


def stop_signal() -> asyncio.Task[Any]:
    """Done when the process is told to stop."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    return asyncio.create_task(stopped.wait())


def _free_port(host: str, port: int) -> int:
    """The port itself, or for 0 one that is free; a clear refusal where somebody listens already."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            return int(probe.getsockname()[1])
    except OSError as error:
        raise BadParameter("--port", f"cannot listen on {host}:{port} ({error.strerror}); choose another") from None


def _greeting(settings: Settings, *, is_new: bool) -> str:
    """One screen: where it is, where its data is, and how to begin."""
    url = settings.public_url or f"http://{settings.host}:{settings.port}"
    lines = [f"Palomar is at {url}", f"Its data is in {settings.data.absolute()}"]
    if settings.database_url is not None:
        lines.append("Its database is the one in PALOMAR_DATABASE_URL")
    if is_new:
        lines += [
            "",
            "No account yet. Make the first one",
            f"  in a browser: {url}/signup",
            f"  or here:      {_command()} admin user-add NAME{_data_option(settings)}",
        ]
    lines += ["", "Point the clients that you have at it", f"  export JINA_HUBBLE_REGISTRY={url}", "", ""]
    return "\n".join(lines)


def _command() -> str:
    """How this program was called, so that the printed command works where it is read."""
    program = Path(sys.argv[0])
    return str(program.relative_to(Path.cwd())) if program.is_relative_to(Path.cwd()) else program.name


def _data_option(settings: Settings) -> str:
    is_default = settings.data == Settings.model_fields["data"].default
    return "" if is_default else f" --data {shlex.quote(str(settings.data))}"
