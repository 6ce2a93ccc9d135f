"""The first program in a sandbox: limits, the way to the package index, then the command.

It runs on the base image's own Python, 3.8 or newer, and may import the standard library alone. Its standard input is
a JSON object (arguments would be seen by every user of the machine): ``argv``, ``environment``, ``limits`` (name of a
RLIMIT, value), and, where there is a network, ``port`` and ``socket``.
Nothing here is a defence: what holds is the namespace around it, which has no network but this unix socket.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import resource
import signal
import socket
import sys

_BLOCK = 65536


def _start(argv: list[str], limits: dict[str, int], environment: dict[str, str]) -> int:
    child = os.fork()
    if child:
        return child
    try:
        for name, value in limits.items():
            _, hard = resource.getrlimit(getattr(resource, name))
            bound = value if hard == resource.RLIM_INFINITY else min(value, hard)
            resource.setrlimit(getattr(resource, name), (bound, bound))
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.execvpe(argv[0], argv, environment)  # noqa: S606 - no shell is wanted
    except (OSError, ValueError) as error:
        os.write(2, ("cannot start " + argv[0] + ": " + str(error) + "\n").encode())
    os._exit(127)


async def _copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while True:
            block = await source.read(_BLOCK)
            if not block:
                break
            sink.write(block)
            await sink.drain()
        sink.write_eof()


async def _relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, path: str) -> None:
    try:
        far_reader, far_writer = await asyncio.open_unix_connection(path)
    except OSError:
        writer.close()
        return
    try:
        await asyncio.gather(_copy(reader, far_writer), _copy(far_reader, writer))
    finally:
        far_writer.close()
        writer.close()


async def _serve(listener: socket.socket, path: str, child: int) -> int:
    server = await asyncio.start_server(lambda reader, writer: _relay(reader, writer, path), sock=listener)
    _, status = await asyncio.get_running_loop().run_in_executor(None, os.waitpid, child, 0)
    server.close()
    return status


def _code(status: int) -> int:
    if os.WIFSIGNALED(status):
        return 128 + os.WTERMSIG(status)
    return os.WEXITSTATUS(status)


def main() -> None:
    order = json.load(sys.stdin)
    path = order.get("socket")
    if not path:
        _, status = os.waitpid(_start(order["argv"], order["limits"], order["environment"]), 0)
        os._exit(_code(status))
    # It listens before the command starts, so that no first request is lost.
    listener = socket.socket()
    listener.bind(("127.0.0.1", order["port"]))
    listener.listen(128)
    listener.set_inheritable(False)
    child = _start(order["argv"], order["limits"], order["environment"])
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    status = asyncio.run(_serve(listener, path, child))
    # Connections may be open still: whoever opened them is gone.
    os._exit(_code(status))


if __name__ == "__main__":
    main()
