"""Starts bubblewrap for a hub that runs as root: as a user without rights.

A sandbox of root's would be exempt from the limit on processes, and root's files are root's inside too. The user that
it runs as cannot reach folders under the hub's data, so these are mounted for it, in a mount namespace that nobody
else sees. Run by the hub's own Python; its one argument is a JSON object: ``uid``, ``sources`` (paths to be mounted)
and ``argv``, whose items are texts or ``[number of the source, rest of the path]``.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys
from pathlib import Path

_STAGE = "/mnt"
_CLONE_NEWNS = 0x20000
_MS_BIND = 4096
_MS_REC = 16384
_MS_PRIVATE = 1 << 18

_libc = ctypes.CDLL(None, use_errno=True)


def _check(result: int, what: str) -> None:
    if result:
        code = ctypes.get_errno()
        raise OSError(code, f"{what}: {os.strerror(code)}")


def _mount(source: str, target: str, kind: str, *, flags: int = 0, data: str = "") -> None:
    _check(
        _libc.mount(source.encode(), target.encode(), kind.encode(), flags, data.encode()),
        f"mount {target}",
    )


def _stage(number: int, source: str) -> str:
    target = f"{_STAGE}/{number}"
    if Path(source).is_dir():
        Path(target).mkdir()
    else:
        Path(target).touch()
    _mount(source, target, "", flags=_MS_BIND)
    return target


def main() -> None:
    order = json.loads(sys.argv[1])
    try:
        _check(_libc.unshare(_CLONE_NEWNS), "unshare")
        _mount("none", "/", "", flags=_MS_REC | _MS_PRIVATE)
        _mount("tmpfs", _STAGE, "tmpfs", data="mode=755,size=1m")
        staged = [_stage(number, source) for number, source in enumerate(order["sources"])]
        os.chdir("/")
        os.setgroups([])
        os.setresgid(order["uid"], order["uid"], order["uid"])
        os.setresuid(order["uid"], order["uid"], order["uid"])
        argv = [item if isinstance(item, str) else staged[item[0]] + item[1] for item in order["argv"]]
        os.execv(argv[0], argv)  # noqa: S606 - no shell is wanted
    except OSError as error:
        # The same form as bubblewrap's own complaints, which are read by builds/sandbox.py.
        sys.stderr.write(f"bwrap: {error}\n")
        sys.exit(1)


if __name__ == "__main__":
    main()
