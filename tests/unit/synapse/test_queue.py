"""The queue: of all that happened, the identity server is told what matters, and never something that is not so any more."""

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sydent_py.synapse import queue, tables
from sydent_py.synapse.binding import Binding
from sydent_py.synapse.queue import Change
from tests.unit.synapse.conftest import PostgresTxn

ALICE = Binding("email", "a@example.org", "@alice:hs")
BOB = replace(ALICE, user_id="@bob:hs")
NOW = 1_000_000


def waiting(txn: Any, now_ms: int = NOW) -> list[tuple[str, Binding]]:
    return [(change.action, change.binding) for change in queue.due(txn, now_ms)]


def deliver(txn: Any, now_ms: int = NOW) -> list[Change]:
    changes = queue.due(txn, now_ms)
    for change in changes:
        queue.leaves(txn, change)
        queue.done(txn, change, change.binding.address)
    return changes


def test_an_address_is_published_once(txn: Any) -> None:
    queue.publish(txn, NOW, ALICE)
    queue.publish(txn, NOW, ALICE)
    assert waiting(txn) == [("bind", ALICE)]
    deliver(txn)
    assert (waiting(txn), queue.is_empty(txn), queue.known(txn).published) == ([], True, 1)


def test_what_was_never_told_is_never_told(txn: Any) -> None:
    queue.publish(txn, NOW, ALICE)
    queue.withdraw(txn, NOW, ALICE)
    assert (waiting(txn), queue.is_empty(txn), queue.has(txn, ALICE)) == ([], True, False)


def test_a_request_that_may_have_arrived_is_taken_back(txn: Any) -> None:
    queue.publish(txn, NOW, ALICE)
    [change] = queue.due(txn, NOW)
    queue.leaves(txn, change)
    queue.withdraw(txn, NOW, ALICE)
    queue.done(txn, change, change.binding.address)  # an answer to the older one changes nothing
    assert waiting(txn) == [("unbind", ALICE)]
    deliver(txn)
    assert not queue.has(txn, ALICE)


def test_an_address_that_moves_is_taken_from_the_one_before_it_is_given_to_the_other(txn: Any) -> None:
    queue.publish(txn, NOW, ALICE)
    deliver(txn)
    queue.publish(txn, NOW, BOB)
    assert waiting(txn) == [("unbind", ALICE), ("bind", BOB)]
    queue.withdraw(txn, NOW, BOB)
    assert waiting(txn) == [("unbind", ALICE)]


def test_all_that_a_user_has_is_taken_back(txn: Any) -> None:
    other = replace(ALICE, address="b@example.org")
    for each in (ALICE, other):
        queue.publish(txn, NOW, each)
    deliver(txn)
    assert queue.withdraw_user(txn, NOW, ALICE.user_id) == 2
    assert waiting(txn) == [("unbind", ALICE), ("unbind", other)]
    assert queue.withdraw_user(txn, NOW, BOB.user_id) == 0


def test_a_superseded_change_is_sent_again_as_a_new_one(txn: Any) -> None:
    queue.publish(txn, NOW, ALICE)
    [old] = queue.due(txn, NOW)
    queue.superseded(txn, old, NOW + 5, pause_ms=100)
    assert waiting(txn, NOW + 5) == []
    [new] = queue.due(txn, NOW + 105)
    assert (new.ts, new.attempts) == (NOW + 5, 1)
    assert new.seq > old.seq


def test_what_is_refused_waits_until_it_is_wanted_again(txn: Any) -> None:
    queue.publish(txn, NOW, ALICE)
    [change] = queue.due(txn, NOW)
    queue.refused(txn, change, "M_FORBIDDEN", "M_FORBIDDEN: no")
    assert (queue.is_empty(txn), queue.known(txn)) == (True, queue.Known(published=0, refused=1))
    assert queue.refusals(txn, 5) == [("M_FORBIDDEN: no", ALICE.user_id, 1)]
    assert queue.retry_refused(txn) == 1
    assert waiting(txn) == [("bind", ALICE)]


def test_a_withdrawal_that_is_refused_for_good_is_forgotten(txn: Any) -> None:
    queue.withdraw(txn, NOW, ALICE)
    [change] = queue.due(txn, NOW)
    queue.refused(txn, change, queue.CLOCK_IS_WRONG, "M_INVALID_PARAM: from the future")
    assert queue.has(txn, ALICE)
    queue.retry_refused(txn)
    queue.refused(txn, change, "M_INVALID_EMAIL", "M_INVALID_EMAIL: no address")
    assert not queue.has(txn, ALICE)


def test_changes_are_in_order_though_clocks_are_not(txn: Any) -> None:
    """Workers' clocks differ by less than minutes. One that was set back by more is believed."""
    queue.publish(txn, NOW, ALICE)
    queue.publish(txn, NOW - 1_000, replace(ALICE, address="b@example.org"))
    queue.publish(txn, NOW - 10_000_000, replace(ALICE, address="c@example.org"))
    changes = queue.due(txn, NOW)
    assert [change.ts for change in changes] == [NOW, NOW, NOW - 10_000_000]
    assert sorted(change.seq for change in changes) == [change.seq for change in changes]


