"""``executor.*`` and ``sandbox.*``: what the old clients send, and the only answers that they can read."""

from __future__ import annotations

import hashlib
import json
from typing import Any
from urllib.parse import urlsplit

import pytest
from sqlalchemy import select

from palomar.server.executors.find import hash_secret
from palomar.server.executors.models import Executor, Release, ReleaseTag
from palomar.server.logs import configure_logs
from palomar.server.namespaces.models import NamespaceRow
from palomar.server.namespaces.service import legacy_namespace
from palomar.server.settings import Settings
from palomar.server.wiring import Hub
from tests.api.hubble import RPC, OldClient, old_client
from tests.api.packages import PACKAGE, encoder, jina_push, package_of, pushed
from tests.fixtures.hubs import BASE_URL, ClientFactory

MD5 = hashlib.md5(PACKAGE, usedforsecurity=False).hexdigest()
SECRET = "s3cret-of-1999"


@pytest.fixture
async def alice(small_hub: Hub, client_factory: ClientFactory) -> OldClient:
    return await old_client(small_hub, client_factory, "alice")


@pytest.fixture
async def bob(small_hub: Hub, client_factory: ClientFactory) -> OldClient:
    return await old_client(small_hub, client_factory, "bob")


@pytest.fixture
async def nobody(small_hub: Hub, client_factory: ClientFactory) -> OldClient:
    return await old_client(small_hub, client_factory, None)


async def get_package(client: OldClient, reference: str = "alice/MyExecutor", **fields: Any) -> dict[str, Any]:
    body = {"id": reference, "include": ["code"], "rebuildImage": True, **fields}
    data: dict[str, Any] = await client.call("executor.getPackage", **body)
    return data


async def move_into_legacy(hub: Hub, *, visibility: str) -> None:
    """What an import leaves of an Executor from the time before namespaces."""
    async with hub.database.write() as session:
        namespace = await legacy_namespace(session)
        executor = (await session.scalars(select(Executor))).one()
        executor.namespace_id, executor.visibility = namespace.id, visibility
        executor.secret_hash = hash_secret(SECRET)


