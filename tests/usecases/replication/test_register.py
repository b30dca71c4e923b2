"""What the register of every origin's claims does by itself: forgetting what has ended, and following a changed configuration."""

from typing import Any

from sqlalchemy import text

from sydent_py.bindings.register import FORGET_AT_ONCE, AddressRegister, Claim, Retraction
from sydent_py.database import Database
from sydent_py.identifiers import EMAIL, ThreePid
from tests.conftest import Launch
from tests.driver import Driver

ALICE = "alice@example.org"
OURS, THEIRS = "@ours:hs.test", "@theirs:hs.test"


def register_of(api: Driver) -> AddressRegister:
    return api.services.peering.registers.addresses


def claim(api: Driver, user_id: str, email: str = ALICE, **times: int) -> Claim:
    now_ms = api.clock.now_ms()
    return Claim(
        ThreePid(EMAIL, email), user_id, **{"ts": now_ms, "not_before": now_ms, "not_after": now_ms + 10**9, **times}
    )


def say(api: Driver, origin: str, *changes: Any) -> None:
    """Have an origin make claims, or take them back."""
    register = register_of(api)
    with api.services.database.begin() as db:
        register.lock(db, *(change.threepid for change in changes))
        register.apply(db, origin, list(changes))


def owners(api: Driver, *emails: str) -> dict[str, str]:
    return api.lookup(api.register("@reader:hs.test"), *(emails or (ALICE,)))


def claims(database: Database) -> int:
    with database.autocommit() as db:
        return int(db.execute(text("SELECT count(*) FROM bindings")).scalar_one())


def test_a_claim_that_has_ended_is_forgotten_and_an_older_one_of_another_origin_is_answered(api: Driver) -> None:
    now_ms = api.clock.now_ms()
    say(api, "one.test", claim(api, OURS))
    say(api, "two.test", claim(api, THEIRS, ts=now_ms + 1, not_after=now_ms + 60_000))
    assert owners(api) == {ALICE: THEIRS}
    api.clock.advance(59.999)
    register_of(api).forget_expired(api.services.database)
    assert (owners(api), claims(api.services.database)) == ({ALICE: THEIRS}, 2)
    api.clock.advance(0.001)
    register_of(api).forget_expired(api.services.database)
    assert (owners(api), claims(api.services.database)) == ({ALICE: OURS}, 1)


def test_what_has_ended_is_forgotten_whatever_the_number_and_the_origins(api: Driver) -> None:
    ends = {"not_after": api.clock.now_ms() + 1000}
    emails = [f"u{number}@example.org" for number in range(FORGET_AT_ONCE + 1)]
    say(api, "one.test", *(claim(api, OURS, email, **ends) for email in emails))
    say(api, "two.test", claim(api, THEIRS, emails[0], **ends), claim(api, THEIRS))
    api.clock.advance(1)
    register_of(api).forget_expired(api.services.database)
    assert claims(api.services.database) == 1
    assert owners(api, ALICE, emails[0], emails[-1]) == {ALICE: THEIRS}


def test_another_preference_in_the_configuration_counts_for_what_was_said_before(launch: Launch) -> None:
    api = launch()
    say(api, "id.test", claim(api, OURS))
    say(api, "two.test", claim(api, THEIRS, ts=api.clock.now_ms() + 1))
    others = [f"u{number}@example.org" for number in range(FORGET_AT_ONCE + 1)]
    for origin, user_id, ts in (("id.test", OURS, 1), ("two.test", THEIRS, 2)):
        say(api, origin, *(claim(api, user_id, email, ts=ts) for email in others))
    for prefer, user_id in (("local", OURS), ("newest", THEIRS)):
        api = launch(replication={"prefer": prefer})
        before = owners(api, ALICE, *others)
        assert set(before.values()) == {OURS, THEIRS} - {user_id}
        register_of(api).settle(api.services.database)
        assert owners(api, ALICE, *others) == dict.fromkeys((ALICE, *others), user_id)


def test_what_nobody_disputes_is_settled_already(api: Driver) -> None:
    say(api, "two.test", claim(api, THEIRS))
    with api.services.database.begin() as db:
        db.execute(text("DELETE FROM directory"))
    register_of(api).settle(api.services.database)
    assert owners(api) == {}
    say(api, "two.test", Retraction(ThreePid(EMAIL, ALICE)))
    assert claims(api.services.database) == 0
