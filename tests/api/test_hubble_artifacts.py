"""``artifact.*``: the forms in which old clients send and read artifacts."""

from __future__ import annotations

import json

import pytest

from palomar.server.artifacts.models import Artifact
from palomar.server.wiring import Hub
from tests.api.hubble import RPC, STREAM, OldClient, old_client
from tests.fixtures.hubs import ClientFactory
from tests.unit.documents.streams import document, stream


@pytest.fixture
async def alice(small_hub: Hub, client_factory: ClientFactory) -> OldClient:
    return await old_client(small_hub, client_factory, "alice")


@pytest.fixture
async def bob(small_hub: Hub, client_factory: ClientFactory) -> OldClient:
    return await old_client(small_hub, client_factory, "bob")


@pytest.fixture
async def nobody(small_hub: Hub, client_factory: ClientFactory) -> OldClient:
    return await old_client(small_hub, client_factory, None)


class TestUpload:
    async def test_docarrays_push(self, alice: OldClient):
        data = await alice.push("alice/digits")
        assert isinstance(data["_id"], str)
        assert (data["name"], data["type"], data["visibility"]) == ("alice/digits", "documentArray", "public")
        assert data["receipt"]["documents"] == 3
        assert data["receipt"]["version"] == 1

    async def test_the_sdks_upload(self, alice: OldClient):
        data = await alice.upload(b"bytes", name="model")
        assert (data["name"], data["type"], data["visibility"]) == ("model", None, "private")
        assert data["metaData"] is None
        assert (await alice.upload(b"others", name="model"))["_id"] == data["_id"]

    @pytest.mark.parametrize(("said", "visibility"), [("True", "public"), ("False", "private"), ("", "public")])
    async def test_public_as_python_writes_it(self, alice: OldClient, said: str, visibility: str):
        """docarray 0.11.3 to 0.13.7 does not say: then it is public."""
        assert (await alice.push("alice/digits", public=said))["visibility"] == visibility

    async def test_a_file_that_does_not_say_is_private(self, alice: OldClient):
        envelope = await alice.post("artifact.upload", files={"file": ("file", b"bytes")})
        assert envelope["data"]["visibility"] == "private"

    @pytest.mark.parametrize("first", ["name", "file"])
    async def test_fields_before_or_after_the_file(self, alice: OldClient, first: str):
        parts = {"file": ("x", STREAM), "name": (None, "alice/digits"), "type": (None, "documentArray")}
        order = sorted(parts, key=lambda name: name != first)
        envelope = await alice.post("artifact.upload", files={name: parts[name] for name in order})
        assert envelope["data"]["receipt"]["documents"] == 3

    async def test_an_array_keeps_its_type(self, alice: OldClient):
        await alice.push("alice/digits")
        refused = await alice.upload(b"bytes", name="alice/digits", status=400)
        assert "holds 'documentArray'" in refused["message"]
        assert (await alice.pull("alice/digits")).content == STREAM

    async def test_an_array_that_is_none_is_refused_whatever_its_file_is_called(self, alice: OldClient):
        refused = await alice.upload(b"bytes", name="alice/digits", type="documentArray", status=422)
        assert refused["status"] == 42203

    async def test_a_refused_push_replaces_nothing(self, alice: OldClient):
        await alice.push("alice/digits")
        await alice.push("alice/digits", STREAM[:-5], status=422)
        assert (await alice.pull("alice/digits")).content == STREAM


class TestDownloadUrl:
    async def test_get_by_name_and_post_by_id(self, alice: OldClient):
        artifact_id = (await alice.push("alice/digits"))["_id"]
        by_id = (await alice.post("artifact.getDownloadUrl", data={"id": artifact_id}))["data"]["download"]
        by_name = await alice.download_url("alice/digits")
        assert by_id.partition("?")[0] == by_name.partition("?")[0]
        assert by_name.startswith("http://hub.test/download/"), "a relative address crashes the client"

    async def test_missing_and_hidden_are_one(self, alice: OldClient, bob: OldClient, nobody: OldClient):
        await alice.push("alice/hidden", public="False")
        for who in (bob, nobody):
            hidden, absent = [
                await who.client.get(RPC + "artifact.getDownloadUrl", params={"name": f"alice/{name}"})
                for name in ("hidden", "absent")
            ]
            assert hidden.status_code == absent.status_code == 404
            assert hidden.json()["message"] == absent.json()["message"].replace("absent", "hidden")

    @pytest.mark.parametrize("scheme", ["jac://alice/digits", "alice/digits", "alice/DIGITS"])
    async def test_forms_of_a_name(self, alice: OldClient, scheme: str):
        await alice.push("alice/digits")
        assert (await alice.pull(scheme)).content == STREAM

    @pytest.mark.parametrize("name", ["", "alice/ä?", "/", "alice//digits", "a" * 5000, "alice/digits/x"])
    async def test_a_name_that_nothing_can_have(self, alice: OldClient, name: str):
        answer = await alice.client.get(RPC + "artifact.getDownloadUrl", params={"name": name})
        assert answer.status_code in {400, 404}
        assert answer.json()["status"] in {40001, 40403}

    async def test_a_bare_name_is_nobodys_array(self, alice: OldClient):
        await alice.push("alice/digits")
        answer = await alice.client.get(RPC + "artifact.getDownloadUrl", params={"name": "digits"})
        assert answer.status_code == 404

    @pytest.mark.parametrize("host", ["evil.example/x", "a b", "user@host", "h\tt"])
    async def test_a_host_that_is_none_gets_no_address(self, alice: OldClient, host: str):
        await alice.push("alice/digits")
        answer = await alice.client.get(
            RPC + "artifact.getDownloadUrl", params={"name": "alice/digits"}, headers={"Host": host}
        )
        assert answer.status_code == 400