class TestPush:
    async def test_the_stream_is_one_event_a_line(self, alice: OldClient):
        lines = await jina_push(alice)
        assert [line["type"] for line in lines] == [
            *("init", "start", "console", "done"),
            *("start", "console", "done", "complete"),
        ]
        assert all(isinstance(line["payload"], str) for line in lines[:-1])
        assert all(line["subject"] for line in lines)

    async def test_complete_has_what_the_client_reads_and_no_secret(self, alice: OldClient):
        """With a secret it would print the old jinahub:// forms; null in owner or commit makes it fail."""
        complete = (await jina_push(alice, tags="v1,latest"))[-1]
        assert complete["message"]
        payload = complete["payload"]
        assert (payload["name"], payload["visibility"], len(payload["id"])) == ("MyExecutor", "public", 8)
        assert payload["owner"] == {"name": "alice"}
        assert payload["commit"]["tags"] == ["v1", "latest"]
        assert payload["commit"]["id"]
        assert "secret" not in payload

    async def test_a_second_push_is_a_second_release_of_the_same_executor(self, alice: OldClient):
        first, second = await pushed(alice), await pushed(alice)
        assert first["id"] == second["id"]
        assert first["commit"]["id"] != second["commit"]["id"]

    @pytest.mark.parametrize(
        ("public", "private", "visibility"),
        [("True", "False", "public"), ("False", "True", "private"), ("False", "False", "public")],
    )
    async def test_visibility_of_a_new_executor(self, alice: OldClient, public: str, private: str, visibility: str):
        assert (await pushed(alice, public=public, private=private))["visibility"] == visibility

    async def test_neither_flag_keeps_the_visibility(self, alice: OldClient):
        await pushed(alice, private="True")
        assert (await pushed(alice))["visibility"] == "private"

    async def test_two_people_have_the_same_name(self, alice: OldClient, bob: OldClient):
        assert (await pushed(alice))["id"] != (await pushed(bob, encoder()))["id"]
        assert (await get_package(alice, "bob/MyExecutor"))["package"]["md5"] != MD5
        assert (await get_package(bob))["package"]["md5"] == MD5

    async def test_nobody_must_log_in_before_the_body(self, nobody: OldClient):
        (refused,) = await jina_push(nobody, status=401)
        assert refused["status"] == 40103

    async def test_a_strangers_namespace_is_refused_before_the_body(self, alice: OldClient, bob: OldClient):
        (refused,) = await jina_push(bob, id="alice/MyExecutor", status=403)
        assert "alice" in refused["readableMessage"]

    @pytest.mark.parametrize(
        "fields",
        [
            {"tags": "a b"},
            {"immutableTags": "x" * 200},
            {"tags": ",".join(f"t{n}" for n in range(51))},
            {"md5sum": "no hex"},
            {"public": "True", "private": "True"},
            {"public": "maybe"},
            {"buildEnv": "{"},
            {"buildEnv": '["A"]'},
            {"buildEnv": '{"lower": "x"}'},
            {"buildEnv": '{"A": 1}'},
            {"platform": "linux"},
            {"id": "a b"},
        ],
        ids=str,
    )
    async def test_a_bad_field_is_refused_before_the_stream(self, alice: OldClient, fields: dict[str, str]):
        (refused,) = await jina_push(alice, status=400, **fields)
        assert refused["readableMessage"] == refused["message"] != ""

    async def test_a_body_without_a_file(self, alice: OldClient):
        refused = await alice.post("executor.push", status=400, files={"public": (None, "True")})
        assert "file" in refused["readableMessage"]

    async def test_no_executor_begins_with_the_clients_own_words(self, alice: OldClient):
        """And then names what was looked for, which the client's own text for the code 4000 does not."""
        error = (await jina_push(alice, package_of(executor_py=b"x = 1\n")))[-1]
        assert error["type"] == "error"
        text = error["payload"]["readableMessage"]
        assert text.startswith("We can not discover any Executor in your uploaded bundle.")
        assert "MyExecutor" in text
        assert "executor.py" in text
        assert (error["payload"]["status"], error["payload"]["service"]) == (42205, "normalizer")
        assert error["message"] == text

    async def test_another_md5_is_refused(self, alice: OldClient):
        error = (await jina_push(alice, md5sum="0" * 32))[-1]
        assert (error["type"], error["payload"]["status"]) == ("error", 42203)
        assert MD5 in error["payload"]["readableMessage"]

    async def test_a_dockerfile_by_name(self, alice: OldClient):
        data = package_of({"docker/gpu.Dockerfile": b"FROM scratch\n"})
        await pushed(alice, data, dockerfile="docker/gpu.Dockerfile")
        error = (await jina_push(alice, data, dockerfile="other.Dockerfile"))[-1]
        assert "other.Dockerfile" in error["payload"]["readableMessage"]

    async def test_a_protected_tag_never_moves(self, alice: OldClient):
        first = await pushed(alice, immutableTags="v1")
        for fields in ({"tags": "v1"}, {"immutableTags": "v1"}):
            error = (await jina_push(alice, **fields))[-1]
            assert error["type"] == "error"
            assert "'v1'" in error["payload"]["readableMessage"]
        assert (await get_package(alice, tag="v1"))["commit"]["id"] == first["commit"]["id"]

    async def test_every_option_at_once(self, alice: OldClient):
        payload = await pushed(
            alice,
            public="True",
            verbose="True",
            buildWithNoCache="True",
            tags="v1",
            immutableTags="v1.0",
            buildEnv='{"MY_KEY": "x"}',
            platform="linux/amd64,linux/arm64",
        )
        assert payload["commit"]["tags"] == ["v1", "v1.0"]

    async def test_a_warning_has_the_message_that_the_client_shows_at_the_end(self, alice: OldClient):
        await pushed(alice, encoder("size: int = 1"), tags="v1")
        lines = await jina_push(alice, encoder("size: int"), tags="v1")
        (warning,) = [line for line in lines if line["type"] == "warning"]
        assert warning["message"] == "Breaking change: the argument 'size' must now be given"
        assert lines[-1]["type"] == "complete"

    async def test_a_namespace_may_refuse_what_breaks_its_users(self, alice: OldClient, small_hub: Hub):
        await pushed(alice, encoder("size: int = 1"), tags="v1")
        async with small_hub.database.write() as session:
            (
                await session.scalars(select(NamespaceRow).where(NamespaceRow.name == "alice"))
            ).one().refuse_breaking = True
        error = (await jina_push(alice, encoder("size: int"), tags="v1"))[-1]
        assert "the argument 'size' must now be given" in error["payload"]["readableMessage"]
        assert (await jina_push(alice, encoder("size: int"), tags="dev"))[-1]["type"] == "complete"


