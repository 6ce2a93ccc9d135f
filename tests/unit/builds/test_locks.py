"""What is read out of uv's two lock forms, and which pins make the runtime."""

from __future__ import annotations

from textwrap import dedent

import pytest

from palomar.server.builds.lock import Lock, LockedFile, LockUnreadable, Pin, read_pins
from palomar.server.builds.partition import closure, roots, split

DIGEST = "a" * 64
REQUIREMENTS = dedent(f"""
    docarray==0.21.0 \\
        --hash=sha256:{DIGEST}
        # via
        #   -r requirements.txt
        #   jina
    jina==3.34.0 \\
        --hash=sha256:{DIGEST} \\
        --hash=sha256:{"b" * 64}
        # via -r requirements.txt
    numpy==1.26.4 \\
        --hash=sha256:{DIGEST}
        # via docarray
    via-lib @ https://me:${{PALOMAR_BUILD_TOKEN}}@files.example.org/via_lib-2.0-py3-none-any.whl \\
        --hash=sha256:{DIGEST}
        # via -r requirements.txt
    viable==1.0 \\
        --hash=sha256:{DIGEST}
        # via via-lib
""")
PYLOCK = dedent(f"""
    lock-version = "1.0"
    [[packages]]
    name = "docarray"
    version = "0.21.0"
    sdist = {{ url = "https://files.example.org/docarray-0.21.0.tar.gz", hashes = {{ sha256 = "{DIGEST}" }} }}
    [[packages]]
    name = "jina"
    version = "3.34.0"
    sdist = {{ url = "https://files.example.org/jina-3.34.0.tar.gz", hashes = {{ sha256 = "{"b" * 64}" }} }}
    wheels = [{{ url = "https://a.org/jina-3.34.0-py3-none-any.whl", hashes = {{ sha256 = "{DIGEST}" }} }}]
    [[packages]]
    name = "numpy"
    version = "1.26.4"
    wheels = [{{ path = "../run/palomar/packages/numpy-1.26.4-py3-none-any.whl", hashes = {{ sha256 = "{DIGEST}" }} }}]
    [[packages]]
    name = "via-lib"
    archive = {{ url = "https://me:s3cret@a.org/v.whl", hashes = {{ sha256 = "{DIGEST}" }} }}
    [[packages]]
    name = "viable"
    version = "1.0"
    wheels = [{{ url = "https://a.org/viable-1.0-py3-none-any.whl", hashes = {{ sha256 = "{DIGEST}" }} }}]
""")


@pytest.fixture
def pins() -> dict[str, Pin]:
    return {pin.name: pin for pin in read_pins(REQUIREMENTS, PYLOCK)}


def test_a_pin_has_its_hashes_its_files_and_who_asks_for_it(pins: dict[str, Pin]) -> None:
    assert pins["jina"].version == "3.34.0"
    assert pins["jina"].hashes == (f"sha256:{DIGEST}", f"sha256:{'b' * 64}")
    assert [file.name for file in pins["jina"].files] == ["jina-3.34.0-py3-none-any.whl", "jina-3.34.0.tar.gz"]
    assert pins["docarray"].via == ("jina",)
    assert pins["viable"].via == ("via-lib",)


def test_what_has_no_wheel_is_built_from_source(pins: dict[str, Pin]) -> None:
    assert [name for name, pin in pins.items() if pin.is_source] == ["docarray"]


def test_a_file_of_the_hubs_own_folder_is_known_by_its_name_alone(pins: dict[str, Pin]) -> None:
    assert pins["numpy"].files == (
        LockedFile("numpy-1.26.4-py3-none-any.whl", "numpy-1.26.4-py3-none-any.whl", DIGEST),
    )


def test_an_address_keeps_its_variable(pins: dict[str, Pin]) -> None:
    address = "https://me:${TOKEN}@files.example.org/via_lib-2.0-py3-none-any.whl"
    assert pins["via-lib"].url == address
    assert pins["via-lib"].files[0].url == address
    assert pins["via-lib"].version == "2.0"
    assert "s3cret" not in repr(pins)


def test_the_runtime_is_what_jina_and_docarray_ask_for(pins: dict[str, Pin]) -> None:
    runtime = closure(pins.values(), roots(("jina==3.34.0", "docarray==0.21.0", "setuptools<81")))
    assert runtime == {"jina", "docarray", "numpy"}
    first, second = split(Lock("", tuple(pins.values()), runtime))
    assert [pin.name for pin in first] == ["docarray", "jina", "numpy"]
    assert [pin.name for pin in second] == ["via-lib", "viable"]


def test_a_circle_of_needs_comes_to_an_end() -> None:
    pins = (Pin("a", "1", via=("b",)), Pin("b", "1", via=("a",)), Pin("c", "1"))
    assert closure(pins, ("a",)) == {"a", "b"}


def test_a_kept_lock_is_the_same_lock(pins: dict[str, Pin]) -> None:
    lock = Lock("text", tuple(pins.values()), frozenset({"jina"}), False, ("setuptools<81",), {"x": "line 1"})
    assert Lock.from_json(lock.to_json()) == lock
    assert lock.sources == ("docarray",)


@pytest.mark.parametrize(
    ("requirements", "pylock"),
    [
        (REQUIREMENTS, "not = [toml"),
        (REQUIREMENTS, "packages = 3"),
        (REQUIREMENTS, "lock-version = '1.0'\npackages = []"),
        ("-e /etc\nwhat is this\n", PYLOCK),
        (REQUIREMENTS, PYLOCK.replace(f'sha256 = "{DIGEST}"', 'sha256 = "../../x"')),
        ("a" * 9_000_000, PYLOCK),
    ],
)
def test_what_a_sandbox_left_is_not_believed(requirements: str, pylock: str) -> None:
    with pytest.raises(LockUnreadable):
        read_pins(requirements, pylock)
