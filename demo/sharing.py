"""The story of the namespaces' announcement: two people, the same names, and nobody in anybody's way."""

from __future__ import annotations

from collections.abc import Iterator

from demo import browser_login
from demo.stage import Stage, check
from demo.story import step

_CHANGED = 5


@step("alice logs in")
def alice_logs_in(stage: Stage) -> Iterator[str]:
    if not browser_login.CHROMIUM.exists():
        stage.alice.token = stage.hub.admin("token-create", "alice").strip()
        yield f"there is no {browser_login.CHROMIUM}, so she uses a personal access token instead of docarray.login()"
        return
    address = browser_login.log_in(stage.alice)
    yield f"docarray.login(), confirmed in Chromium at {address}"


@step("bob gets a personal access token")
def bob_gets_a_token(stage: Stage) -> Iterator[str]:
    stage.bob.token = stage.hub.admin("token-create", "bob").strip()
    yield f"palomar admin token-create bob: {stage.bob.token[:8]}..."


@step("alice pushes scikit-learn's digits, with embeddings, as alice/digits")
def alice_pushes_digits(stage: Stage) -> Iterator[str]:
    report = stage.alice.run("push_digits.py", "alice/digits")
    check(report["documents"] == 1797, f"{report['documents']} digits were pushed")
    stage.facts["digits"] = report
    yield _pushed(report)


@step("alice pushes nested notes of text, image, audio and mesh as alice/field-notes")
def alice_pushes_notes(stage: Stage) -> Iterator[str]:
    report = stage.alice.run("push_notes.py", "alice/field-notes", "public")
    stage.facts["notes"] = report
    yield _pushed(report)


@step("alice pushes a private array as alice/diary")
def alice_pushes_diary(stage: Stage) -> Iterator[str]:
    report = stage.alice.run("push_notes.py", "alice/diary", "private")
    check(report["visibility"] == "private", "the diary is not private")
    yield _pushed(report)


@step("bob pushes his own digits under the same name, as bob/digits")
def bob_pushes_digits(stage: Stage) -> Iterator[str]:
    report = stage.bob.run("push_digits.py", "bob/digits", "reversed")
    yield _pushed(report)
    check(stage.bob.run("list_arrays.py")["names"] == ["bob/digits"], "bob's list does not show his array alone")
    yield "his list: bob/digits"


@step("bob pulls alice's public arrays and finds every document equal")
def bob_pulls(stage: Stage) -> Iterator[str]:
    for name, pushed in (("alice/digits", stage.facts["digits"]), ("alice/field-notes", stage.facts["notes"])):
        pulled = stage.bob.run("pull_array.py", name)
        check(pulled["digests"] == pushed["digests"], f"what bob pulled from {name} is not what alice pushed")
        yield f"{name}: {len(pulled['digests'])} of {len(pushed['digests'])} documents equal"


@step("bob cannot push to alice's namespace")
def bob_cannot_push(stage: Stage) -> Iterator[str]:
    yield stage.bob.refused("push_notes.py", "alice/digits", "public", words="is not yours; yours is 'bob'")
    pulled = stage.bob.run("pull_array.py", "alice/digits")
    check(pulled["digests"] == stage.facts["digits"]["digests"], "the refused push changed alice/digits")
    yield "alice/digits is as it was"


@step("bob can neither pull nor see alice's private array")
def bob_cannot_see(stage: Stage) -> Iterator[str]:
    hidden = stage.bob.refused("pull_array.py", "alice/diary", words="404 Client Error")
    absent = stage.bob.refused("pull_array.py", "alice/never-pushed", words="404 Client Error")
    check(hidden == absent, "a private array looks other than one that does not exist")
    yield f"{hidden}, the same as for a name that does not exist"
    own = stage.alice.run("list_arrays.py")["names"]
    check(own == ["alice/digits", "alice/field-notes", "alice/diary"], f"alice's list is {own}")
    yield f"alice's own list: {', '.join(own)}"


@step("a name without a namespace is refused with the name to use")
def bare_name(stage: Stage) -> Iterator[str]:
    yield stage.alice.refused("push_notes.py", "digits", "public", words="push to 'alice/digits'")


@step(f"alice changes {_CHANGED} of her digits and pushes again: only the changed chunks are stored")
def alice_pushes_again(stage: Stage) -> Iterator[str]:
    before = stage.stored_bytes
    report = stage.alice.run("change_digits.py", "alice/digits", str(_CHANGED))
    after = stage.stored_bytes
    first = stage.facts["digits"]["receipt"]["newBytes"]
    new = report["receipt"]["newBytes"]
    yield f"{_pushed(report)}; the first push had stored {first:,}"
    yield f"on disk: {before:,} bytes before, {after:,} after"
    check(report["receipt"]["version"] == 2, "this is no second version")
    check(0 < new < 0.5 * first, "more than the changed chunks were stored")
    check(after - before == new, "the receipt and the disk say different things")
    stage.facts["changed"] = report


@step("bob pulls again, past his local cache, and has the new version")
def bob_pulls_again(stage: Stage) -> Iterator[str]:
    pulled = stage.bob.run("pull_array.py", "alice/digits")["digests"]
    check(pulled == stage.facts["changed"]["digests"], "bob did not get the new version")
    changed = sum(a != b for a, b in zip(pulled, stage.facts["digits"]["digests"], strict=True))
    check(changed == _CHANGED, f"{changed} documents differ from the first version")
    yield f"{changed} documents differ from the first version, {len(pulled) - changed} are equal"


def _pushed(report: dict[str, object]) -> str:
    receipt = report["receipt"]
    if not isinstance(receipt, dict):
        raise TypeError("a receipt is an object")
    return (
        f"receipt: version {receipt['version']}, {receipt['documents']:,} documents, {receipt['rawBytes']:,} bytes, "
        f"{receipt['newBytes']:,} newly stored, {receipt['visibility']}"
    )
