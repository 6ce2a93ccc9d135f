"""``jina auth`` and ``docarray.login()``: the browser's pages and the command line at once."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.compat.conftest import Actor, ActorFactory, prelude
from tests.fixtures.environment import lacking
from tests.fixtures.old_clients import OldClientFactory
from tools.live_hub import LiveHub
from tools.old_clients import OldClient

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

CHROMIUM = Path("/usr/bin/chromium")
PASSWORD = "correct horse battery staple"
ADDRESS = re.compile(r"http://127\.0\.0\.1:\d+/login/cli\?request=[\w-]+")
LOGIN = {
    "docarray.login()": ("python", "-u", "-c", "import docarray; docarray.login()"),
    "jina auth login": ("jina", "auth", "login"),
    "hubble.login(force=True)": ("python", "-u", "-c", "import hubble; hubble.login(force=True, prompt='login')"),
}


@pytest.fixture
def browser() -> Iterator[Browser]:
    if not CHROMIUM.exists():
        lacking(f"there is no {CHROMIUM}")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def password_of_carol(module_hub: LiveHub) -> str:
    module_hub.add_user("carol", password=PASSWORD)
    return PASSWORD


@contextmanager
def logging_in(client: OldClient, registry: str, command: tuple[str, ...]) -> Iterator[subprocess.Popen[str]]:
    """The command line while it waits for the browser."""
    environ = {**client.environ(registry), "PYTHONUNBUFFERED": "1", "COLUMNS": "400", "BROWSER": "/bin/true"}
    program = str(client.python.parent / command[0])
    process = subprocess.Popen(
        [program, *command[1:]],
        env=environ,
        cwd=client.home,
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


def page_address(process: subprocess.Popen[str]) -> str:
    """What the command line prints for people to open; it stands there while the stream is still open."""
    seen = ""
    for line in process.stdout or ():
        seen += line
        if found := ADDRESS.search(line):
            assert process.poll() is None
            return found[0]
    raise AssertionError(f"no address was printed:\n{seen}")


def enter(page: Page, address: str) -> None:
    page.goto(address)
    page.get_by_label("Name").fill("carol")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()


def stored_token(client: OldClient) -> str | None:
    path = client.home / ".jina" / "config.json"
    return json.loads(path.read_text()).get("auth_token") if path.exists() else None


@pytest.mark.parametrize("command", LOGIN)
def test_a_person_confirms_in_the_browser(
    module_hub: LiveHub, old_client: OldClientFactory, browser: Browser, password_of_carol: str, command: str
):
    client = old_client("d021")
    with logging_in(client, module_hub.url, LOGIN[command]) as process:
        page = browser.new_page()
        enter(page, page_address(process))
        page.get_by_role("button", name="Confirm").click()
        page.get_by_text("You are logged in").wait_for()
        output, _ = process.communicate(timeout=60)
        assert process.returncode == 0, output
        assert "Successfully logged in" in output
        assert "carol" in output
    assert stored_token(client)
    carol = Actor(client, module_hub.url, None, prelude("d021"))
    carol.do("texts('a').push('carol/after-login'); assert 'carol/after-login' in DocumentArray.cloud_list()")


def test_a_person_refuses_in_the_browser(
    module_hub: LiveHub, old_client: OldClientFactory, browser: Browser, password_of_carol: str
):
    client = old_client("d021")
    with logging_in(client, module_hub.url, LOGIN["docarray.login()"]) as process:
        page = browser.new_page()
        enter(page, page_address(process))
        page.get_by_role("button", name="Refuse").click()
        output, _ = process.communicate(timeout=60)
        assert process.returncode == 0, output
        assert "Authentication failed" in output
        assert "refused" in output
    assert stored_token(client) is None


def test_login_sets_up_docker_and_logout_ends_the_session(
    module_hub: LiveHub, old_client: OldClientFactory, browser: Browser, password_of_carol: str
):
    client = old_client("d021")
    with logging_in(client, module_hub.url, LOGIN["jina auth login"]) as process:
        page = browser.new_page()
        enter(page, page_address(process))
        page.get_by_role("button", name="Confirm").click()
        output, _ = process.communicate(timeout=60)
        assert process.returncode == 0, output
    token = stored_token(client)
    assert token
    helpers = json.loads((client.home / ".docker" / "config.json").read_text())["credHelpers"]
    assert helpers == {module_hub.url.removeprefix("http://"): "jina-hubble"}

    again = client.command("jina", "auth", "login", registry=module_hub.url)
    assert "logged in" in again.stdout + again.stderr

    out = client.command("jina", "auth", "logout", registry=module_hub.url)
    assert "successfully logged out" in out.stdout, out.stdout + out.stderr
    assert stored_token(client) is None
    assert json.loads((client.home / ".docker" / "config.json").read_text()).get("credHelpers", {}) == {}
    ended = Actor(client, module_hub.url, token, prelude("d021"))
    assert "AuthenticationRequiredError" in ended.fail("DocumentArray.cloud_list()")


def test_logout_of_nobody_is_a_sentence(module_hub: LiveHub, old_client: OldClientFactory):
    done = old_client("d021").command("jina", "auth", "logout", registry=module_hub.url)
    assert done.exit_code == 0, done.stderr
    assert "You are not logged in locally" in done.stdout


def test_the_clients_own_validator_accepts_a_session(
    module_hub: LiveHub, old_client: OldClientFactory, browser: Browser, password_of_carol: str
):
    client = old_client("d021")
    with logging_in(client, module_hub.url, LOGIN["hubble.login(force=True)"]) as process:
        page = browser.new_page()
        enter(page, page_address(process))
        page.get_by_role("button", name="Confirm").click()
        process.communicate(timeout=60)
    Actor(client, module_hub.url, None, prelude("sdk")).do(
        """
        import requests
        from hubble.utils.jwt_parser import JWTValidationException, validate_jwt

        token = hubble.Client()._token
        claims = validate_jwt(token)
        assert claims["user"]["name"] == "carol" and claims["user"]["status"] == "active", claims
        asked = []
        send, requests.Session.request = requests.Session.request, lambda self, *a, **k: asked.append(k)
        assert Client(token=token).get_user_info(variant="data")["name"] == "carol"
        requests.Session.request = send
        assert not asked, "the claim 'user' saves the client a whoami"
        head, body, signature = token.split(".")
        refused(JWTValidationException, validate_jwt, f"{head}.{body}.{signature[::-1]}")
        """
    )


def test_tokens_on_the_command_line(actor: ActorFactory, name: str):
    alice = actor("alice", "d021")

    def jina(*arguments: str, token: str | None = alice.token) -> str:
        done = alice.client.command("jina", "auth", "token", *arguments, registry=alice.registry, token=token)
        assert done.exit_code == 0, done.stdout + done.stderr
        return done.stdout

    made = jina("create", name, "-e", "2", "--format", "raw").split()[-1]
    assert made.startswith("plm_")
    assert name[:10] in jina("list")
    assert name[:10] in jina("list", token=made)
    jina("delete", name)
    assert name[:10] not in jina("list")