def test_a_binding_that_was_lost_is_told_again_unless_it_has_changed(txn: Any) -> None:
    queue.publish(txn, NOW, ALICE)
    [change] = deliver(txn)
    assert queue.again(txn, NOW, ALICE, change.seq)
    assert waiting(txn) == [("bind", ALICE)]
    assert not queue.again(txn, NOW, ALICE, change.seq)


def test_a_limit_takes_the_oldest_first(txn: Any) -> None:
    addresses = [f"{number}@example.org" for number in range(5)]
    for address in addresses:
        queue.publish(txn, NOW, replace(ALICE, address=address))
    assert [change.binding.address for change in queue.due(txn, NOW, 3)] == addresses[:3]
    assert (queue.waiting(txn).count, queue.waiting(txn).oldest_ts) == (5, NOW)


@pytest.mark.parametrize("engine", ["postgresql"])
def test_workers_that_write_at_once_do_not_refuse_each_other(empty_database_url: str) -> None:
    """On PostgreSQL as Synapse uses it, where each works on a snapshot; SQLite has no workers."""
    url = empty_database_url.replace("+psycopg", "")
    with psycopg.connect(url) as connection:
        tables.create(PostgresTxn(connection.cursor()))

    def work(number: int) -> None:
        with psycopg.connect(url) as connection:
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            for turn in range(20):
                with connection.transaction():
                    txn = PostgresTxn(connection.cursor())
                    tables.lock(txn)
                    queue.publish(txn, NOW, replace(ALICE, user_id=f"@{number}:hs", address=f"{turn}@example.org"))

    with ThreadPoolExecutor(4) as workers:
        list(workers.map(work, range(4)))
    with psycopg.connect(url) as connection:
        changes = queue.due(PostgresTxn(connection.cursor()), NOW)
    assert len(changes) == 20  # each address belongs to one user, the last who was given it
    assert len({change.seq for change in changes}) == 20


class IdentityServer:
    """Of each address the newest change wins; a change that is not newer than the newest is superseded."""

    def __init__(self) -> None:
        self.users: dict[str, str] = {}
        self._newest: dict[str, tuple[int, int]] = {}

    def apply(self, change: Change) -> str:
        address = change.binding.address
        if (change.ts, change.seq) <= self._newest.get(address, (0, 0)):
            return "superseded"
        self._newest[address] = (change.ts, change.seq)
        if change.action == "bind":
            self.users[address] = change.binding.user_id
        elif self.users.get(address) == change.binding.user_id:
            del self.users[address]
        return "done"


class World:
    """A homeserver, its queue, and the way to the identity server, on which anything may be lost."""

    def __init__(self) -> None:
        self.txn = sqlite3.connect(":memory:").cursor()
        tables.create(self.txn)
        self.server = IdentityServer()
        self.owners: dict[str, str] = {}
        self.now_ms = NOW

    def add(self, user_id: str, address: str) -> None:
        self.owners[address] = user_id
        queue.publish(self.txn, self.now_ms, Binding("email", address, user_id))

    def remove(self, user_id: str, address: str) -> None:
        if self.owners.get(address) == user_id:
            del self.owners[address]
            queue.withdraw(self.txn, self.now_ms, Binding("email", address, user_id))

    def deactivate(self, user_id: str, _address: str) -> None:
        self.owners = {address: owner for address, owner in self.owners.items() if owner != user_id}
        queue.withdraw_user(self.txn, self.now_ms, user_id)

    def send(self, count: int, lost: str) -> None:
        changes = queue.due(self.txn, self.now_ms, count)
        for change in changes:
            queue.leaves(self.txn, change)
        for change in [] if lost == "request" else changes:
            if change.action == "bind":  # nobody is published who does not have the address any more
                assert self.owners.get(change.binding.address) == change.binding.user_id
            result = self.server.apply(change)
            if lost != "answer" and result == "done":
                queue.done(self.txn, change, change.binding.address)
            elif lost != "answer":
                queue.superseded(self.txn, change, self.now_ms, 0)


USERS, ADDRESSES = st.sampled_from(["@a:hs", "@b:hs", "@c:hs"]), st.sampled_from(["1@example.org", "2@example.org"])
EVENTS = st.one_of(
    st.tuples(st.sampled_from([World.add, World.remove, World.deactivate]), USERS, ADDRESSES),
    st.tuples(st.just(World.send), st.integers(1, 3), st.sampled_from(["nothing", "request", "answer"])),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(EVENTS, max_size=40))
def test_whatever_is_lost_on_the_way_both_end_with_the_same(events: list[tuple[Any, Any, Any]]) -> None:
    world = World()
    for event, *arguments in events:
        world.now_ms += 1
        event(world, *arguments)
    for _ in range(10):
        world.now_ms += 1
        world.send(queue.MAX_BATCH, "nothing")
    assert queue.is_empty(world.txn)
    assert world.server.users == world.owners
