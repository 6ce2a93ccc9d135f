"""What ``palomar serve``, ``palomar worker`` and the larger commands of ``palomar admin`` do."""

from __future__ import annotations

import asyncio
import ctypes
import shlex
import signal
import socket
import sys
from collections.abc import Coroutine, Iterable, Iterator
from contextlib import suppress
from datetime import timedelta
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
from palomar.server.blobs.collection import Collector
from palomar.server.blobs.forecast import Progress
from palomar.server.builds.bases.adding import remove_base as forget_base
from palomar.server.builds.bases.adding import set_default
from palomar.server.builds.bases.administration import WantedBase, copy_base, described
from palomar.server.builds.bases.finding import list_bases as bases_in
from palomar.server.db.engine import Database
from palomar.server.executors.legacy_import import import_executors
from palomar.server.logs import configure_logs
from palomar.server.registry.writer import ImageWriter
from palomar.server.settings import Settings
from palomar.server.web.app import create_app
from palomar.server.wiring import artifact_rules, executor_pusher, open_blobs, open_hub, registry_rules

log = structlog.get_logger("palomar.serve")

# Requests under way when the hub is told to stop get this long; pushes that do not finish never happened.
_GRACEFUL_S = 10.0
_SWITCH_INTERVAL_S = 0.0005
_DEFAULT_MARK = " (the default)"
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


async def collect(database: Database, settings: Settings, *, is_dry_run: bool) -> None:
    """Tells on stdout what went, or would go; meanwhile, on stderr, how far it is."""
    # Progress is told in words; of the log there remains what went wrong.
    configure_logs(settings.model_copy(update={"log_level": "warning"}))
    blobs = open_blobs(settings)
    try:
        collector = Collector(database, blobs, grace=timedelta(seconds=settings.collect_grace_s))
        if is_dry_run:
            _print_lines([str(await collector.expect())])
        else:
            _print_lines([str(await collector.run(_show_progress))])
    finally:
        await blobs.close()


def _show_progress(progress: Progress) -> None:
    sys.stderr.write(f"{progress}\n")
    sys.stderr.flush()


async def add_base(database: Database, settings: Settings, source: str, **options: Any) -> None:
    """``options`` are those of `WantedBase`. Tells on stdout what was added. Raises BadParameter, StorageFull, Busy."""
    configure_logs(settings)
    blobs = open_blobs(settings)
    try:
        writer = ImageWriter(database, blobs, registry_rules(settings))
        added = await copy_base(writer, WantedBase(source, **options), scratch=settings.data / "builds" / "bases")
    finally:
        await blobs.close()
    _print_lines([f"{added.base.name} {added.outcome}{_DEFAULT_MARK * added.base.is_default}", *described(added.base)])


async def list_bases(database: Database) -> None:
    """One line for each on stdout."""
    async with database.read() as session:
        found = await bases_in(session)
    _print_lines(f"{base.name} {base.digest}{_DEFAULT_MARK * base.is_default}" for base in found)


async def set_default_base(database: Database, name: str) -> None:
    """Raises NotFound, BadParameter."""
    _print_lines([f"{(await set_default(database, name)).name}{_DEFAULT_MARK}"])


async def remove_base(database: Database, name: str) -> bool:
    """Whether there is no default any more. Raises NotFound, BadParameter."""
    base = await forget_base(database, name)
    _print_lines([f"{base.name} removed"])
    return base.is_default


def _print_lines(lines: Iterable[str]) -> None:
    for line in lines:
        _print(line)


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
