"""What a sandbox is started with, and what is said when there can be none."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from palomar.server.builds.limits import SandboxLimits, folder_usage
from palomar.server.builds.package_rules import NO_INDEX, PackageRules, address, url_address
from palomar.server.builds.sandbox import Mount, Sandbox, Task, _command, _order, find_trouble


@pytest.fixture
def rootfs(tmp_path: Path) -> Path:
    root = tmp_path / "rootfs"
    for name in ("usr", "etc", "proc", "tmp", "run", "build"):
        (root / name).mkdir(parents=True)
    (root / "bin").symlink_to("usr/bin")
    (root / "etc/hosts").touch()
    return root


def command(rootfs: Path, task: Task) -> list[str]:
    sandbox = Sandbox(Path("/usr/bin/bwrap"), rootfs, "/usr/bin/python3", SandboxLimits())
    sources, argv = _command(sandbox, task)
    return [item if isinstance(item, str) else f"{sources[item[0]]}{item[1]}" for item in argv]


def test_it_shares_no_namespace_and_keeps_no_right(rootfs: Path, tmp_path: Path) -> None:
    argv = command(rootfs, Task(("uv",), tmp_path))
    for option in ("--unshare-all", "--disable-userns", "--die-with-parent", "--new-session", "--clearenv"):
        assert option in argv
    assert "--share-net" not in argv
    assert argv[argv.index("--cap-drop") + 1] == "ALL"


def test_one_folder_alone_can_be_written_to(rootfs: Path, tmp_path: Path) -> None:
    argv = command(rootfs, Task(("uv",), tmp_path / "work", (Mount(Path("/opt/x"), "/run/palomar/x"),)))
    writable = [argv[place + 2] for place, item in enumerate(argv) if item == "--bind"]
    assert writable == ["/build"]
    assert [argv[place + 1] for place, item in enumerate(argv) if item == "--remount-ro"] == ["/dev", "/"]


def test_the_images_own_places_for_mounts_are_left_out(rootfs: Path, tmp_path: Path) -> None:
    argv = command(rootfs, Task(("uv",), tmp_path))
    targets = [argv[place + 2] for place, item in enumerate(argv) if item == "--ro-bind"]
    assert targets == ["/etc", "/usr", "/run/palomar/first.py"]
    assert argv[argv.index("--symlink") + 1 : argv.index("--symlink") + 3] == ["usr/bin", "/bin"]


def test_values_are_in_no_argument(rootfs: Path, tmp_path: Path) -> None:
    task = Task(("uv", "pip"), tmp_path, environment={"PALOMAR_BUILD_TOKEN": "s3cret"})
    sandbox = Sandbox(Path("/usr/bin/bwrap"), rootfs, "/usr/bin/python3", SandboxLimits())
    assert "s3cret" not in " ".join(command(rootfs, task))
    assert b"s3cret" in _order(sandbox, task)
    assert "s3cret" not in repr(task)


@pytest.fixture
def everybodys() -> Iterator[Path]:
    """A folder that the user without rights can enter too."""
    with TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


async def test_a_machine_that_forbids_it_is_told_in_a_sentence(everybodys: Path) -> None:
    program = everybodys / "bwrap"
    program.write_text("#!/bin/sh\necho 'bwrap: No permissions to create a new namespace' >&2\nexit 1\n")
    program.chmod(0o755)
    trouble = await find_trouble(program)
    assert trouble is not None
    assert trouble.startswith(
        "The hub cannot isolate builds on this machine: No permissions to create a new namespace."
    )
    assert "unprivileged_userns_clone" in trouble


async def test_a_machine_without_it_is_told_so() -> None:
    assert "no bubblewrap" in (await find_trouble(None) or "")


def test_usage_follows_no_link(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes(100_000))
    (tmp_path / "link").symlink_to("/usr")
    used, files = folder_usage(tmp_path)
    assert files == 2
    assert 100_000 <= used < 200_000


def test_what_may_be_reached_is_the_index_and_its_files() -> None:
    assert PackageRules(Path(), index_hosts=("files.example",)).hosts() == frozenset()
    own = PackageRules(Path(), index_url="http://me:pw@10.0.0.1:3141/simple", index_hosts=("files.example",))
    assert own.hosts() == own.near_hosts() == {("10.0.0.1", 3141), ("files.example", 443)}
    assert own.secrets() == {"INDEX_PASSWORD": "pw"}
    assert PackageRules(Path(), index_url=NO_INDEX, git_hosts=("git.example",)).hosts() == frozenset()


def test_only_what_the_operator_wrote_may_be_near() -> None:
    learned = frozenset({("index.example", 443), ("files.example", 443)})
    rules = PackageRules(Path(), "https://index.example/simple", ("more.example",), learned_hosts=learned)
    assert rules.hosts() == learned | {("more.example", 443)}
    assert rules.near_hosts() == {("more.example", 443)}


def test_hosts_are_compared_as_names_and_ports() -> None:
    assert address("Index.Example.org.") == ("index.example.org", 443)
    assert address("a.example:8080") == ("a.example", 8080)
    assert url_address("http://a.example/x") == ("a.example", 80)
