"""docarray 0.38.0, the rewritten generation, against a live hub."""

from __future__ import annotations

import pytest

from tests.compat.conftest import ActorFactory

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

SAMPLES = """
    one unicode plain dense odd-shapes embeddings blobs nested multimodal 1-mib-document many-chunks
""".split()


@pytest.mark.parametrize("sample", SAMPLES)
def test_what_was_pushed_is_pulled(actor: ActorFactory, name: str, sample: str):
    actor("alice", "d038").do("same_after_a_trip(SAMPLES[sys.argv[1]](), sys.argv[2])", sample, f"alice/{name}")


def test_the_samples_are_those_of_the_client_side(actor: ActorFactory):
    assert actor("alice", "d038").do("print(*SAMPLES)").split() == SAMPLES


def test_a_hundred_thousand_documents(actor: ActorFactory, name: str):
    actor("alice", "d038").do(
        """
        pushed = DocList[Word]([Word(text=f"text {i}") for i in range(100_000)])
        pushed.push(jac(sys.argv[1]), show_progress=True)
        assert same(DocList[Word].pull(jac(sys.argv[1]), show_progress=True), pushed)
        """,
        f"alice/{name}",
    )


def test_streaming_push_and_pull(actor: ActorFactory, name: str):
    actor("alice", "d038").do(
        """
        name = jac(sys.argv[1])
        pushed = words(*map(str, range(1000)))
        DocList[Word].push_stream(iter(pushed), name, show_progress=True)
        stream = DocList[Word].pull_stream(name, show_progress=True, local_cache=True)
        assert next(stream).text == "0"
        assert [word.text for word in stream] == [str(i) for i in range(1, 1000)]
        assert same(list(DocList[Word].pull_stream(name, local_cache=True)), pushed)
        """,
        f"alice/{name}",
    )


def test_the_second_pull_reads_the_local_cache(actor: ActorFactory, name: str):
    shown = actor("alice", "d038").do(
        """
        name = jac(sys.argv[1])
        words("a", "b").push(name)
        DocList[Word].pull(name)
        assert [w.text for w in DocList[Word].pull(name, show_progress=True)] == ["a", "b"]
        """,
        f"alice/{name}",
    )
    assert "Loading from local cache" in shown


def test_new_data_of_equal_length_is_not_hidden_by_the_cache(actor: ActorFactory, name: str):
    actor("alice", "d038").do(
        """
        def stream_length(documents):
            return len(documents.to_bytes(protocol="protobuf", compress="gzip"))

        name, versions = jac(sys.argv[1]), [words(letter * 4, letter) for letter in "abcd"]
        assert len({stream_length(v) for v in versions}) == 1, "these would not show anything"
        for version in [*versions, versions[0]]:
            version.push(name)
            assert same(DocList[Word].pull(name), version)
            assert same(DocList[Word].pull(name), version)
        """,
        f"alice/{name}",
    )


def test_an_empty_array_can_be_pulled(actor: ActorFactory, name: str):
    """This generation cannot push one; the earlier one can, and its header has another version byte."""
    alice = actor("alice", "d038")
    alice.do(
        """
        import hubble, requests

        stream = b"\\2" + bytes(8)
        answer = requests.post(
            hubble.Client()._base_url + "artifact.upload",
            headers={"Authorization": f"token {os.environ['JINA_AUTH_TOKEN']}"},
            files={"file": ("DocumentArray", stream)},
            data={"name": sys.argv[1], "type": "documentArray", "public": "True"},
        )
        assert answer.status_code == 200, answer.text
        assert len(DocList[Word].pull(jac(sys.argv[1]))) == 0
        """,
        f"alice/{name}",
    )
    assert "IndexError" in alice.fail("DocList[Word]().push(jac(sys.argv[1]))", f"alice/{name}")


def test_list_and_delete(actor: ActorFactory, name: str):
    listed = actor("alice", "d038").do(
        """
        import hubble

        name, other = sys.argv[1], sys.argv[1] + "-2"
        words("a", "b").push(jac(name))
        words("c").push(jac(other), public=False)
        listed = [n for n in JACDocStore.list(show_table=True) if n.startswith(name)]
        assert listed == [name, other], listed
        assert JACDocStore.delete(name) is True
        assert name not in JACDocStore.list()
        assert JACDocStore.delete(name, missing_ok=True) is False
        # What its documentation shows sends the scheme along.
        assert JACDocStore.delete(jac(other), missing_ok=False) is True
        try:
            JACDocStore.delete(jac(other), missing_ok=False)
        except hubble.excepts.RequestedEntityNotFoundError:
            pass
        else:
            raise AssertionError("deleted twice")
        """,
        f"alice/{name}",
    )
    assert "DocList on the cloud" in listed


def test_a_private_array_looks_absent_to_others(actor: ActorFactory, name: str):
    actor("alice", "d038").do(
        """
        words("secret").push(jac(sys.argv[1]), public=False)
        assert [w.text for w in DocList[Word].pull(jac(sys.argv[1]))] == ["secret"]
        """,
        f"alice/{name}",
    )
    bob = actor("bob", "d038")
    assert "404 Client Error" in bob.fail("DocList[Word].pull(jac(sys.argv[1]))", f"alice/{name}")
    bob.do("assert sys.argv[1] not in JACDocStore.list()", f"alice/{name}")


def test_a_public_array_is_everybodys_to_pull_and_the_owners_to_push(actor: ActorFactory, name: str):
    actor("alice", "d038").do("words('a').push(jac(sys.argv[1]))", f"alice/{name}")
    bob = actor("bob", "d038")
    bob.do("assert [w.text for w in DocList[Word].pull(jac(sys.argv[1]))] == ['a']", f"alice/{name}")
    told = bob.fail("words('b').push(jac(sys.argv[1]))", f"alice/{name}")
    assert "the namespace 'alice' is not yours; yours is 'bob'" in told


def test_a_bare_name_is_refused_with_the_name_to_use(actor: ActorFactory):
    assert "push to 'alice/digits'" in actor("alice", "d038").fail("words('a').push('jac://digits')")


def test_an_array_of_the_earlier_generation_is_a_clear_error(actor: ActorFactory, name: str):
    actor("alice", "d021").do("texts('a', 'b').push(sys.argv[1])", f"alice/{name}")
    told = actor("alice", "d038").fail("DocList[Word].pull(jac(sys.argv[1]))", f"alice/{name}")
    assert "Unsupported version number" in told


def test_documents_above_one_mib_need_the_documented_setting(actor: ActorFactory, name: str):
    actor("alice", "d038").do(
        """
        name, pushed = sys.argv[1], DocList[Media]([Media(data=RANDOM.bytes(6 << 20)), Media(data=b"z")])
        pushed.push(jac(name))

        import docarray.store.helpers

        docarray.store.helpers.CACHING_REQUEST_READER_CHUNK_SIZE = 2**30
        assert same(DocList[Media].pull(jac(name)), pushed)
        """,
        f"alice/{name}",
    )


@pytest.mark.parametrize("token", [None, "plm_wrong"])
def test_without_a_valid_token_the_client_asks_for_a_login(actor: ActorFactory, token: str | None):
    told = actor(token, "d038").fail("words('x').push('jac://alice/x')")
    assert "AuthenticationRequiredError" in told
