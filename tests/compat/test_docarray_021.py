"""docarray 0.21.0 against a live hub: what is pushed is what is pulled, and whose it is."""

from __future__ import annotations

import pytest

from tests.compat.conftest import ActorFactory

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

SAMPLES = """
    none one no-content unicode tags dense odd-shapes sparse embeddings blobs every-field nested multimodal
    1.5-mib-document 6-mib-document many-chunks
""".split()


@pytest.mark.parametrize("sample", SAMPLES)
def test_what_was_pushed_is_pulled(actor: ActorFactory, name: str, sample: str):
    actor("alice", "d021").do(
        """
        pushed, name = SAMPLES[sys.argv[1]](), sys.argv[2]
        pushed.push(name)
        assert same(DocumentArray.pull(name, local_cache=False), pushed), "without cache"
        assert same(DocumentArray.pull(name), pushed), "filling the cache"
        assert same(DocumentArray.pull(name), pushed), "from the cache"
        """,
        sample,
        f"alice/{name}",
    )


def test_the_samples_are_those_of_the_client_side(actor: ActorFactory):
    assert actor("alice", "d021").do("print(*SAMPLES)").split() == SAMPLES


def test_a_hundred_thousand_documents(actor: ActorFactory, name: str):
    actor("alice", "d021").do(
        """
        pushed = DocumentArray([Document(text=f"text {i}", tags={"i": i}) for i in range(100_000)])
        pushed.push(sys.argv[1], show_progress=True)
        assert same(DocumentArray.pull(sys.argv[1], show_progress=True), pushed)
        """,
        f"alice/{name}",
    )


def test_progress_bars_reach_their_end(actor: ActorFactory, name: str):
    shown = actor("alice", "d021").do(
        """
        texts(*map(str, range(200))).push(sys.argv[1], show_progress=True)
        assert len(DocumentArray.pull(sys.argv[1], show_progress=True)) == 200
        """,
        f"alice/{name}",
    )
    assert "Pushing" in shown
    assert "Deserializing" in shown


def test_the_second_pull_reads_the_local_cache(actor: ActorFactory, name: str):
    actor("alice", "d021").do(
        """
        name = sys.argv[1]
        cached = os.path.expanduser(f"~/.cache/docarray/{name.replace('/', '_')}.da")
        texts("a", "b").push(name)
        DocumentArray.pull(name)
        os.utime(cached, (1, 1))
        assert DocumentArray.pull(name).texts == ["a", "b"]
        assert os.stat(cached).st_mtime == 1, "the cache was written anew, so it was not used"
        """,
        f"alice/{name}",
    )


def test_new_data_of_equal_length_is_not_hidden_by_the_cache(actor: ActorFactory, name: str):
    actor("alice", "d021").do(
        """
        def stream_length(documents):
            return sum(len(d._to_stream_bytes(protocol="protobuf", compress="gzip")) for d in documents)

        name, versions = sys.argv[1], [texts(letter * 4, letter) for letter in "abcd"]
        assert len({stream_length(v) for v in versions}) == 1, "these would not show anything"
        for version in [*versions, versions[0]]:
            version.push(name)
            assert DocumentArray.pull(name).texts == version.texts
            assert DocumentArray.pull(name).texts == version.texts
        """,
        f"alice/{name}",
    )


def test_a_later_push_replaces_what_a_pull_returns(actor: ActorFactory, name: str):
    actor("alice", "d021").do(
        """
        name = sys.argv[1]
        first, second = texts("one"), texts("two", "three")
        first_id, second_id = first.push(name)["_id"], second.push(name)["_id"]
        assert first_id == second_id
        assert same(DocumentArray.pull(name), second)
        assert DocumentArray.cloud_list().count(name) == 1
        DocumentArray().push(name)
        assert len(DocumentArray.pull(name)) == 0
        """,
        f"alice/{name}",
    )


