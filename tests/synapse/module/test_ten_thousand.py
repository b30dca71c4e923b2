"""A homeserver with many users gets the module, and is killed while it tells the identity server of them."""

import sqlite3

import pytest

from tests.synapse.module.homeserver import ModuleSynapse, TrustingServer
from tests.synapse.person import CLIENT
from tests.synapse.waiting import eventually

MANY = 10_000


def add_users(connection: sqlite3.Connection, synapse: ModuleSynapse) -> None:
    """As many users as a homeserver has before it gets the module."""
    numbers = range(MANY)
    users = [(f"@old{number}:{synapse.name}",) for number in numbers]
    connection.executemany("INSERT INTO users (name, creation_ts, is_guest, deactivated) VALUES (?, 0, 0, 0)", users)
    threepids = [(f"@old{number}:{synapse.name}", f"old{number}@example.org") for number in numbers]
    connection.executemany(
        "INSERT INTO user_threepids (user_id, medium, address, validated_at, added_at) VALUES (?, 'email', ?, 0, 0)",
        threepids,
    )


@pytest.mark.timeout(400)
def test_ten_thousand_addresses_are_published_though_synapse_is_killed_on_the_way(
    synapse: ModuleSynapse, identity: TrustingServer
) -> None:
    settings = synapse.module
    synapse.stop()
    synapse.configure({**settings, "invites": {}, "timeout_s": 20})
    synapse.in_database(lambda db: add_users(db, synapse))
    with identity.unreachable():
        synapse.launch()
        synapse.wait_until_up()
        eventually(lambda: synapse.status()["queue"]["waiting"] >= MANY, "a full queue")
        status = synapse.status()
        assert (status["backfill"]["to_publish"], status["published"] < MANY) == (MANY, True)
        assert "Check that it runs" in status["outage"]["advice"]
        assert synapse.request("GET", f"{CLIENT}/account/whoami", synapse.admin.access_token)[0] == 200
        synapse.kill()
    synapse.launch()
    synapse.wait_until_up()

    def progress() -> bool:
        status = synapse.status()
        return 0 < status["queue"]["waiting"] < MANY and status["published"] > 0

    eventually(progress, "the queue is emptied step by step")
    synapse.kill()
    synapse.launch()
    synapse.wait_until_up()
    synapse.wait_until_told(within_s=240)
    status = synapse.status()
    assert (status["published"] >= MANY, status["outage"]) == (True, {})
    account = synapse.admin.account_at(identity)
    for number in (0, 1234, MANY - 1):
        assert account.lookup(f"old{number}@example.org") == f"@old{number}:{synapse.name}"
    found = synapse.reconcile()
    assert (found["lost"], found["extra"], found["count"] >= MANY) == (0, 0, True)
    synapse.configure(settings)
