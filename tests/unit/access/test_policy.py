"""The access policy over its whole small world, against a table that is written down and not computed.

The table is the promise made to users: what you own you push to and pull, what others made public you pull, old
un-namespaced things are pulled and never updated.
"""

from __future__ import annotations

from itertools import product

import pytest

from palomar.contract.actions import ALL_SCOPES, Action, Scope, Visibility, needed_scope
from palomar.contract.errors import CredentialMissing, NotAllowed, NotFound
from palomar.server.access.policy import ANONYMOUS, Credential, Resource, Subject, decide, reading, require

READS = [Action.ARTIFACT_READ, Action.EXECUTOR_READ, Action.IMAGE_READ, Action.NAMESPACE_READ]
PRIVATE_READS = [Action.ACCOUNT_READ, Action.TOKEN_READ]
WRITES = [action for action in Action if not action.is_read]

ALICE = "a" * 32
PUBLIC, PRIVATE = Visibility.PUBLIC, Visibility.PRIVATE

# Who is calling, by whether the thing is theirs: Y reads, W changes, '-' is told that there is no such thing,
# 'X' is told that they may not, 'L' is told to log in. One letter for reading, one for changing.
TABLE = {
    # resource            owner  stranger  anonymous
    "public": ("YW", "YX", "YL"),
    "private": ("YW", "--", "--"),
    "public, held private": ("YW", "--", "--"),
    "deleted": ("--", "--", "--"),
    "legacy of somebody": ("YX", "YX", "YL"),
    "legacy, private": ("YX", "--", "--"),
}
RESOURCES = {
    "public": Resource("array", "alice/x", ALICE),
    "private": Resource("array", "alice/x", ALICE, PRIVATE),
    "public, held private": Resource("array", "alice/x", ALICE, PUBLIC, PRIVATE),
    "deleted": Resource("array", "alice/x", ALICE, is_deleted=True),
    "legacy of somebody": Resource("array", "x", ALICE, is_legacy=True),
    "legacy, private": Resource("array", "x", ALICE, PRIVATE, is_legacy=True),
}
# Of things without an owner everybody is a stranger.
OWNERLESS = {
    "legacy of nobody": (Resource("array", "x", None, is_legacy=True), ("YX", "YL")),
    "private legacy of nobody": (Resource("array", "x", None, PRIVATE, is_legacy=True), ("--", "--")),
    "nobody's namespace": (Resource("namespace", "x", None), ("YX", "YL")),
}
CALLERS = {
    "owner": Subject(ALICE, "alice", Credential.TOKEN, ALL_SCOPES),
    "stranger": Subject("b" * 32, "bob", Credential.TOKEN, ALL_SCOPES),
    "anonymous": ANONYMOUS,
}
OUTCOMES = {"Y": None, "W": None, "-": NotFound, "X": NotAllowed, "L": CredentialMissing}

ROWS = [
    (RESOURCES[name], CALLERS[caller], letters)
    for name, row in TABLE.items()
    for caller, letters in zip(CALLERS, row, strict=True)
] + [
    (resource, CALLERS[caller], letters)
    for resource, row in OWNERLESS.values()
    for caller, letters in zip(("stranger", "anonymous"), row, strict=True)
]


def outcome_of(subject: Subject, action: Action, resource: Resource) -> type[Exception] | None:
    try:
        require(subject, action, resource)
    except (NotFound, NotAllowed, CredentialMissing) as error:
        return type(error)
    return None


@pytest.mark.parametrize(("resource", "subject", "letters"), ROWS)
def test_every_caller_gets_what_the_table_says(resource: Resource, subject: Subject, letters: str) -> None:
    read, write = (OUTCOMES[letter] for letter in letters)
    assert {outcome_of(subject, action, resource) for action in READS} == {read}
    changes = [action for action in WRITES if reading(action) in READS]
    assert {outcome_of(subject, action, resource) for action in changes} == {write}


@pytest.mark.parametrize(("resource", "subject", "letters"), ROWS)
def test_accounts_and_tokens_are_nobody_elses_business_however_public(
    resource: Resource, subject: Subject, letters: str
) -> None:
    is_owner = subject is CALLERS["owner"] and resource.owner_id == ALICE and not resource.is_deleted
    for action in PRIVATE_READS:
        assert outcome_of(subject, action, resource) is (None if is_owner else NotFound)


