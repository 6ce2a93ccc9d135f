"""``hubble.Client`` of jina-hubble-sdk 0.39: artifacts, tokens, and who one is; after its own integration tests."""

from __future__ import annotations

import pytest

from tests.compat.conftest import Actor, ActorFactory, prelude
from tests.fixtures.old_clients import OldClientFactory
from tools.live_hub import LiveHub

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture
def sdk(module_hub: LiveHub, old_client: OldClientFactory, tokens: dict[str, str]) -> Actor:
    return Actor(old_client("d021"), module_hub.url, tokens["alice"], prelude("sdk"))


@pytest.fixture
def stranger(module_hub: LiveHub, old_client: OldClientFactory, tokens: dict[str, str]) -> Actor:
    return Actor(old_client("d021"), module_hub.url, tokens["bob"], prelude("sdk"))


@pytest.fixture(params=[True, False], ids=["dicts", "responses"])
def jsonify(request: pytest.FixtureRequest) -> str:
    """How the client hands out answers; "" or "1" for the script."""
    return "1" if request.param else ""


def test_upload_by_path_then_update(sdk: Actor, name: str, jsonify: str):
    sdk.do(
        """
        client, name = Client(jsonify=bool(sys.argv[2])), sys.argv[1]
        with open("model", "wb") as file:
            file.write(DATA)
        data = read(client.upload_artifact(f="model", show_progress=True, name=name))["data"]
        assert (data["visibility"], data.get("metaData"), data["name"]) == ("private", None, name), data

        data = read(client.update_artifact(id=data["_id"], is_public=True, metadata={"a": 1}, name=name))["data"]
        assert (data["visibility"], data["metaData"], data["name"]) == ("public", {"a": 1}, name), data

        data = read(client.update_artifact(id=data["_id"]))["data"]
        assert (data["visibility"], data["metaData"], data["name"]) == ("public", {"a": 1}, name), data
        read(client.delete_artifact(id=data["_id"]))
        """,
        name,
        jsonify,
    )


def test_upload_of_bytes_without_a_name(sdk: Actor, jsonify: str):
    sdk.do(
        """
        client = Client(jsonify=bool(sys.argv[1]))
        artifact_id = id_of(client.upload_artifact(f=io.BytesIO(DATA), show_progress=True))
        data = read(client.get_artifact_info(id=artifact_id))["data"]
        assert (data["_id"], data["name"], data["visibility"]) == (artifact_id, None, "private"), data

        path = client.download_artifact(id=artifact_id, f=os.path.abspath("copy"), show_progress=True)
        assert open(path, "rb").read() == DATA
        buffer = client.download_artifact(artifact_id, f=io.BytesIO())
        assert buffer.getvalue() == DATA
        read(client.delete_artifact(id=artifact_id))
        refused(RequestedEntityNotFoundError, client.get_artifact_info, id=artifact_id)
        """,
        jsonify,
    )


def test_upload_by_id_replaces_the_content(sdk: Actor, name: str):
    sdk.do(
        """
        client = Client(jsonify=True)
        artifact_id = id_of(client.upload_artifact(f=io.BytesIO(DATA), name=sys.argv[1]))
        assert id_of(client.upload_artifact(f=io.BytesIO(b"second"), id=artifact_id)) == artifact_id
        assert id_of(client.upload_artifact(f=io.BytesIO(b"third"), name=sys.argv[1], is_public=True)) == artifact_id
        assert client.download_artifact(artifact_id, f=io.BytesIO()).getvalue() == b"third"
        assert read(client.get_artifact_info(name=sys.argv[1]))["data"]["_id"] == artifact_id
        """,
        name,
    )


def test_uploads_of_no_bytes_and_of_many(sdk: Actor):
    sdk.do(
        """
        client = Client(jsonify=True)
        for data in (b"", os.urandom(9_000_000)):
            artifact_id = id_of(client.upload_artifact(f=io.BytesIO(data)))
            assert client.download_artifact(artifact_id, f=io.BytesIO()).getvalue() == data
        """
    )


