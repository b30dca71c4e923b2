"""What a trusted homeserver binds and unbinds, with what becomes of it in the database, the log and lookups."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from signedjson.key import decode_verify_key_bytes
from signedjson.sign import verify_signed_json
from sqlalchemy import text
from unpaddedbase64 import decode_base64

from sydent_py.homeservers import changes
from tests.conftest import Launch
from tests.driver import OWN, Driver, refusal
from tests.fakes.companion import Companion, item
from tests.usecases.homeservers.conftest import TRUSTED
from tests.usecases.test_at_rest import everything

ALICE, BOB = "@alice:hs.test", "@bob:hs.test"
ADDRESS = "alice@example.org"


def owners(api: Driver, *emails: str) -> dict[str, str]:
    return api.lookup(api.register("@reader:hs.test"), *(emails or (ADDRESS,)))


def log_kinds(api: Driver) -> list[str]:
    with api.services.database.begin() as db:
        return list(db.execute(text("SELECT kind FROM log_pending ORDER BY id")).scalars())


def rows(api: Driver, table: str) -> int:
    with api.services.database.begin() as db:
        return int(db.execute(text(f"SELECT count(*) FROM {table}")).scalar_one())


def test_a_bind_is_an_association_like_any_other(api: Driver, companion: Companion) -> None:
    assert companion.results(item("bind", "Alice@EXAMPLE.org", ts=api.clock.now_ms())) == [
        {"status": "done", "address": ADDRESS}
    ]
    assert owners(api) == {ADDRESS: ALICE}
    assert log_kinds(api) == ["bind"]
    [mine] = api.request("GET", f"{OWN}/bindings/mine", api.register(ALICE)).get_json()["bindings"]
    assert (mine["address"], mine["origin"], mine["ts"]) == (ADDRESS, "id.test", api.clock.now_ms())
    assert mine["receipt"]["kind"] == "bind"


def test_a_phone_number_is_bound_in_its_canonical_form(api: Driver, companion: Companion) -> None:
    change = item("bind", "+44 7400 123456", medium="msisdn", ts=api.clock.now_ms())
    assert companion.results(change) == [{"status": "done", "address": "447400123456"}]


def test_an_unbind_removes_the_binding_and_says_so_in_the_log(api: Driver, companion: Companion) -> None:
    companion.bind(ADDRESS)
    assert companion.unbind(ADDRESS) == "done"
    assert owners(api) == {}
    assert log_kinds(api) == ["bind", "unbind"]
    assert rows(api, "bindings") == 0


def test_what_is_so_already_is_unchanged_and_not_logged_again(api: Driver, companion: Companion) -> None:
    assert companion.unbind(ADDRESS) == "unchanged"
    api.bound(ADDRESS, ALICE)
    assert [companion.bind(ADDRESS), companion.bind(ADDRESS)] == ["unchanged"] * 2
    assert log_kinds(api) == ["bind"]


def test_an_unbind_removes_nothing_of_another_user(api: Driver, companion: Companion) -> None:
    companion.bind(ADDRESS, BOB)
    assert companion.unbind(ADDRESS, ALICE) == "unchanged"
    assert owners(api) == {ADDRESS: BOB}


def test_an_address_moves_to_another_user_whose_it_is_then(api: Driver, companion: Companion) -> None:
    companion.bind(ADDRESS, ALICE)
    assert companion.bind(ADDRESS, BOB) == "done"
    assert owners(api) == {ADDRESS: BOB}
    assert log_kinds(api) == ["bind", "unbind", "bind"]


def test_an_old_bind_that_comes_after_the_unbind_changes_nothing(api: Driver, companion: Companion) -> None:
    now_ms = api.clock.now_ms()
    old = item("bind", ADDRESS, ts=now_ms, seq=1)
    assert companion.change(old, item("unbind", ADDRESS, ts=now_ms, seq=2)) == ["done", "done"]
    assert companion.change(old) == ["superseded"]
    api.clock.advance(7 * 86_400)
    api.services.forget_expired()
    assert companion.change(old, item("bind", "ALICE@example.org", BOB, ts=now_ms + 0, seq=0)) == ["superseded"] * 2
    assert owners(api) == {}
    assert log_kinds(api) == ["bind", "unbind"]


def test_of_one_millisecond_the_greater_number_is_newer(api: Driver, companion: Companion) -> None:
    now_ms = api.clock.now_ms()
    assert companion.change(item("bind", ADDRESS, BOB, ts=now_ms, seq=2)) == ["done"]
    assert companion.change(item("bind", ADDRESS, ALICE, ts=now_ms, seq=1)) == ["superseded"]
    assert companion.change(item("bind", ADDRESS, ALICE, ts=now_ms, seq=2)) == ["superseded"]
    assert companion.change(item("bind", ADDRESS, ALICE, ts=now_ms, seq=3)) == ["done"]


def test_what_changed_nothing_counts_as_the_newest_too(api: Driver, companion: Companion) -> None:
    now_ms = api.clock.now_ms()
    assert companion.change(item("unbind", ADDRESS, ts=now_ms, seq=2)) == ["unchanged"]
    assert companion.change(item("bind", ADDRESS, ts=now_ms, seq=1)) == ["superseded"]
    assert owners(api) == {}


def test_a_refused_change_counts_for_nothing(api: Driver, companion: Companion) -> None:
    ts = api.clock.now_ms()
    assert companion.change(item("unbind", ADDRESS, "@alice:other.test", ts=ts, seq=2)) == ["refused"]
    assert companion.change(item("bind", ADDRESS, ts=ts + 300_001, seq=2)) == ["refused"]
    assert companion.change(item("bind", ADDRESS, ts=ts, seq=1)) == ["done"]


def test_each_homeserver_has_a_newest_change_of_its_own(api: Driver, companion: Companion) -> None:
    other, ts = Companion(api, "other.test"), api.clock.now_ms()
    assert companion.change(item("bind", ADDRESS, ts=ts, seq=9)) == ["done"]
    assert other.change(item("bind", ADDRESS, "@a:other.test", ts=ts - 1, seq=1)) == ["done"]
    assert companion.change(item("unbind", ADDRESS, ts=ts, seq=10)) == ["unchanged"]
    assert owners(api) == {ADDRESS: "@a:other.test"}


def test_what_the_user_takes_back_stays_taken_back_by_old_changes_and_comes_back_with_new_ones(
    api: Driver, companion: Companion
) -> None:
    first = item("bind", ADDRESS, ts=api.clock.now_ms())
    companion.change(first)
    api.request("DELETE", f"{OWN}/bindings/email/{ADDRESS}", api.register(ALICE))
    assert companion.change(first) == ["superseded"]
    assert owners(api) == {}
    api.clock.advance(1)
    assert companion.bind(ADDRESS) == "done"
    assert owners(api) == {ADDRESS: ALICE}


def test_a_refused_change_leaves_the_others(api: Driver, companion: Companion) -> None:
    ts = api.clock.now_ms()
    results = companion.results(
        item("bind", "one@example.org", ts=ts),
        item("bind", "nonsense", ts=ts),
        item("bind", "two@example.org", "@eve:evil.test", ts=ts),
        item("bind", "three@example.org", ts=ts),
        {"action": "bind"},
        None,
        {**item("bind", "x@example.org", ts=ts), "seq": 1.5},
        item("bind", "12", medium="msisdn", ts=ts),
        item("bind", "x", medium="carrier pigeon", ts=ts),
        item("bind", "four@example.org", "four", ts=ts),
        item("move", "four@example.org", ts=ts),
        item("unbind", "four@example.org", ts=ts),
    )
    assert [(result["status"], result.get("errcode")) for result in results] == [
        ("done", None),
        ("refused", "M_INVALID_EMAIL"),
        ("refused", "M_FORBIDDEN"),
        ("done", None),
        ("refused", "M_MISSING_PARAMS"),
        ("refused", "M_BAD_JSON"),
        ("refused", "M_INVALID_PARAM"),
        ("refused", "M_INVALID_PHONE_NUMBER"),
        ("refused", "M_INVALID_PARAM"),
        ("refused", "M_INVALID_PARAM"),
        ("refused", "M_INVALID_PARAM"),
        ("unchanged", None),
    ]
    assert all(result["error"] for result in results if result["status"] == "refused")
    assert owners(api, "one@example.org", "two@example.org", "three@example.org") == {
        "one@example.org": ALICE,
        "three@example.org": ALICE,
    }


def test_waiting_invitations_are_told_of_and_where_there_are_none_nothing_is(api: Driver, companion: Companion) -> None:
    invite = api.invited(api.register("@inviter:hs.test"), ADDRESS, sender="@inviter:hs.test")
    companion.bind(ADDRESS)
    companion.bind("other@example.org")
    api.deliver()
    [(destination, content)] = api.homeservers.onbinds
    assert (destination, content["mxid"], content["address"]) == ("hs.test", ALICE, ADDRESS)
    assert [each["token"] for each in content["invites"]] == [invite["token"]]
    key = decode_verify_key_bytes("ed25519:0", decode_base64(invite["public_key"]))
    verify_signed_json(content["invites"][0]["signed"], "id.test", key)
    verify_signed_json({name: value for name, value in content.items() if name != "invites"}, "id.test", key)


class _FullDiskError(Exception):
    pass


class _Full:
    def __getattr__(self, _name: str) -> object:
        raise _FullDiskError


@pytest.mark.parametrize("part", ["log", "outbox"])
def test_a_change_is_whole_or_not_at_all(api: Driver, companion: Companion, part: str) -> None:
    api.invited(api.register("@inviter:hs.test"), "two@example.org", sender="@inviter:hs.test")
    whole = api.services.homeservers
    if part == "outbox":
        bind = replace(whole.change.bind, outbox=_Full())
    else:
        bind = replace(whole.change.bind, associations=replace(whole.change.bind.associations, log=_Full()))
    broken = replace(whole, change=replace(whole.change, bind=bind))
    ts = api.clock.now_ms()
    changes = [item("bind", "one@example.org", ts=ts), item("bind", "two@example.org", ts=ts)]
    object.__setattr__(api.services, "homeservers", broken)
    assert refusal(companion.ask("bindings", {"changes": changes})) == (500, "M_UNKNOWN")
    object.__setattr__(api.services, "homeservers", whole)
    tables = ("bindings", "directory", "log_pending", "outbox", "homeserver_changes")
    assert [rows(api, name) for name in tables] == [0] * 5
    assert companion.change(*changes) == ["done", "done"]


def test_batches_at_once_on_two_servers_end_in_the_newest_change(launch: Launch) -> None:
    servers = [Companion(launch(trusted_homeservers=TRUSTED)) for _ in range(2)]
    ts = servers[0].api.clock.now_ms()
    addresses = [f"p{number}@example.org" for number in range(6)]
    changes = [
        item("bind" if seq % 3 else "unbind", address, (ALICE, BOB)[seq % 2], ts=ts, seq=seq)
        for seq in range(1, 9)
        for address in addresses
    ]
    batches = [changes[start::8] if start % 2 else changes[start::8][::-1] for start in range(8)]

    def send(job: tuple[int, list[dict[str, Any]]]) -> list[str]:
        number, batch = job
        return servers[number % 2].change(*batch)

    with ThreadPoolExecutor(8) as pool:
        statuses = [status for batch in pool.map(send, enumerate(batches)) for status in batch]
    assert set(statuses) <= {"done", "unchanged", "superseded"}
    newest = dict.fromkeys(addresses, (ALICE, BOB)[8 % 2])
    for companion in servers:
        assert owners(companion.api, *addresses) == newest
        assert companion.listed() == sorted(newest.items())


def test_a_user_who_is_erased_leaves_nothing_readable_and_no_way_back_for_old_changes(
    api: Driver, companion: Companion
) -> None:
    old = item("bind", ADDRESS, ts=api.clock.now_ms())
    companion.change(old)
    token = api.register(ALICE)
    assert api.request("POST", f"{OWN}/account/erase", token).status_code == 200
    assert companion.listed() == []
    assert companion.change(old) == ["superseded"]
    dump = everything(api.services.database)
    assert ALICE not in dump
    assert "example.org" not in dump


def test_no_address_is_readable_in_the_database_or_in_the_logs(
    api: Driver, companion: Companion, capfd: pytest.CaptureFixture[str]
) -> None:
    companion.results(
        item("bind", "secret-one@example.org", ts=api.clock.now_ms()),
        item("bind", "secret two@example.org", ts=api.clock.now_ms()),
        item("unbind", "secret-three@example.org", ts=api.clock.now_ms()),
    )
    companion.answer("digest")
    companion.answer("lookup", addresses=[{"medium": "email", "address": "secret-four@example.org"}])
    companion.ask("invites", {"medium": "email", "address": "secret-five@example.org", "mxid": ALICE})
    assert "secret" not in everything(api.services.database) + "".join(capfd.readouterr())


def test_a_failure_in_the_middle_loses_nothing(api: Driver, companion: Companion, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(changes, "CHANGES_AT_ONCE", 2)
    api.invited(api.register("@inviter:hs.test"), "p3@example.org", sender="@inviter:hs.test")
    whole, ts = api.services.homeservers, api.clock.now_ms()
    batch = [item("bind", f"p{number}@example.org", ts=ts) for number in range(6)]
    broken = replace(whole, change=replace(whole.change, bind=replace(whole.change.bind, outbox=_Full())))
    object.__setattr__(api.services, "homeservers", broken)
    assert refusal(companion.ask("bindings", {"changes": batch})) == (500, "M_UNKNOWN")
    assert [rows(api, name) for name in ("bindings", "log_pending", "homeserver_changes")] == [2] * 3
    object.__setattr__(api.services, "homeservers", whole)
    assert companion.change(*batch) == ["superseded"] * 2 + ["done"] * 4
    assert len(companion.listed()) == 6


@pytest.mark.parametrize("engine", ["sqlite"])
def test_what_a_homeserver_has_made_is_found_by_an_index(api: Driver) -> None:
    plan = (
        "EXPLAIN QUERY PLAN SELECT address FROM bindings WHERE homeserver = ? AND address_index > ? ORDER BY address_index"
    )
    with api.services.database.begin() as db:
        [step] = db.exec_driver_sql(plan, ("hs.test", b"")).all()
    assert "SEARCH bindings USING INDEX ix_bindings_homeserver (homeserver=? AND address_index>?)" in step.detail


def test_the_database_does_not_show_that_two_homeservers_changed_one_address(api: Driver, companion: Companion) -> None:
    companion.unbind(ADDRESS)
    Companion(api, "other.test").unbind(ADDRESS, "@a:other.test")
    with api.services.database.begin() as db:
        indexes = db.execute(text("SELECT address_index FROM homeserver_changes")).scalars().all()
    assert len(set(indexes)) == 2