async def test_values_of_build_variables_are_kept_nowhere(
    alice: OldClient, settings: Settings, capsys: pytest.CaptureFixture[str]
):
    # To this test's own stream, whatever ran in this process before.
    configure_logs(settings)
    value = "a-value-that-is-nobody-elses"
    lines = await jina_push(alice, buildEnv=json.dumps({"MY_KEY": value}), verbose="True")
    # One that fails, too: its error is kept for `jina hub status`.
    lines += await jina_push(alice, package_of(executor_py=b""), buildEnv=json.dumps({"MY_KEY": value}))
    package = await get_package(alice)
    assert package["commit"]["commitParams"] == {"buildEnv": {"MY_KEY": ""}}
    assert value not in json.dumps([lines, package])
    files = {path: path.read_bytes() for path in settings.data.rglob("*") if path.is_file()}
    assert any(b"MY_KEY" in data for data in files.values())
    assert [path for path, data in files.items() if value.encode() in data] == []
    logged = "".join(capsys.readouterr())
    assert "executor.push" in logged
    assert value not in logged


class TestUpdate:
    async def test_by_name_and_by_short_id(self, alice: OldClient):
        first = await pushed(alice)
        for reference in ("MyExecutor", "alice/MyExecutor", first["id"]):
            fields = {"id": reference, "secret": "whatever"}
            second = await pushed(alice, method="executor.update", **fields)
            assert (second["id"], second["name"]) == (first["id"], "MyExecutor")

    @pytest.mark.parametrize("method", ["executor.update", "executor.updateAsync"])
    async def test_what_is_not_there(self, alice: OldClient, method: str):
        (refused,) = await jina_push(alice, method=method, status=404)
        assert refused["status"] == 40403
        (refused,) = await jina_push(alice, method=method, id="", status=400)
        assert refused["readableMessage"].startswith("id: it is missing")

    async def test_a_strangers_private_executor_looks_absent(self, alice: OldClient, bob: OldClient):
        short_id = (await pushed(alice, private="True"))["id"]
        (hidden,) = await jina_push(bob, method="executor.update", id=short_id, status=404)
        (absent,) = await jina_push(bob, method="executor.update", id="zzzzzzzz", status=404)
        assert hidden["message"].replace(short_id, "zzzzzzzz") == absent["message"]

    @pytest.mark.parametrize("secret", [SECRET, "wrong", ""])
    async def test_an_old_executor_is_never_changed(self, alice: OldClient, small_hub: Hub, secret: str):
        await pushed(alice)
        await move_into_legacy(small_hub, visibility="public")
        (refused,) = await jina_push(alice, method="executor.update", secret=secret, status=403)
        assert "old un-namespaced Executors can be pulled and never changed" in refused["readableMessage"]


class TestAsynchronousPush:
    async def test_create_and_update_are_one_line_with_a_task(self, alice: OldClient):
        """They send no name: it is in the package."""
        (created,) = await jina_push(alice, method="executor.createAsync", id="")
        assert created["code"] == 202
        done = await progress(alice, created["data"]["_id"])
        assert (done[-1]["status"], done[-1]["result"]["name"]) == ("succeeded", "MyExecutor")
        (updated,) = await jina_push(alice, method="executor.updateAsync", id=done[-1]["result"]["id"])
        assert (await progress(alice, updated["data"]["_id"]))[-1]["result"]["id"] == done[-1]["result"]["id"]

    async def test_a_bad_package_has_another_code_and_a_message(self, alice: OldClient):
        (refused,) = await jina_push(alice, b"no zip", method="executor.createAsync", status=400)
        assert refused["code"] == 400
        assert refused["message"]


async def progress(client: OldClient, task_id: str, *, replay: bool = False) -> list[dict[str, Any]]:
    parts = {"replay": (None, str(replay)), "verbose": (None, "False"), "id": (None, task_id)}
    answer = await client.client.post(RPC + "executor.queryProgress", files=parts)
    assert answer.status_code == 200, answer.text
    assert not answer.text.startswith("\n")
    assert "\n\n" not in answer.text
    return [json.loads(line) for line in answer.text.splitlines()]


async def tasks_of(client: OldClient, reference: str = "MyExecutor", **fields: str) -> list[dict[str, Any]]:
    form = {"id": reference, "sort": "-createdAt", "pageSize": "1", **fields}
    rows: list[dict[str, Any]] = (await client.post("executor.listAsyncTasks", data=form))["data"]
    return rows