@pytest.mark.parametrize(("resource", "subject", "letters"), ROWS)
def test_require_refuses_exactly_what_decide_denies(resource: Resource, subject: Subject, letters: str) -> None:
    for action in Action:
        decision = decide(subject, action, resource)
        assert decision.allowed is (outcome_of(subject, action, resource) is None)
        assert decision.reason


# --- scopes and credentials: ceilings on what the role grants ------------------------------------------------------

SCOPE_OF = {
    Scope.READ: {
        Action.ACCOUNT_READ,
        Action.ARTIFACT_READ,
        Action.EXECUTOR_READ,
        Action.IMAGE_READ,
        Action.NAMESPACE_READ,
    },
    Scope.WRITE: {
        Action.ARTIFACT_PUSH,
        Action.ARTIFACT_UPDATE,
        Action.ARTIFACT_DELETE,
        Action.EXECUTOR_PUSH,
        Action.EXECUTOR_UPDATE,
        Action.EXECUTOR_DELETE,
        Action.IMAGE_PUSH,
        Action.IMAGE_DELETE,
    },
    Scope.ACCOUNT: {Action.ACCOUNT_WRITE, Action.TOKEN_READ, Action.TOKEN_WRITE, Action.NAMESPACE_UPDATE},
}
EVERY_SCOPES = [
    frozenset(scope for scope, is_in in zip(Scope, bits, strict=True) if is_in)
    for bits in product((True, False), repeat=len(Scope))
]


def test_every_action_needs_the_scope_that_is_written_here() -> None:
    assert {action: needed_scope(action) for action in Action} == {
        action: scope for scope, actions in SCOPE_OF.items() for action in actions
    }


@pytest.mark.parametrize("credential", [kind for kind in Credential if kind is not Credential.NONE])
@pytest.mark.parametrize("scopes", EVERY_SCOPES)
@pytest.mark.parametrize("resource", RESOURCES.values())
def test_a_scope_narrows_and_never_adds(resource: Resource, scopes: frozenset[Scope], credential: Credential) -> None:
    carried = scopes & {Scope.READ} if credential is Credential.SIGNED_URL else scopes
    for account_id, action in product((ALICE, "b" * 32), Action):
        full = Subject(account_id, "somebody", Credential.TOKEN, ALL_SCOPES)
        narrow = Subject(account_id, "somebody", credential, scopes)
        expected = decide(full, action, resource).allowed and needed_scope(action) in carried
        assert decide(narrow, action, resource).allowed is expected


def test_an_owner_whose_token_lacks_the_scope_is_told_so_and_not_that_there_is_nothing() -> None:
    reader = Subject(ALICE, "alice", Credential.TOKEN, frozenset({Scope.READ}))
    with pytest.raises(NotAllowed, match="lacks the scope 'write'") as refused:
        require(reader, Action.ARTIFACT_PUSH, RESOURCES["private"])
    assert refused.value.fields == {
        "action": "push to",
        "resource": "alice/x",
        "reason": "the token lacks the scope 'write'",
    }


def test_a_signed_url_never_changes_anything_whatever_its_scopes() -> None:
    holder = Subject(ALICE, "alice", Credential.SIGNED_URL, ALL_SCOPES)
    assert decide(holder, Action.ARTIFACT_READ, RESOURCES["private"]).allowed
    assert not any(decide(holder, action, RESOURCES["private"]).allowed for action in WRITES)


def test_hidden_and_absent_are_refused_in_the_same_words() -> None:
    refusals = []
    for hidden in ("private", "public, held private", "deleted", "legacy, private"):
        with pytest.raises(NotFound) as refused:
            require(CALLERS["stranger"], Action.ARTIFACT_DELETE, RESOURCES[hidden])
        refusals.append({**refused.value.fields, "name": ""})
    assert refusals == [{"kind": "array", "name": ""}] * 4


def test_every_action_says_in_words_what_it_does_and_has_a_reading_beside_it() -> None:
    for action in Action:
        assert action.verb
        assert reading(action).is_read


@pytest.mark.parametrize(
    ("wanted", "ceiling", "effective"),
    [(PUBLIC, PUBLIC, PUBLIC), (PUBLIC, PRIVATE, PRIVATE), (PRIVATE, PUBLIC, PRIVATE), (PRIVATE, PRIVATE, PRIVATE)],
)
def test_a_ceiling_caps(wanted: Visibility, ceiling: Visibility, effective: Visibility) -> None:
    assert wanted.capped(ceiling) is effective