class TestList:
    async def test_rows_have_what_docarrays_table_reads(self, alice: OldClient):
        await alice.push("alice/digits")
        (row,) = await alice.call("artifact.list", filter={"type": "documentArray"}, sort={"createdAt": 1})
        for key in ("name", "visibility", "createdAt", "updatedAt"):
            assert isinstance(row[key], str)
        assert row["createdAt"].endswith("Z")
        assert {"name": "Length", "value": 3} in row["metaData"]["summary"]

    @pytest.mark.parametrize(
        "metadata", ["", "{}", '{"summary": null}', '{"summary": "x"}', '{"summary": [1, {}, {"name": "Type"}]}']
    )
    async def test_a_row_without_a_length_would_break_the_whole_list(self, alice: OldClient, metadata: str):
        """docarray 0.11.3 to 0.16 sends no metaData."""
        await alice.push("alice/digits", metaData=metadata)
        (row,) = await alice.call("artifact.list")
        assert [item["value"] for item in row["metaData"]["summary"] if item["name"] == "Length"] == [3]
        assert all(isinstance(item["name"], str) for item in row["metaData"]["summary"])

    async def test_nor_may_an_update_take_it_away(self, alice: OldClient):
        artifact_id = (await alice.push("alice/digits"))["_id"]
        row = await alice.call("artifact.update", id=artifact_id, metaData='{"mine": 1}')
        assert row["metaData"] == {"mine": 1, "summary": [{"name": "Length", "value": 3}]}

    @pytest.mark.parametrize("content", [b"", b"{}"])
    async def test_without_arguments_everything(self, alice: OldClient, content: bytes):
        """docarray 0.17 to 0.30 sends no page size and never asks for a second page."""
        for number in range(60):
            await alice.upload(b"x", name=f"file-{number}")
        envelope = await alice.post("artifact.list", content=content)
        assert len(envelope["data"]) == envelope["meta"]["total"] == 60

    async def test_the_page_that_docarray_038_asks_for(self, alice: OldClient):
        await alice.push("alice/digits")
        assert await alice.names(filter={"type": "documentArray"}, sort={"createdAt": 1}, pageSize=10000) == [
            "alice/digits"
        ]

    async def test_pages_count_from_none_or_one(self, alice: OldClient):
        names = [f"alice/a{number}" for number in range(5)]
        for name in names:
            await alice.push(name)
        pages = [await alice.names(sort={"name": 1}, pageSize=2, pageIndex=index) for index in range(5)]
        assert pages == [names[:2], names[:2], names[2:4], names[4:], []]

    async def test_filters(self, alice: OldClient):
        await alice.push("alice/digits", metaData=json.dumps({"foo": "bar", "deep": {"n": 1, "yes": True}}))
        await alice.upload(b"x", name="model", metaData=json.dumps({"foo": "baz"}))
        wanted = {
            "alice/digits": [
                {"type": "documentArray"},
                {"metaData.foo": "bar"},
                {"metaData.deep.n": 1},
                {"metaData.deep.yes": True},
                {"visibility": "public"},
                {"name": "digits"},
                {"metaData.foo": "bar", "type": "documentArray"},
            ],
            "model": [{"type": None}, {"metaData.foo": "baz"}, {"visibility": "private"}],
            None: [{"metaData.foo": "nope"}, {"metaData.deep.n": 2}, {"metaData.foo": "bar", "type": None}],
        }
        for name, filters in wanted.items():
            for one in filters:
                assert await alice.names(filter=one) == ([] if name is None else [name]), one

    async def test_only_ones_own(self, alice: OldClient, bob: OldClient):
        await alice.push("alice/digits")
        assert await bob.names() == []

    @pytest.mark.parametrize("field", ["createdAt", "updatedAt", "name", "type", "visibility", "_id"])
    async def test_sorts(self, alice: OldClient, field: str):
        for name in ("alice/a", "alice/b", "alice/c"):
            await alice.push(name)
        upwards = await alice.names(sort={field: 1})
        assert upwards == (await alice.names(sort={field: -1}))[::-1]
        if field in {"createdAt", "name"}:
            assert upwards == ["alice/a", "alice/b", "alice/c"]


