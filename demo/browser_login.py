"""``docarray.login()`` with a person at the browser, played by Chromium."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from demo.stage import PASSWORD, DemoFailed, Person

CHROMIUM = Path("/usr/bin/chromium")
_ADDRESS = re.compile(r"https?://\S+/login/cli\?request=[\w-]+")
_WAIT_S = 60


def log_in(person: Person) -> str:
    """Logs the command line in; returns the address of the page on which the person confirmed."""
    with _waiting_login(person) as process:
        address = _printed_address(process)
        _confirm(person.name, address)
        output, _ = process.communicate(timeout=_WAIT_S)
    if "Successfully logged in" not in output:
        raise DemoFailed(f"docarray.login() did not succeed: {output}")
    return address.partition("?")[0]


@contextmanager
def _waiting_login(person: Person) -> Iterator[subprocess.Popen[str]]:
    # COLUMNS: the address must not be broken over lines. BROWSER: nothing opens on the screen of whoever runs this.
    environ = {**person.client.environ(person.hub.url), "COLUMNS": "400", "BROWSER": "/bin/true"}
    process = subprocess.Popen(
        [str(person.client.python), "-u", "-c", "import docarray; docarray.login()"],
        env=environ,
        cwd=person.client.home,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def _printed_address(process: subprocess.Popen[str]) -> str:
    for line in process.stdout or ():
        if found := _ADDRESS.search(line):
            return found[0]
    raise DemoFailed("docarray.login() printed no address to open")


def _confirm(name: str, address: str) -> None:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        page = browser.new_page()
        page.goto(address)
        page.get_by_label("Name").fill(name)
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Log in").click()
        page.get_by_role("button", name="Confirm").click()
        page.get_by_text("You are logged in").wait_for()
        browser.close()