class TestStatus:
    async def test_tasks_of_plain_pushes_newest_first(self, alice: OldClient):
        await pushed(alice)
        await pushed(alice, encoder())
        (newest,) = await tasks_of(alice)
        listed = await tasks_of(alice, pageSize="")
        assert listed[0]["_id"] == newest["_id"]
        assert len(listed) == 2

    async def test_tasks_are_their_pushers_alone(self, alice: OldClient, bob: OldClient):
        await pushed(alice)
        (task,) = await tasks_of(alice)
        assert await tasks_of(bob, "alice/MyExecutor") == []
        parts = {"id": (None, task["_id"])}
        refused = await bob.post("executor.queryProgress", status=404, files=parts)
        absent = await bob.post("executor.queryProgress", status=404, files={"id": (None, "f" * 32)})
        assert refused["message"].replace(task["_id"], "f" * 32) == absent["message"]

    async def test_nothing_was_pushed(self, alice: OldClient):
        await alice.post("executor.listAsyncTasks", status=404, data={"id": "MyExecutor"})
        await alice.post("executor.listAsyncTasks", status=400, data={"id": "MyExecutor", "pageSize": "-1"})
        await alice.post("executor.listAsyncTasks", status=400, data={})

    async def test_without_replay_the_end_alone(self, alice: OldClient):
        payload = await pushed(alice, tags="v1")
        (task,) = await tasks_of(alice)
        (report,) = await progress(alice, task["_id"])
        assert (report["type"], report["status"], report["task"]) == ("report", "succeeded", {"_id": task["_id"]})
        assert report["result"] == payload

    async def test_replay_shows_every_line_again(self, alice: OldClient):
        shown = await jina_push(alice)
        (task,) = await tasks_of(alice)
        *lines, report = await progress(alice, task["_id"], replay=True)
        inner = [line["data"]["data"] for line in lines]
        assert inner == shown[:-1]
        assert [line["data"]["sn"] for line in lines] == list(range(len(lines)))
        assert {line["type"] for line in lines} == {"progress"}
        assert report["status"] == "succeeded"

    async def test_a_failed_push_says_why(self, alice: OldClient):
        """`error` must not be null where the task failed."""
        await pushed(alice)
        error = (await jina_push(alice, package_of(executor_py=b"x = 1\n")))[-1]
        (task,) = await tasks_of(alice)
        (report,) = await progress(alice, task["_id"])
        assert (report["type"], report["status"]) == ("report", "failed")
        assert report["error"]["message"] == report["message"]
        assert report["message"] in error["message"]


class TestGetPackage:
    async def test_by_full_name_bare_name_and_short_id(self, alice: OldClient):
        payload = await pushed(alice)
        for reference in ("alice/MyExecutor", "MyExecutor", payload["id"]):
            data = await get_package(alice, reference)
            assert (data["id"], data["name"], data["visibility"]) == (payload["id"], "MyExecutor", "public")
            assert data["commit"] == {"id": payload["commit"]["id"], "tags": ["latest"]}
            assert (data["package"]["md5"], data["package"]["containers"]) == (MD5, [])
            assert data["package"]["download"].startswith(BASE_URL)

    async def test_the_oldest_clients_ask_in_the_query(self, alice: OldClient, nobody: OldClient):
        await pushed(alice, tags="v1")
        answer = await nobody.client.get(RPC + "executor.getPackage", params={"id": "alice/MyExecutor", "tag": "v1"})
        assert (answer.status_code, answer.json()["code"]) == (200, 200)
        assert answer.json()["data"]["package"]["md5"] == MD5

    async def test_without_a_tag_it_is_latest(self, alice: OldClient):
        first = await pushed(alice)
        second = await pushed(alice, tags="v2")
        assert (await get_package(alice))["commit"]["id"] == first["commit"]["id"]
        assert (await get_package(alice, tag="v2"))["commit"]["id"] == second["commit"]["id"]
        refused = await alice.post(
            "executor.getPackage", status=404, json={"id": "alice/MyExecutor", "tag": "v3", "include": ["code"]}
        )
        assert refused["readableMessage"]

    async def test_latest_comes_first(self, alice: OldClient):
        """The first one names the client's folder."""
        await pushed(alice, tags="a,latest,v1")
        assert (await get_package(alice))["commit"]["tags"] == ["latest", "a", "v1"]

    async def test_tags_are_absent_rather_than_empty(self, alice: OldClient, small_hub: Hub):
        await pushed(alice)
        async with small_hub.database.write() as session:
            await session.delete((await session.scalars(select(ReleaseTag))).one())
        commit = (await get_package(alice))["commit"]
        assert "tags" not in commit
        assert "commitParams" not in commit

    async def test_private_is_for_its_owner_without_any_secret(
        self, alice: OldClient, bob: OldClient, nobody: OldClient
    ):
        await pushed(alice, private="True")
        assert (await get_package(alice))["visibility"] == "private"
        for client in (bob, nobody):
            for secret in ({}, {"secret": "x"}):
                hidden = await client.post("executor.getPackage", status=404, json={"id": "alice/MyExecutor", **secret})
                absent = await client.post("executor.getPackage", status=404, json={"id": "alice/NoExecutor", **secret})
                assert hidden["message"].replace("MyExecutor", "NoExecutor") == absent["message"]
                assert hidden["status"] == 40403

    async def test_an_old_private_executor_opens_with_its_secret(
        self, alice: OldClient, nobody: OldClient, small_hub: Hub
    ):
        await pushed(alice)
        await move_into_legacy(small_hub, visibility="private")
        assert (await get_package(nobody, "MyExecutor", secret=SECRET))["package"]["md5"] == MD5
        wrong = await nobody.post("executor.getPackage", status=404, json={"id": "MyExecutor", "secret": "wrong"})
        absent = await nobody.post("executor.getPackage", status=404, json={"id": "NoExecutor", "secret": "wrong"})
        assert wrong["message"].replace("MyExecutor", "NoExecutor") == absent["message"]

    @pytest.mark.parametrize("body", [{}, {"id": ""}, {"id": "alice/MyExecutor", "tag": "a b"}], ids=str)
    async def test_bad_questions_get_json(self, alice: OldClient, body: dict[str, str]):
        await pushed(alice)
        refused = await alice.post("executor.getPackage", status=400, json=body)
        assert refused["readableMessage"]