def test_names_are_one_without_regard_to_case(actor: ActorFactory, name: str):
    actor("alice", "d021").do(
        """
        texts("one").push(sys.argv[1])
        texts("two").push(sys.argv[1].upper().replace("ALICE", "alice"))
        assert DocumentArray.pull(sys.argv[1], local_cache=False).texts == ["two"]
        assert DocumentArray.cloud_list().count(sys.argv[1]) == 1
        """,
        f"alice/{name}",
    )


def test_list_and_delete(actor: ActorFactory, name: str):
    listed = actor("alice", "d021").do(
        """
        import hubble

        name, other = sys.argv[1], sys.argv[1] + "-2"
        texts("a", "b", "c").push(name)
        texts("d").push(other, public=False)
        both = [n for n in DocumentArray.cloud_list(show_table=True) if n.startswith(name)]
        assert both == [name, other], both
        DocumentArray.cloud_delete(name)
        assert name not in DocumentArray.cloud_list()
        try:
            DocumentArray.cloud_delete(name)
        except hubble.excepts.RequestedEntityNotFoundError:
            pass
        else:
            raise AssertionError("deleted twice")
        try:
            DocumentArray.pull(name)
        except Exception as error:
            assert "404" in str(error), error
        else:
            raise AssertionError("pulled what was deleted")
        texts("again").push(name)
        assert DocumentArray.pull(name).texts == ["again"]
        """,
        f"alice/{name}",
    )
    assert "DocumentArray on the cloud" in listed


def test_another_person_pulls_what_is_public_and_lists_only_their_own(actor: ActorFactory, name: str):
    actor("alice", "d021").do("nested().push(sys.argv[1])", f"alice/{name}")
    actor("bob", "d021").do(
        """
        pulled = DocumentArray.pull(sys.argv[1])
        assert [d.text for d in pulled] == ["root", ""]
        assert pulled[0].chunks[0].chunks[0].text == "leaf"
        assert sys.argv[1] not in DocumentArray.cloud_list()
        """,
        f"alice/{name}",
    )


def test_two_people_use_the_same_name(actor: ActorFactory, name: str):
    alice, bob = actor("alice", "d021"), actor("bob", "d021")
    alice.do("texts('of alice').push(sys.argv[1])", f"alice/{name}")
    bob.do("texts('of bob').push(sys.argv[1])", f"bob/{name}")
    for person in (alice, bob):
        person.do(
            """
            for owner in ("alice", "bob"):
                assert DocumentArray.pull(f"{owner}/{sys.argv[1]}").texts == [f"of {owner}"]
            """,
            name,
        )


def test_a_private_array_looks_absent_to_others(actor: ActorFactory, name: str):
    alice, bob = actor("alice", "d021"), actor("bob", "d021")
    alice.do("texts('secret').push(sys.argv[1], public=False)", f"alice/{name}")
    alice.do("assert DocumentArray.pull(sys.argv[1]).texts == ['secret']", f"alice/{name}")
    hidden = bob.fail("DocumentArray.pull(sys.argv[1])", f"alice/{name}")
    absent = bob.fail("DocumentArray.pull(sys.argv[1])", "alice/never-pushed")
    assert "404 Client Error" in hidden
    assert _told(hidden) == _told(absent) != ""


def _told(text: str) -> str:
    """The client's last sentence without the address."""
    return text.rpartition("HTTPError:")[2].partition(" for url:")[0]


def test_visibility_follows_the_last_push(actor: ActorFactory, name: str):
    alice, bob = actor("alice", "d021"), actor("bob", "d021")
    alice.do("texts('draft').push(sys.argv[1], public=False)", f"alice/{name}")
    alice.do("texts('done').push(sys.argv[1])", f"alice/{name}")
    bob.do("assert DocumentArray.pull(sys.argv[1]).texts == ['done']", f"alice/{name}")
    alice.do("texts('withdrawn').push(sys.argv[1], public=False)", f"alice/{name}")
    assert "404" in bob.fail("DocumentArray.pull(sys.argv[1])", f"alice/{name}")


