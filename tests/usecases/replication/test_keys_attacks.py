"""What a peer that lies cannot do with the keys of users."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from unpaddedbase64 import encode_base64

from sydent_py.keys.chain import RESET_WAIT_MS
from sydent_py.keys.register import MAX_STATEMENTS
from tests.fakes.key_owner import DAY_MS, KeyOwner, master_key, public
from tests.key_owner import ALICE, Person, master_in, path
from tests.usecases.replication.conftest import EVIL, Federate, Hostile

OLD, NEW, THIRD = master_key("old"), master_key("new"), master_key("third")
DAY_S = DAY_MS // 1000

Spoil = Callable[[Callable[..., dict[str, Any]], dict[str, Any]], dict[str, Any]]


@pytest.fixture
def owner() -> KeyOwner:
    return KeyOwner(ALICE, f"{EVIL}/log")


def state(hostile: Hostile, owner: KeyOwner, op: str, *keys: Any) -> bytes:
    """A statement of a user in the peer's log: its commitment."""
    statement = owner.state(op, *keys, ts=hostile.federation.clock.now_ms())
    owner.made.append(statement)
    return hostile.evil.write(
        "key_revoke" if op == "revoke" else "key", hostile.evil.sign({"mxid": ALICE, "statement": statement})
    )


def shown(hostile: Hostile) -> str | None:
    """The key of the user, as the server shows it."""
    answer = hostile.server.driver.request("GET", path(ALICE))
    return master_in(answer.get_json()["origins"][EVIL]["current"]) if answer.status_code == 200 else None


def deep(levels: int) -> Any:
    value: Any = "bottom"
    for _ in range(levels):
        value = {"deeper": value}
    return value


def signed_by_more(written: dict[str, Any], name: str, **made: Any) -> dict[str, Any]:
    signatures = written["signatures"]
    return {**written, "signatures": {**signatures, name: {**signatures.get(name, {}), **made}}}


@pytest.mark.parametrize(
    "spoil",
    [
        lambda sign, content: sign({**content, "padding": "x" * 100_000}),
        lambda sign, content: {**sign(content), "unsigned": {"padding": 1}},
        lambda sign, content: signed_by_more(sign(content), "another.test", more="x" * 100_000),
        lambda sign, content: signed_by_more(sign(content), EVIL, more=deep(20)),
        lambda sign, content: signed_by_more(sign(content), EVIL, **{f"{number}": "x" for number in range(1000)}),
    ],
    ids=["padded", "unsigned", "signature_of_another", "nested_signature", "many_signatures"],
)
def test_what_is_shown_to_everybody_holds_nothing_beside_a_statement(
    hostile: Hostile, owner: KeyOwner, spoil: Spoil
) -> None:
    statement = owner.state("publish", OLD, ts=hostile.federation.clock.now_ms())
    hostile.evil.write("key", spoil(hostile.evil.sign, {"mxid": ALICE, "statement": statement}))
    hostile.look()
    assert ["more than a statement" in reason for _, _, reason in hostile.server.quarantine()] == [True]
    assert shown(hostile) is None


def test_an_erasure_is_not_dated_back_to_begin_anew_at_once(hostile: Hostile, owner: KeyOwner) -> None:
    commitment = state(hostile, owner, "publish", OLD)
    hostile.look()
    hostile.look(5 * DAY_S)
    now_ms = hostile.federation.clock.now_ms()
    erased = hostile.evil.sign({"erased": [encode_base64(commitment)], "ts": now_ms - 4 * DAY_MS})
    hostile.evil.write("erase", erased, now_ms - 4 * DAY_MS)
    owner.made.clear()
    state(hostile, owner, "publish", THIRD)
    hostile.look()
    assert shown(hostile) is None
    owner.made.clear()
    hostile.federation.clock.advance(RESET_WAIT_MS / 1000)
    state(hostile, owner, "publish", NEW)
    hostile.look()
    assert shown(hostile) == public(NEW)


def test_a_chain_does_not_grow_for_ever_and_can_always_be_revoked(hostile: Hostile, owner: KeyOwner) -> None:
    state(hostile, owner, "publish", OLD)
    for _ in range(MAX_STATEMENTS - 2):
        state(hostile, owner, "rotate", OLD)
    state(hostile, owner, "reset", NEW)
    state(hostile, owner, "cancel", OLD)  # which there has to be a place for
    hostile.look()
    assert (shown(hostile), hostile.server.quarantine()) == (public(OLD), [])
    history = hostile.server.driver.request("GET", path(ALICE, "/history")).get_json()
    assert [bool(entry["proof"]) for entry in history["origins"][EVIL]["entries"]] == [True] * (MAX_STATEMENTS + 1)
    for op in ("rotate", "reset"):
        state(hostile, owner, op, OLD)
        owner.made.pop()
    hostile.look()
    assert ["a chain has at most" in reason for _, _, reason in hostile.server.quarantine()] == [True, True]
    state(hostile, owner, "revoke", OLD)
    hostile.look()
    assert shown(hostile) is None


def test_who_publishes_where_another_origin_has_said_something_else_before_is_told(federate: Federate) -> None:
    federation = federate("a", "b")
    Person(federation["b"].driver).done("publish", THIRD)
    federation.settle()
    api = federation["a"].driver
    token = federation["a"].bind("alice@example.org", ALICE)
    Person(api, token=token).done("publish", OLD)
    api.deliver()
    subjects = [mail.subject for mail in api.mailbox.mails if "keys" in mail.subject]
    assert subjects == ["Identity servers disagree about your published keys"]


def test_a_log_may_be_followed_anew_while_it_is_read(federate: Federate) -> None:
    federation = federate("a", "b")
    Person(federation["a"].driver).done("publish", OLD)
    peering = federation["b"].driver.services.peering
    for _ in range(5):
        federation.clock.advance(31)
        with ThreadPoolExecutor(2) as pool:
            for each in [pool.submit(peering.follow["a.test"]), pool.submit(peering.resync, "a.test")]:
                each.result()
    federation.settle()
    answer = federation["b"].driver.request("GET", path(ALICE)).get_json()["origins"]["a.test"]
    assert master_in(answer["current"]) == public(OLD)
    assert answer["current"]["proof"]
    assert federation["b"].quarantine() == []