class TestDetailUpdateDelete:
    async def test_an_update_with_an_id_alone_changes_nothing(self, alice: OldClient):
        artifact_id = (await alice.push("alice/digits"))["_id"]
        row = await alice.call("artifact.update", id=artifact_id)
        assert (row["name"], row["visibility"]) == ("alice/digits", "public")

    async def test_metadata_comes_as_text_and_goes_as_an_object(self, alice: OldClient):
        artifact_id = (await alice.upload(name="model"))["_id"]
        row = await alice.call("artifact.update", id=artifact_id, metaData='{"a": {"b": 1}}', public=True)
        assert (row["metaData"], row["visibility"]) == ({"a": {"b": 1}}, "public")

    async def test_a_rename_onto_a_taken_name(self, alice: OldClient):
        await alice.push("alice/one")
        artifact_id = (await alice.push("alice/two"))["_id"]
        body = await alice.post("artifact.update", status=409, json={"id": artifact_id, "name": "alice/one"})
        assert body["status"] == 42202
        row = await alice.call("artifact.update", id=artifact_id, name="alice/three")
        assert row["name"] == "alice/three"

    async def test_delete_then_absent_then_again(self, alice: OldClient):
        await alice.push("alice/digits")
        await alice.post("artifact.delete", data={"name": "jac://alice/digits"})
        for method in ("artifact.getDetail", "artifact.delete", "artifact.getDownloadUrl"):
            assert (await alice.post(method, status=404, data={"name": "alice/digits"}))["status"] == 40403
        assert await alice.names() == []
        assert (await alice.push("alice/digits"))["receipt"]["version"] == 2

    async def test_delete_many_in_its_forms(self, alice: OldClient):
        ids = [(await alice.upload())["_id"] for _ in range(3)]
        await alice.upload(name="one")
        await alice.upload(name="two")
        await alice.post("artifact.deleteMany", data={"ids": ids[:2], "names": ["one"]})
        await alice.post("artifact.deleteMany", data={"ids": ids[2]})
        assert await alice.names() == ["two"]
        await alice.post("artifact.deleteMany", data={"names": "two"})
        assert await alice.names() == []

    async def test_delete_many_deletes_all_or_none(self, alice: OldClient):
        await alice.upload(name="one")
        body = await alice.post("artifact.deleteMany", status=404, data={"names": ["one", "absent"]})
        assert body["status"] == 40403
        assert await alice.names() == ["one"]

    @pytest.mark.parametrize("method", ["artifact.delete", "artifact.getDetail", "artifact.deleteMany"])
    async def test_of_what(self, alice: OldClient, method: str):
        assert (await alice.post(method, status=400, data={}))["status"] == 40001

    async def test_a_strangers_hands(self, alice: OldClient, bob: OldClient):
        public = (await alice.push("alice/public"))["_id"]
        private = (await alice.push("alice/private", public="False"))["_id"]
        for fields in ({"id": public}, {"name": "alice/public"}):
            assert (await bob.post("artifact.delete", status=403, data=fields))["status"] == 40301
        assert (await bob.post("artifact.update", status=403, json={"id": public, "public": False}))["status"] == 40301
        for method in ("artifact.delete", "artifact.getDetail"):
            assert (await bob.post(method, status=404, data={"id": private}))["status"] == 40403
        assert sorted(await alice.names()) == ["alice/private", "alice/public"]


class TestTheOldestClients:
    """docarray 0.8 to 0.11.2 calls a name a token, and has no accounts."""

    async def test_pull(self, alice: OldClient, nobody: OldClient):
        await alice.push("alice/digits")
        answer = await nobody.client.get(RPC + "da.pull", params={"token": "alice/digits"})
        assert answer.status_code == 200
        assert (await nobody.client.get(answer.json()["data"]["download"])).content == STREAM

    async def test_pull_of_what_is_not_there(self, alice: OldClient, nobody: OldClient):
        await alice.push("alice/hidden", public="False")
        for token in ("alice/hidden", "alice/absent"):
            answer = await nobody.client.get(RPC + "da.pull", params={"token": token})
            assert (answer.status_code, answer.json()["status"]) == (404, 40403)

    async def test_push_is_refused_in_words(self, alice: OldClient, nobody: OldClient):
        sent = {"file": ("DocumentArray", STREAM), "token": (None, "digits")}
        assert (await nobody.post("da.push", status=401, files=sent))["status"] == 40103
        assert "too old to push" in (await alice.post("da.push", status=400, files=sent))["message"]


async def test_renames_and_pushes_keep_one_row(alice: OldClient, small_hub: Hub):
    artifact_id = (await alice.push("alice/digits"))["_id"]
    for number in range(3):
        await alice.push("alice/digits", stream([document(number)]))
    async with small_hub.database.read() as session:
        artifact = await session.get_one(Artifact, artifact_id)
        assert (artifact.version, artifact.documents) == (4, 1)
    assert await alice.names() == ["alice/digits"]