@pytest.mark.parametrize(
    ("pushed_name", "words"),
    [
        ("digits", "push to 'alice/digits'"),
        ("bob/digits", "the namespace 'bob' is not yours; yours is 'alice'"),
        ("nobody/digits", "the namespace 'nobody' is not yours; yours is 'alice'"),
        ("admin/digits", "is not yours"),
        ("Alice/digits", "write 'alice'"),
        ("alice/", "not a valid resource name"),
        ("/digits", "not a valid namespace name"),
        ("alice/a/b", "not a valid resource name"),
        ("alice/a..b", "it contains '..'"),
        ("alice/a b", "not a valid resource name"),
        ("alice/a&b", "not a valid resource name"),
        ("alice/" + "a" * 129, "too long"),
        ("", "name"),
    ],
)
def test_a_wrong_name_is_refused_in_words(actor: ActorFactory, pushed_name: str, words: str):
    told = actor("alice", "d021").fail("texts('x').push(sys.argv[1])", pushed_name)
    assert words in _told(told), told


def test_nobody_pushes_to_an_array_that_others_may_only_read(actor: ActorFactory, name: str):
    alice, bob = actor("alice", "d021"), actor("bob", "d021")
    alice.do("texts('of alice').push(sys.argv[1])", f"alice/{name}")
    assert "403 Client Error: You may not push to" in bob.fail("texts('x').push(sys.argv[1])", f"alice/{name}")
    assert "OperationNotAllowedError" in bob.fail("DocumentArray.cloud_delete(sys.argv[1])", f"alice/{name}")
    alice.do("assert DocumentArray.pull(sys.argv[1]).texts == ['of alice']", f"alice/{name}")


@pytest.mark.parametrize("token", [None, "plm_wrong", "a.b.c"])
def test_without_a_valid_token_the_client_asks_for_a_login(actor: ActorFactory, token: str | None):
    told = actor(token, "d021").fail("texts('x').push('alice/x')")
    assert "AuthenticationRequiredError" in told
    assert "JINA_AUTH_TOKEN" in told


def test_a_deleted_token_opens_nothing(actor: ActorFactory):
    told = actor("alice", "d021").fail(
        """
        import hubble

        token = hubble.Client(jsonify=True).create_personal_access_token("short-lived")["data"]["token"]
        os.environ["JINA_AUTH_TOKEN"] = token
        DocumentArray.cloud_list()
        hubble.Client().delete_personal_access_token("short-lived")
        print("so far so good")
        DocumentArray.cloud_list()
        """
    )
    assert "AuthenticationRequiredError" in told


def test_a_trailing_slash_in_the_address_does_no_harm(actor: ActorFactory, name: str):
    alice = actor("alice", "d021")
    slashed = type(alice)(alice.client, alice.registry + "/", alice.token, alice.prelude)
    slashed.do(
        """
        texts("a").push(sys.argv[1])
        assert DocumentArray.pull(sys.argv[1]).texts == ["a"]
        """,
        f"alice/{name}",
    )


def test_a_push_that_dies_in_the_client_changes_nothing(actor: ActorFactory, name: str):
    alice = actor("alice", "d021")
    alice.do("texts('kept').push(sys.argv[1])", f"alice/{name}")
    told = alice.fail(
        """
        documents = DocumentArray([Document(blob=os.urandom(50_000)) for _ in range(200)])
        documents[150].tags["x"] = 1
        Document._to_stream_bytes_ = Document._to_stream_bytes

        def dying(self, *args, **kwargs):
            if self.tags:
                raise RuntimeError("no power")
            return Document._to_stream_bytes_(self, *args, **kwargs)

        Document._to_stream_bytes = dying
        documents.push(sys.argv[1])
        """,
        f"alice/{name}",
    )
    assert "no power" in told
    alice.do("assert DocumentArray.pull(sys.argv[1]).texts == ['kept']", f"alice/{name}")
