"""Accounts, credentials and logins on a real database."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
import time_machine
from argon2 import PasswordHasher
from joserfc.jwk import ECKey
from sqlalchemy import func, select, update

from palomar.contract.actions import ALL_SCOPES, Scope
from palomar.contract.errors import (
    BadName,
    BadParameter,
    Busy,
    CredentialInvalid,
    LoginFailed,
    NameRetired,
    NameTaken,
    NotFound,
    RateLimited,
)
from palomar.server.accounts import login_flow
from palomar.server.accounts.credentials import Holder
from palomar.server.accounts.identity import Identity
from palomar.server.accounts.keys import Keyring, new_session_key
from palomar.server.accounts.models import (
    Account,
    HubKey,
    LoginDelivery,
    LoginSession,
    PersonalAccessToken,
    SessionClient,
)
from palomar.server.accounts.personal_tokens import create_token, delete_token, list_tokens, parse_days
from palomar.server.accounts.service import NewAccount, authenticate_password, change_password, sign_up
from palomar.server.accounts.sessions import end_other_sessions, end_session, list_sessions, start_session
from palomar.server.accounts.tokens import new_token
from palomar.server.db.columns import utc_now
from palomar.server.db.engine import Database
from palomar.server.events.kinds import EventKind
from palomar.server.events.models import Event
from palomar.server.namespaces.models import NamespaceRow
from palomar.server.namespaces.service import NamespaceDefaults

PASSWORD = "correct horse battery"
DEFAULTS = NamespaceDefaults()


@pytest.fixture
async def identity(database: Database) -> AsyncIterator[Identity]:
    opened = await Identity.open(database, login_attempts_per_minute=5, token_requests_per_minute=5)
    yield opened
    await opened.close()


@pytest.fixture
async def alice(database: Database) -> Account:
    return await sign_up(database, NewAccount("alice", PASSWORD), defaults=DEFAULTS)


async def log_in(database: Database, identity: Identity, account: Account, *, days: int = 30) -> str:
    async with database.write() as session:
        return await start_session(
            session,
            identity.keys,
            account,
            client=SessionClient.COMMAND_LINE,
            ttl=timedelta(days=days),
            issuer="http://hub.test",
        )


async def make_token(
    database: Database,
    account: Account,
    name: str = "ci",
    *,
    days: int | None = 30,
    scopes: frozenset[Scope] = ALL_SCOPES,
) -> str:
    async with database.write() as session:
        return await create_token(session, account_id=account.id, name=name, days=days, scopes=scopes)


async def count(database: Database, table: type[Account | NamespaceRow]) -> int:
    async with database.read() as session:
        return await session.scalar(select(func.count()).select_from(table)) or 0


async def event_kinds(database: Database) -> list[str]:
    async with database.read() as session:
        return list(await session.scalars(select(Event.kind).order_by(Event.id)))


class TestSignUp:
    async def test_account_comes_with_its_namespace(self, database: Database, alice: Account) -> None:
        async with database.read() as session:
            row = await session.scalar(select(NamespaceRow))
        assert row is not None
        assert (row.name, row.owner_id) == ("alice", alice.id)
        assert set(await event_kinds(database)) == {EventKind.ACCOUNT_CREATED, EventKind.NAMESPACE_CREATED}

    async def test_password_is_stored_as_argon2id_alone(self, alice: Account) -> None:
        assert alice.password_hash is not None
        assert alice.password_hash.startswith("$argon2id$")

    async def test_taken_name(self, database: Database, alice: Account) -> None:
        with pytest.raises(NameTaken):
            await sign_up(database, NewAccount("alice", PASSWORD), defaults=DEFAULTS)
        assert await count(database, Account) == 1

    async def test_tombstone_keeps_the_name_and_no_account_is_left_behind(self, database: Database) -> None:
        async with database.write() as session:
            session.add(NamespaceRow(name="alice", owner_id=None, retired_at=utc_now()))
        with pytest.raises(NameRetired):
            await sign_up(database, NewAccount("alice", PASSWORD), defaults=DEFAULTS)
        assert await count(database, Account) == 0

    async def test_two_at_once_and_one_wins(self, database: Database) -> None:
        wanted = NewAccount("alice", PASSWORD)
        both = (sign_up(database, wanted, defaults=DEFAULTS), sign_up(database, wanted, defaults=DEFAULTS))
        outcomes = await asyncio.gather(*both, return_exceptions=True)
        assert sorted(type(outcome).__name__ for outcome in outcomes) == ["Account", "NameTaken"]
        assert (await count(database, Account), await count(database, NamespaceRow)) == (1, 1)

    @pytest.mark.parametrize("name", ["", "Alice", "a--b", "-a", "a_b", "a" * 40, "admin", "v2", "alice\n", "älice"])
    async def test_bad_and_reserved_names(self, database: Database, name: str) -> None:
        with pytest.raises(BadName):
            await sign_up(database, NewAccount(name, PASSWORD), defaults=DEFAULTS)
        assert await count(database, NamespaceRow) == 0

    @pytest.mark.parametrize("email", ["x", "@x.org", "x@", "a b@x.org", "x@" + "y" * 260])
    async def test_what_is_no_email_address(self, database: Database, email: str) -> None:
        with pytest.raises(BadParameter, match="email"):
            await sign_up(database, NewAccount("alice", PASSWORD, email), defaults=DEFAULTS)


class TestPassword:
    async def test_right(self, database: Database, identity: Identity, alice: Account) -> None:
        found = await authenticate_password(
            database, identity.limits, name=" Alice ", password=PASSWORD, address="10.0.0.1"
        )
        assert found.id == alice.id

    @pytest.mark.parametrize(("name", "password"), [("alice", "wrong"), ("alice", ""), ("nobody", PASSWORD), ("", "")])
    async def test_wrong(
        self, database: Database, identity: Identity, alice: Account, name: str, password: str
    ) -> None:
        with pytest.raises(LoginFailed):
            await authenticate_password(database, identity.limits, name=name, password=password, address="10.0.0.1")

    async def test_account_without_password_never_opens(self, database: Database, identity: Identity) -> None:
        await sign_up(database, NewAccount("robot"), defaults=DEFAULTS)
        for password in ("", "None", PASSWORD):
            with pytest.raises(LoginFailed):
                await authenticate_password(
                    database, identity.limits, name="robot", password=password, address="10.0.0.1"
                )

    async def test_guessing_is_limited_even_with_the_right_password(
        self, database: Database, identity: Identity, alice: Account
    ) -> None:
        for number in range(5):
            with pytest.raises(LoginFailed):
                await authenticate_password(
                    database, identity.limits, name="alice", password="guess", address=f"10.0.0.{number}"
                )
        with pytest.raises(RateLimited):
            await authenticate_password(database, identity.limits, name="alice", password=PASSWORD, address="10.0.0.9")

    async def test_old_hash_is_replaced_at_login(self, database: Database, identity: Identity, alice: Account) -> None:
        weak = PasswordHasher(time_cost=1, memory_cost=1024, parallelism=1).hash(PASSWORD)
        async with database.write() as session:
            await session.execute(update(Account).values(password_hash=weak))
        await authenticate_password(database, identity.limits, name="alice", password=PASSWORD, address="10.0.0.1")
        async with database.read() as session:
            assert await session.scalar(select(Account.password_hash)) != weak
        await authenticate_password(database, identity.limits, name="alice", password=PASSWORD, address="10.0.0.1")

    async def test_change_ends_the_other_sessions(self, database: Database, identity: Identity, alice: Account) -> None:
        kept, other = await log_in(database, identity, alice), await log_in(database, identity, alice)
        keep = (await identity.credentials.find_holder(kept)).credential_id
        await change_password(
            database,
            identity.limits,
            name="alice",
            current=PASSWORD,
            new="another long one",
            address="a",
            keep_session=keep,
        )
        await identity.credentials.find_holder(kept)
        with pytest.raises(CredentialInvalid):
            await identity.credentials.find_holder(other)
        with pytest.raises(LoginFailed):
            await authenticate_password(database, identity.limits, name="alice", password=PASSWORD, address="a")
        await authenticate_password(database, identity.limits, name="alice", password="another long one", address="a")

    async def test_change_needs_the_current_one(self, database: Database, identity: Identity, alice: Account) -> None:
        with pytest.raises(LoginFailed):
            await change_password(
                database,
                identity.limits,
                name="alice",
                current="x",
                new="another long one",
                address="a",
                keep_session=None,
            )


class TestTokens:
    async def test_holder(self, database: Database, identity: Identity, alice: Account) -> None:
        token = await make_token(database, alice, scopes=frozenset({Scope.READ}))
        holder = await identity.credentials.find_holder(token)
        assert (holder.account_id, holder.account_name, holder.client) == (alice.id, "alice", None)
        assert holder.scopes == {Scope.READ}

    async def test_only_its_hash_is_stored(self, database: Database, alice: Account) -> None:
        token = await make_token(database, alice)
        async with database.read() as session:
            row = (await session.execute(select(PersonalAccessToken.__table__))).one()
        assert token not in str(row)
        assert row.hint == token[-4:]

    async def test_unknown_but_well_formed(self, identity: Identity) -> None:
        with pytest.raises(CredentialInvalid):
            await identity.credentials.find_holder(new_token())

    async def test_malformed_does_not_reach_the_database(self, identity: Identity, database: Database) -> None:
        await database.close()
        with pytest.raises(CredentialInvalid):
            await identity.credentials.find_holder("plm_" + "a" * 33)

    async def test_expiry(self, database: Database, identity: Identity, alice: Account) -> None:
        token = await make_token(database, alice, days=2)
        with time_machine.travel(utc_now() + timedelta(days=1, hours=23)):
            await identity.credentials.find_holder(token)
        with time_machine.travel(utc_now() + timedelta(days=2, seconds=1)):
            with pytest.raises(CredentialInvalid):
                await identity.credentials.find_holder(token)
            async with database.read() as session:
                assert await list_tokens(session, alice.id) == []
            await make_token(database, alice)  # the name of an expired one is free

    async def test_deleted_one_is_refused_at_once(self, database: Database, identity: Identity, alice: Account) -> None:
        token = await make_token(database, alice)
        await identity.credentials.find_holder(token)
        async with database.write() as session:
            await delete_token(session, account_id=alice.id, name="ci")
        with pytest.raises(CredentialInvalid):
            await identity.credentials.find_holder(token)

    async def test_name_is_taken_per_account(self, database: Database, alice: Account) -> None:
        await make_token(database, alice)
        with pytest.raises(NameTaken):
            await make_token(database, alice)
        bob = await sign_up(database, NewAccount("bob"), defaults=DEFAULTS)
        await make_token(database, bob)

    async def test_nobody_deletes_a_stranger_s(self, database: Database, identity: Identity, alice: Account) -> None:
        token = await make_token(database, alice)
        bob = await sign_up(database, NewAccount("bob"), defaults=DEFAULTS)
        with pytest.raises(NotFound):
            async with database.write() as session:
                await delete_token(session, account_id=bob.id, name="ci")
        await identity.credentials.find_holder(token)

    @pytest.mark.parametrize("name", ["", "  ", "x" * 101, "a\x00b", "line\nbreak"])
    async def test_bad_names(self, database: Database, alice: Account, name: str) -> None:
        with pytest.raises(BadName):
            await make_token(database, alice, name)

    @pytest.mark.parametrize("text", ["7", " 7 ", 7])
    def test_days(self, text: object) -> None:
        assert parse_days(text, max_days=10) == 7

    @pytest.mark.parametrize("text", ["0", "-1", "11", "1.5", "", "٣", None, [], "9" * 5000, True])
    def test_bad_days(self, text: object) -> None:
        with pytest.raises(BadParameter):
            parse_days(text, max_days=10)

    async def test_last_use_is_written_behind_the_request_and_once_a_minute(
        self, database: Database, identity: Identity, alice: Account
    ) -> None:
        token = await make_token(database, alice)

        async def used_at() -> object:
            await identity.credentials.find_holder(token)
            await identity.usage.flush()
            async with database.read() as session:
                return await session.scalar(select(PersonalAccessToken.last_used_at))

        first = await used_at()
        assert first is not None
        assert await used_at() == first
        with time_machine.travel(utc_now() + timedelta(minutes=1, seconds=1)):
            assert await used_at() != first


class TestSessions:
    async def test_claims_are_what_clients_validate(
        self, database: Database, identity: Identity, alice: Account
    ) -> None:
        claims = await identity.keys.verify(await log_in(database, identity, alice))
        assert claims["user"] == {"_id": alice.id, "name": "alice", "nickname": "alice", "status": "active"}
        assert (claims["iss"], claims["sub"]) == ("http://hub.test", alice.id)
        assert claims["nbf"] < claims["iat"] < claims["exp"]

    async def test_holder(self, database: Database, identity: Identity, alice: Account) -> None:
        holder: Holder = await identity.credentials.find_holder(await log_in(database, identity, alice))
        assert (holder.account_id, holder.client, holder.scopes) == (alice.id, SessionClient.COMMAND_LINE, ALL_SCOPES)

    async def test_ended_one_is_refused_at_once(self, database: Database, identity: Identity, alice: Account) -> None:
        token, other = await log_in(database, identity, alice), await log_in(database, identity, alice)
        holder = await identity.credentials.find_holder(token)
        async with database.write() as session:
            await end_session(session, holder.credential_id, account_id=alice.id)
        with pytest.raises(CredentialInvalid):
            await identity.credentials.find_holder(token)
        await identity.credentials.find_holder(other)
        async with database.read() as session:
            assert len(await list_sessions(session, alice.id)) == 1

    async def test_nobody_ends_a_stranger_s(self, database: Database, identity: Identity, alice: Account) -> None:
        token = await log_in(database, identity, alice)
        holder = await identity.credentials.find_holder(token)
        async with database.write() as session:
            await end_session(session, holder.credential_id, account_id="f" * 32)
            await end_other_sessions(session, account_id="f" * 32, keep=None)
        await identity.credentials.find_holder(token)

    async def test_expiry(self, database: Database, identity: Identity, alice: Account) -> None:
        token = await log_in(database, identity, alice, days=1)
        with time_machine.travel(utc_now() + timedelta(days=1, seconds=2)), pytest.raises(CredentialInvalid):
            await identity.credentials.find_holder(token)

    async def test_changed_or_foreign_signature(self, database: Database, identity: Identity, alice: Account) -> None:
        head, body, signature = (await log_in(database, identity, alice)).split(".")
        forged = Keyring(database)
        forged._signing = ECKey.import_key(new_session_key().secret)
        stolen_claims = await identity.keys.verify(f"{head}.{body}.{signature}")
        for bad in (
            f"{head}.{body}.{signature[::-1]}",
            f"{head}.{body}.",
            forged.sign(stolen_claims),
            "eyJhbGciOiJub25lIn0.e30.",
            "eyJhbGciOiJub25lIiwia2lkIjoieCJ9." + body + ".",
            "a.b.c",
            "x" * 5000,
            "",
        ):
            with pytest.raises(CredentialInvalid):
                await identity.credentials.find_holder(bad)


class TestKeys:
    async def test_restart_finds_the_same_keys(self, database: Database) -> None:
        first, second = await Keyring.open(database), await Keyring.open(database)
        assert first.url_secret == second.url_secret
        assert len(first.url_secret) == 32
        assert await first.jwks() == await second.jwks()

    async def test_replicas_that_start_together_make_one_pair(self, database: Database) -> None:
        keyrings = await asyncio.gather(*(Keyring.open(database) for _ in range(4)))
        assert len({keyring.url_secret for keyring in keyrings}) == 1
        assert len((await keyrings[0].jwks())["keys"]) == 1

    async def test_published_keys_hold_no_secret(self, database: Database) -> None:
        [key] = (await (await Keyring.open(database)).jwks())["keys"]
        assert "d" not in key
        assert (key["alg"], key["use"], key["crv"]) == ("ES256", "sig", "P-256")
        assert key["kid"]

    async def test_retired_key_stays_published_and_verifies_what_it_signed(
        self, database: Database, identity: Identity, alice: Account
    ) -> None:
        token = await log_in(database, identity, alice)
        async with database.write() as session:
            await session.execute(update(HubKey).where(HubKey.purpose == "session").values(retired_at=utc_now()))
        later = await Keyring.open(database)
        kids = [key["kid"] for key in (await later.jwks())["keys"]]
        assert len(set(kids)) == 2
        await later.verify(token)
        new = later.sign(await later.verify(token))
        assert new.split(".")[0] != token.split(".")[0]

    async def test_key_of_a_newer_replica_is_found(self, database: Database, identity: Identity) -> None:
        async with database.write() as session:
            await session.execute(update(HubKey).where(HubKey.purpose == "session").values(retired_at=utc_now()))
        newer = await Keyring.open(database)
        now = int(utc_now().timestamp())
        token = newer.sign({"sub": "a", "sid": "b", "iat": now, "nbf": now, "exp": now + 60})
        identity.keys._loaded_at = float("-inf")  # the last look is long ago
        assert (await identity.keys.verify(token))["sid"] == "b"


class TestLoginFlow:
    async def begin(self, database: Database, **options: LoginDelivery) -> login_flow.BegunLogin:
        async with database.write() as session:
            return await login_flow.begin(session, client_address="10.0.0.1", **options)

    async def confirm(self, database: Database, begun: login_flow.BegunLogin, account: Account) -> None:
        async with database.write() as session:
            await login_flow.confirm(session, begun.request_id, account_id=account.id)

    async def collect(self, database: Database, begun: login_flow.BegunLogin) -> login_flow.LoginCode | None:
        async with database.write() as session:
            return await login_flow.collect_code(session, begun)

    async def grant(self, database: Database, code: str, state: str) -> Account:
        async with database.write() as session:
            return await login_flow.grant(session, code=code, state=state)

    async def test_confirmed_login_gives_the_account_once(self, database: Database, alice: Account) -> None:
        begun = await self.begin(database)
        assert await self.collect(database, begun) is None, "nobody has confirmed yet"
        await self.confirm(database, begun, alice)
        code = await self.collect(database, begun)
        assert code is not None
        assert await self.collect(database, begun) is None, "a code is given once"
        assert (await self.grant(database, code.code, code.state)).id == alice.id
        with pytest.raises(CredentialInvalid):
            await self.grant(database, code.code, code.state)

    async def test_code_is_bound_to_its_state(self, database: Database, alice: Account) -> None:
        one, two = await self.begin(database), await self.begin(database)
        await self.confirm(database, one, alice)
        code = await self.collect(database, one)
        assert code is not None
        for wrong_code, wrong_state in ((code.code, two.state), (code.code, ""), ("", code.state), (two.state, "")):
            with pytest.raises(CredentialInvalid):
                await self.grant(database, wrong_code, wrong_state)

    async def test_only_the_stream_that_began_collects(self, database: Database, alice: Account) -> None:
        begun, other = await self.begin(database), await self.begin(database)
        await self.confirm(database, begun, alice)
        stolen = login_flow.BegunLogin(begun.request_id, other.state, begun.expires_at)
        assert await self.collect(database, stolen) is None

    async def test_decision_is_made_once(self, database: Database, alice: Account) -> None:
        begun = await self.begin(database)
        async with database.write() as session:
            await login_flow.refuse(session, begun.request_id)
        with pytest.raises(NotFound):
            await self.confirm(database, begun, alice)
        assert await self.collect(database, begun) is None
        async with database.read() as session:
            with pytest.raises(NotFound):
                await login_flow.find_pending(session, begun.request_id)

    async def test_request_lives_ten_minutes(self, database: Database, alice: Account) -> None:
        begun = await self.begin(database)
        with time_machine.travel(utc_now() + timedelta(minutes=10, seconds=1)), pytest.raises(NotFound):
            await self.confirm(database, begun, alice)

    async def test_code_lives_a_minute(self, database: Database, alice: Account) -> None:
        begun = await self.begin(database)
        await self.confirm(database, begun, alice)
        code = await self.collect(database, begun)
        assert code is not None
        with time_machine.travel(utc_now() + timedelta(seconds=61)), pytest.raises(CredentialInvalid):
            await self.grant(database, code.code, code.state)

    async def test_form_delivery(self, database: Database, alice: Account) -> None:
        begun = await self.begin(database, delivery=LoginDelivery.FORM)
        await self.confirm(database, begun, alice)
        async with database.write() as session:
            code = await login_flow.collect_code_for_form(session, begun.request_id)
        assert (await self.grant(database, code.code, code.state)).id == alice.id

    async def test_stream_s_code_is_not_given_to_a_form(self, database: Database, alice: Account) -> None:
        begun = await self.begin(database)
        await self.confirm(database, begun, alice)
        with pytest.raises(NotFound):
            async with database.write() as session:
                await login_flow.collect_code_for_form(session, begun.request_id)

    async def test_two_grants_at_once_and_one_wins(self, database: Database, alice: Account) -> None:
        begun = await self.begin(database)
        await self.confirm(database, begun, alice)
        code = await self.collect(database, begun)
        assert code is not None
        both = [self.grant(database, code.code, code.state) for _ in range(2)]
        outcomes = await asyncio.gather(*both, return_exceptions=True)
        assert sorted(type(outcome).__name__ for outcome in outcomes) == ["Account", "CredentialInvalid"]

    async def test_decision_on_another_replica_wakes_the_stream(
        self, database: Database, identity: Identity, alice: Account
    ) -> None:
        begun = await self.begin(database)
        with identity.logins.watch(begun.request_id) as decided:
            await self.confirm(database, begun, alice)  # and nobody calls `hasten` in this process
            await decided.wait()

    async def test_shutdown_ends_the_waiting(self, database: Database, identity: Identity) -> None:
        begun = await self.begin(database)
        with identity.logins.watch(begun.request_id) as decided:
            await identity.logins.close()
            assert decided.is_set()
        with pytest.raises(Busy), identity.logins.watch(begun.request_id):
            pass


async def test_expired_sessions_are_cleared_at_the_next_login(
    database: Database, identity: Identity, alice: Account
) -> None:
    await log_in(database, identity, alice, days=1)
    with time_machine.travel(utc_now() + timedelta(days=2)):
        await log_in(database, identity, alice)
    async with database.read() as session:
        assert await session.scalar(select(func.count()).select_from(LoginSession)) == 1
