"""What happens to addresses on the homeserver reaches the identity server, in whatever state it is."""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import psutil
import pytest

from tests.synapse.module.homeserver import ModuleSynapse, TrustingServer
from tests.synapse.waiting import eventually

# What a request of a user may take while the identity server is not there: far less than its time limits.
PROMPT_S = 2


@contextmanager
def up(_synapse: ModuleSynapse, _identity: TrustingServer) -> Iterator[None]:
    yield


@contextmanager
def down(_synapse: ModuleSynapse, identity: TrustingServer) -> Iterator[None]:
    with identity.unreachable():
        yield


@contextmanager
def slow(synapse: ModuleSynapse, identity: TrustingServer) -> Iterator[None]:
    """It takes connections, and answers when it is too late."""
    processes = [
        identity.process.process.pid,
        *(child.pid for child in psutil.Process(identity.process.process.pid).children()),
    ]
    for pid in processes:
        psutil.Process(pid).suspend()
    try:
        yield
        assert "no answer within 3 s" in eventually(lambda: synapse.status()["outage"], "an outage")["reason"]
    finally:
        for pid in reversed(processes):
            psutil.Process(pid).resume()


@contextmanager
def restarting(_synapse: ModuleSynapse, identity: TrustingServer) -> Iterator[None]:
    assert identity.process.stop() == 0
    yield
    identity.process.start()


State = Callable[[ModuleSynapse, TrustingServer], AbstractContextManager[None]]


@contextmanager
def prompt() -> Iterator[None]:
    started_s = time.monotonic()
    yield
    assert time.monotonic() - started_s < PROMPT_S


@pytest.mark.parametrize("state", [up, down, slow, restarting])
def test_addresses_are_added_removed_moved_and_taken_from_the_deactivated(
    synapse: ModuleSynapse, identity: TrustingServer, address: str, number: str, state: State
) -> None:
    alice, bob, carol = (synapse.register(name) for name in ("alice", "bob", "carol"))
    moved, removed, left, brief = (f"{what}.{address}" for what in ("moved", "removed", "left", "brief"))
    synapse.give(alice, moved, removed)
    synapse.give(carol, left)
    account = alice.account_at(identity)
    eventually(lambda: account.lookup(left) == carol.user_id, "three addresses are published")
    synapse.wait_until_told()
    assert account.lookup(moved) == alice.user_id

    with state(synapse, identity):
        with prompt():
            synapse.give(alice, moved, address, number)
        with prompt():
            synapse.give(bob, moved)
        with prompt():
            synapse.give(alice, address, number, brief)
        with prompt():
            synapse.give(alice, address, number)
        with prompt():
            assert carol.deactivate()[0] == 200

    synapse.wait_until_told()
    found = {each: account.lookup(each) for each in (address, moved, removed, left, brief)}
    assert found == {address: alice.user_id, moved: bob.user_id, removed: None, left: None, brief: None}