class TestDownload:
    @pytest.fixture
    async def url(self, alice: OldClient) -> str:
        await pushed(alice)
        return str((await get_package(alice))["package"]["download"])

    async def test_head_says_the_length(self, nobody: OldClient, url: str):
        answer = await nobody.client.head(url)
        assert (answer.status_code, answer.headers["content-length"]) == (200, str(len(PACKAGE)))
        assert answer.content == b""

    async def test_byte_for_byte_and_without_an_encoding(self, nobody: OldClient, url: str):
        answer = await nobody.client.get(url, headers={"Accept-Encoding": "gzip, deflate"})
        assert answer.content == PACKAGE
        assert "content-encoding" not in answer.headers

    async def test_an_interrupted_pull_resumes(self, nobody: OldClient, url: str):
        answer = await nobody.client.get(url, headers={"Range": "bytes=10-"})
        assert (answer.status_code, answer.content) == (206, PACKAGE[10:])
        assert answer.headers["content-range"] == f"bytes 10-{len(PACKAGE) - 1}/{len(PACKAGE)}"

    async def test_errors_have_no_body(self, nobody: OldClient, url: str, small_hub: Hub):
        """The client does not look at the status: it would save the body as the zip and resume onto it."""
        unsigned = urlsplit(url)._replace(query="").geturl()
        assert ((await nobody.client.get(unsigned)).status_code, (await nobody.client.get(unsigned)).content) == (
            404,
            b"",
        )
        beyond = await nobody.client.get(url, headers={"Range": f"bytes={len(PACKAGE)}-"})
        assert (beyond.status_code, beyond.content) == (416, b"")
        async with small_hub.database.write() as session:
            release = (await session.scalars(select(Release))).one()
            release.purged_at = release.created_at
        gone = await nobody.client.get(url)
        assert (gone.status_code, gone.content) == (404, b"")

    async def test_damaged_bytes_never_come_with_a_body_of_words(self, nobody: OldClient, url: str, small_hub: Hub):
        async with small_hub.database.write() as session:
            (await session.scalars(select(Release))).one().package_id = None
        answer = await nobody.client.get(url)
        assert answer.status_code >= 400
        assert answer.content == b""


class TestSandbox:
    async def test_there_is_none(self, alice: OldClient):
        answer = await alice.client.post(RPC + "sandbox.get", json={"name": "alice/MyExecutor", "tag": "latest"})
        assert (answer.status_code, answer.json()["code"]) == (200, 404)
        assert (await alice.client.get(RPC + "sandbox.get", params={"name": "x"})).json()["code"] == 404
        refused = await alice.post("sandbox.create", status=501, json={"name": "alice/MyExecutor"})
        assert refused["status"] == 50005