def test_list_with_filter_sort_and_pages(sdk: Actor, name: str, jsonify: str):
    sdk.do(
        """
        client, mark = Client(jsonify=bool(sys.argv[2])), sys.argv[1]
        names = [f"{mark}-{i}" for i in range(5)]
        for number, name in enumerate(names):
            client.upload_artifact(f=io.BytesIO(DATA), name=name, metadata={"mark": mark, "deep": {"n": number}})
        read(client.list_artifacts(filter={"metaData.foo": "bar"}, sort={"type": -1}))

        def listed(**asked):
            asked.setdefault("filter", {"metaData.mark": mark})
            answer = read(client.list_artifacts(**asked))
            return [row["name"] for row in answer["data"]], answer["meta"]["total"]

        assert listed(sort={"createdAt": 1}) == (names, 5)
        assert listed(sort={"createdAt": -1}) == (names[::-1], 5)
        assert listed(filter={"metaData.deep.n": 3, "metaData.mark": mark}) == ([names[3]], 1)
        assert listed(sort={"createdAt": 1}, pageIndex=0, pageSize=2) == (names[:2], 5)
        assert listed(sort={"createdAt": 1}, pageIndex=1, pageSize=2) == (names[:2], 5)
        assert listed(sort={"createdAt": 1}, pageIndex=2, pageSize=2) == (names[2:4], 5)
        assert listed(sort={"createdAt": 1}, pageIndex=3, pageSize=2) == (names[4:], 5)
        assert set(names) <= {row["name"] for row in read(client.list_artifacts())["data"]}
        """,
        name,
        jsonify,
    )


def test_update_to_a_name_that_is_taken(sdk: Actor, name: str):
    sdk.do(
        """
        client = Client(jsonify=True)
        client.upload_artifact(f=io.BytesIO(DATA), name=sys.argv[1])
        other = id_of(client.upload_artifact(f=io.BytesIO(DATA)))
        refusal = refused(IdentifierNamespaceOccupiedError, client.update_artifact, id=other, name=sys.argv[1])
        assert "is taken" in str(refusal), refusal
        """,
        name,
    )


def test_delete_many(sdk: Actor, name: str):
    sdk.do(
        """
        client, names = Client(jsonify=True), [sys.argv[1] + "-1", sys.argv[1] + "-2"]
        ids = [id_of(client.upload_artifact(f=io.BytesIO(DATA))) for _ in range(4)]
        for name in names:
            read(client.update_artifact(id=ids.pop(0), name=name))
        read(client.get_artifact_info(id=ids[0]))
        read(client.get_artifact_info(name=names[0]))
        read(client.delete_multiple_artifacts(ids=ids, names=names))
        for asked in ({"id": ids[0]}, {"id": ids[1]}, {"name": names[0]}, {"name": names[1]}):
            refused(RequestedEntityNotFoundError, client.get_artifact_info, **asked)
        one = id_of(client.upload_artifact(f=io.BytesIO(DATA)))
        read(client.delete_multiple_artifacts(ids=[one]))
        refused(RequestedEntityNotFoundError, client.get_artifact_info, id=one)
        """,
        name,
    )


def test_somebody_elses_artifacts(sdk: Actor, stranger: Actor, name: str):
    ids = sdk.do(
        """
        client = Client(jsonify=True)
        for visible in (False, True):
            name = f"{sys.argv[1]}-{visible}"
            print(id_of(client.upload_artifact(f=io.BytesIO(DATA), name=name, is_public=visible)))
        """,
        name,
    ).split()[-2:]
    stranger.do(
        """
        client, (private, public) = Client(jsonify=True), sys.argv[1:]
        for call in (client.get_artifact_info, client.delete_artifact, client.update_artifact):
            refused(RequestedEntityNotFoundError, call, id=private)
        refused(RequestedEntityNotFoundError, client.download_artifact, private, io.BytesIO())
        assert client.download_artifact(public, io.BytesIO()).getvalue() == DATA
        refused(OperationNotAllowedError, client.delete_artifact, id=public)
        refused(OperationNotAllowedError, client.update_artifact, id=public, is_public=False)
        refused(OperationNotAllowedError, client.upload_artifact, f=io.BytesIO(b"mine now"), id=public)
        refused(OperationNotAllowedError, client.delete_multiple_artifacts, ids=[public])
        assert client.download_artifact(public, io.BytesIO()).getvalue() == DATA
        """,
        *ids,
    )


