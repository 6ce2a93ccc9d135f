"""A container engine with Docker's API: podman, with storage and configuration of its own in a temporary folder.

Nothing of the machine's own engine is read or written. Old clients find it by ``DOCKER_HOST``, as they find a daemon.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tools.old_clients import ClientRun, OldClient

PROGRAMS = ("podman", "runc")
DRIVERS = ("overlay", "vfs")
HOSTS = Path("/etc/hosts")
# By this file jina knows that it runs in a container; containers are then asked for at the host of this name.
INSIDE_A_CONTAINER = Path("/.dockerenv")
DOCKER_HOST_NAME = "host.docker.internal"

_START_S = 30
_STOP_S = 30
_COMMAND_S = 600
# Limits: podman's own are above what a container of root may ask for on some machines. Network: jina looks for its
# containers at the bridge's gateway, although it starts them on the host's own network; here both are this machine.
_CONTAINERS_CONF = """
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
tmp_dir = "{folder}/tmp"
[network]
network_config_dir = "{folder}/networks"
default_subnet = "127.0.0.0/24"
"""
# Hubs of this machine speak plain HTTP.
_REGISTRIES_CONF = """
unqualified-search-registries = []
[[registry]]
location = "127.0.0.1"
insecure = true
"""
_STORAGE_CONF = """
[storage]
driver = "{driver}"
graphroot = "{folder}/graph"
runroot = "{folder}/run"
"""


class EngineMissing(RuntimeError):
    """This machine cannot run containers; the message says what is not there."""


@dataclass(frozen=True, slots=True)
class Engine:
    """A running podman; ``environ`` makes other programs use the same storage and settings."""

    folder: Path

    @property
    def socket(self) -> Path:
        return self.folder / "podman.sock"

    @property
    def docker_host(self) -> str:
        return f"unix://{self.socket}"

    @property
    def environ(self) -> dict[str, str]:
        return {**os.environ, **_variables(self.folder)}

    def run(self, *command: str, stdin: str = "", timeout_s: float = _COMMAND_S) -> ClientRun:
        """Runs podman, buildah or skopeo on this engine's storage; it may fail."""
        done = subprocess.run(
            command,
            env=self.environ,
            cwd=self.folder,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        return ClientRun(done.returncode, done.stdout, done.stderr)

    def containers(self) -> list[str]:
        """The names of all that are there, running or not."""
        return self.run("podman", "ps", "--all", "--format", "{{.Names}}").stdout.split()

    def images(self) -> list[str]:
        return self.run("podman", "images", "--format", "{{.Repository}}:{{.Tag}}").stdout.split()

    def clear(self) -> None:
        """Nothing runs any more, and no image is stored."""
        self.run("podman", "rm", "--all", "--force", "--time", "0")
        self.run("podman", "rmi", "--all", "--force")


@dataclass(frozen=True, slots=True)
class EngineClient(OldClient):
    """An old client on a machine with an engine; a Flow of its ends with its script, also when time is up."""

    docker_host: str

    def environ(self, registry: str, token: str | None = None) -> dict[str, str]:
        return {**OldClient.environ(self, registry, token), "DOCKER_HOST": self.docker_host}

    def _run(self, command: list[str], environ: Mapping[str, str], timeout_s: float) -> ClientRun:
        """A Flow's processes outlive a script that is killed, and hold its pipes open: so all of them are ended."""
        process = subprocess.Popen(
            command,
            env=environ,
            cwd=self.home,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        try:
            stdout, stderr = process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired as late:
            os.killpg(process.pid, signal.SIGKILL)
            stdout, stderr = process.communicate()
            raise subprocess.TimeoutExpired(late.cmd, late.timeout, stdout, stderr) from None
        return ClientRun(process.returncode, stdout, stderr)


@contextmanager
def running_engine() -> Iterator[Engine]:
    """An engine with nothing in it, gone afterwards with all its containers. Raises EngineMissing."""
    _check_machine()
    folder = Path(tempfile.mkdtemp(prefix="palomar-engine-"))
    engine = Engine(folder)
    try:
        _configure(engine)
        with _service(engine):
            yield engine
    finally:
        _remove(engine)


def _check_machine() -> None:
    absent = [name for name in PROGRAMS if shutil.which(name, path=_search_path()) is None]
    if absent:
        raise EngineMissing(f"no container can be run here: {' and '.join(absent)} not installed")
    if os.geteuid():
        raise EngineMissing("no container can be run here: podman is tried as root alone")
    if INSIDE_A_CONTAINER.exists():
        _name_this_machine()


def _search_path() -> str:
    # Debian puts runc where an ordinary PATH does not look.
    return f"{os.environ.get('PATH', os.defpath)}:/usr/local/sbin:/usr/sbin:/sbin"


def _name_this_machine() -> None:
    """Inside a container the engine's host is given this name by whoever started it; not everybody does."""
    try:
        socket.gethostbyname(DOCKER_HOST_NAME)
    except OSError:
        try:
            with HOSTS.open("a") as file:
                file.write(f"127.0.0.1 {DOCKER_HOST_NAME}\n")
        except OSError as error:
            raise EngineMissing(f"{DOCKER_HOST_NAME} has no address, and {HOSTS} cannot be written: {error}") from None


def _variables(folder: Path) -> dict[str, str]:
    names = ("containers", "registries", "storage")
    files = {name: str(folder / f"{name}.conf") for name in names}
    return {
        "PATH": _search_path(),
        "CONTAINERS_CONF": files["containers"],
        "CONTAINERS_REGISTRIES_CONF": files["registries"],
        "CONTAINERS_STORAGE_CONF": files["storage"],
        # Logins of whoever runs this are neither used nor added to.
        "REGISTRY_AUTH_FILE": str(folder / "auth.json"),
    }


def _configure(engine: Engine) -> None:
    """With the first way to store layers that this machine's kernel and file system can do."""
    folder = engine.folder
    (folder / "networks").mkdir()
    (folder / "containers.conf").write_text(_CONTAINERS_CONF.format(folder=folder))
    (folder / "registries.conf").write_text(_REGISTRIES_CONF)
    failures = []
    for driver in DRIVERS:
        (folder / "storage.conf").write_text(_STORAGE_CONF.format(folder=folder, driver=driver))
        done = engine.run("podman", "info")
        if not done.exit_code:
            return
        failures.append(done.stderr.strip())
        _unmount(folder)
        shutil.rmtree(folder / "graph", ignore_errors=True)
    raise EngineMissing(f"podman does not run here: {failures[-1][-500:]}")


@contextmanager
def _service(engine: Engine) -> Iterator[None]:
    command = ["podman", "system", "service", "--time", "0", engine.docker_host]
    with (engine.folder / "service.log").open("wb") as log:
        process = subprocess.Popen(
            command, env=engine.environ, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT
        )
    try:
        _wait_for(process, engine)
        yield
    finally:
        process.terminate()
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_for(process: subprocess.Popen[bytes], engine: Engine) -> None:
    give_up_at = time.monotonic() + _START_S
    while not engine.socket.exists():
        if process.poll() is not None or time.monotonic() > give_up_at:
            raise EngineMissing(f"podman's API does not start: {(engine.folder / 'service.log').read_text()[-500:]}")
        time.sleep(0.05)


def _remove(engine: Engine) -> None:
    if (engine.folder / "storage.conf").exists():
        engine.clear()
    _unmount(engine.folder)
    shutil.rmtree(engine.folder, ignore_errors=True)


def _unmount(folder: Path) -> None:
    """The overlay driver mounts its own folder, which could not be removed otherwise."""
    mounted = [line.split()[1] for line in Path("/proc/mounts").read_text().splitlines()]
    for path in sorted((path for path in mounted if path.startswith(f"{folder}/")), reverse=True):
        subprocess.run(["umount", path], check=False, capture_output=True)