def test_tokens_are_made_listed_and_deleted(sdk: Actor, name: str, jsonify: str):
    sdk.do(
        """
        client, name = Client(jsonify=bool(sys.argv[2])), sys.argv[1]
        token = read(client.create_personal_access_token(name=name, expiration_days=3))["data"]["token"]
        listed = read(client.list_personal_access_tokens())["data"]["personal_access_tokens"]
        rows = {row["name"]: row for row in listed}
        for key in ("name", "type", "createdAt", "expireAt", "updatedAt"):
            assert rows[name][key] is None or isinstance(rows[name][key], str), rows[name]
        assert token not in str(rows)
        assert Client(token=token, jsonify=True).get_user_info(variant="data")["name"] == "alice"
        refused(IdentifierNamespaceOccupiedError, client.create_personal_access_token, name=name)
        read(client.delete_personal_access_token(name=name))
        refused(AuthenticationRequiredError, Client(token=token).get_user_info)
        refused(RequestedEntityNotFoundError, client.delete_personal_access_token, name=name)
        refused(ParamValidationError, client.create_personal_access_token, name=name, expiration_days=-1)
        """,
        name,
        jsonify,
    )


def test_who_one_is(sdk: Actor, jsonify: str):
    sdk.do(
        """
        client = Client(jsonify=bool(sys.argv[1]))
        user = client.get_user_info(variant="data")
        assert isinstance(user["_id"], str) and user["name"] == "alice" and user["status"] == "active", user
        assert client.get_user_info(variant="full")["data"] == user
        assert read(client.get_raw_session())["data"]["user"]["name"] == "alice"
        registries = read(client.list_internal_docker_registries())["data"]
        assert registries and all(isinstance(host, str) and "://" not in host for host in registries), registries
        assert hubble.get_token() == os.environ["JINA_AUTH_TOKEN"]
        """,
        jsonify,
    )


def test_what_needs_a_login_says_so(module_hub: LiveHub, old_client: OldClientFactory):
    nobody = Actor(old_client("d021"), module_hub.url, None, prelude("sdk"))
    nobody.do(
        """
        client = Client(jsonify=True)
        for call in (client.get_user_info, client.get_raw_session, client.list_artifacts,
                     client.list_personal_access_tokens, client.list_internal_docker_registries):
            refused(AuthenticationRequiredError, call)
        refused(AuthenticationRequiredError, client.upload_artifact, io.BytesIO(DATA))
        assert hubble.get_token() is None
        """
    )


def test_an_array_is_an_artifact_too(actor: ActorFactory, sdk: Actor, name: str):
    actor("alice", "d021").do("texts('a', 'b', 'c').push(sys.argv[1])", f"alice/{name}")
    sdk.do(
        """
        client = Client(jsonify=True)
        data = read(client.get_artifact_info(name=sys.argv[1]))["data"]
        assert data["type"] == "documentArray" and data["visibility"] == "public", data
        summary = {item["name"]: item["value"] for item in data["metaData"]["summary"]}
        assert summary["Length"] == 3, summary
        stream = client.download_artifact(data["_id"], io.BytesIO()).getvalue()
        assert stream[:9] == b"\\1" + (3).to_bytes(8, "big")
        read(client.update_artifact(id=data["_id"], is_public=False, metadata={"mine": True}))
        assert {"Length": 3} == {
            item["name"]: item["value"]
            for item in read(client.get_artifact_info(name=sys.argv[1]))["data"]["metaData"]["summary"]
        }
        """,
        f"alice/{name}",
    )
    assert f"alice/{name}" in actor("alice", "d021").do("print(*DocumentArray.cloud_list(show_table=True))")
