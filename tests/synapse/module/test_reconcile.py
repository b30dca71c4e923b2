"""What was there before the module, what was lost on the way, and what only one of the two servers knows."""

from tests.synapse.module.homeserver import ModuleSynapse, TrustingServer
from tests.synapse.person import Person
from tests.synapse.waiting import eventually


def test_drift_is_repaired_in_both_directions(
    synapse: ModuleSynapse, identity: TrustingServer, alice: Person, bob: Person, address: str
) -> None:
    kept, lost, extra, stolen = (f"{what}.{address}" for what in ("kept", "lost", "extra", "stolen"))
    synapse.give(alice, kept, lost, stolen)
    synapse.wait_until_told()
    account = alice.account_at(identity)
    assert synapse.reconcile()["lost"] == 0
    identity.change_for(synapse, "unbind", lost, alice.user_id)
    identity.change_for(synapse, "bind", extra, bob.user_id)
    identity.change_for(synapse, "bind", stolen, bob.user_id)
    found = synapse.reconcile()
    assert (found["lost"], found["extra"]) == (2, 2)
    assert {each: account.lookup(each) for each in (kept, lost, stolen)} == dict.fromkeys(
        (kept, lost, stolen), alice.user_id
    )
    assert account.lookup(extra) is None
    found = synapse.reconcile()
    assert (found["lost"], found["extra"]) == (0, 0)


def test_addresses_in_another_spelling_than_the_identity_servers_are_no_drift(
    synapse: ModuleSynapse, identity: TrustingServer, alice: Person, address: str
) -> None:
    spelled = f"{address.partition('@')[0]}@straße.example"
    synapse.give(alice, spelled)
    synapse.wait_until_told()
    assert alice.account_at(identity).lookup(f"{address.partition('@')[0]}@xn--strae-oqa.example") == alice.user_id
    found = synapse.reconcile()
    assert (found["lost"], found["extra"]) == (0, 0)


def test_what_no_callback_has_told_is_found(
    synapse: ModuleSynapse, identity: TrustingServer, alice: Person, bob: Person, address: str
) -> None:
    """Synapse may be killed after it has written an address, and before it has called us."""
    gone, new = f"gone.{address}", f"new.{address}"
    synapse.give(alice, gone)
    synapse.wait_until_told()
    synapse.in_database(
        lambda db: db.execute(
            "UPDATE user_threepids SET address = ?, user_id = ? WHERE address = ?", (new, bob.user_id, gone)
        )
    )
    synapse.reconcile()
    account = alice.account_at(identity)
    assert (account.lookup(gone), account.lookup(new)) == (None, bob.user_id)


def test_a_user_decides_whether_their_addresses_are_published(
    synapse: ModuleSynapse, identity: TrustingServer, alice: Person, address: str
) -> None:
    synapse.give(alice, address)
    account = alice.account_at(identity)
    eventually(lambda: account.lookup(address) == alice.user_id, "the address is published")
    choice = f"/user/{alice.user_id}/account_data/org.sydent_py.consent"
    alice.do("PUT", choice, {"publish": False})
    eventually(lambda: account.lookup(address) is None, "the address is withdrawn")
    other = f"other.{address}"
    synapse.give(alice, address, other)
    synapse.reconcile()
    assert (account.lookup(address), account.lookup(other)) == (None, None)
    alice.do("PUT", choice, {"publish": True})
    eventually(lambda: account.lookup(address) == account.lookup(other) == alice.user_id, "both are published")


def test_a_dry_run_counts_and_sends_nothing(
    synapse: ModuleSynapse, identity: TrustingServer, alice: Person, bob: Person, address: str
) -> None:
    old, new = f"old.{address}", f"new.{address}"
    synapse.give(alice, old)
    synapse.wait_until_told()
    settings = synapse.module
    synapse.configure({**settings, "publish": {**settings["publish"], "dry_run": True}})
    synapse.restart()
    synapse.give(bob, new, old)
    assert synapse.reconcile()["dry_run"]
    backfill = synapse.status()["backfill"]
    assert (backfill["dry_run"], backfill["to_publish"], backfill["to_withdraw"]) == (True, 2, 1)
    account = alice.account_at(identity)
    assert (account.lookup(new), account.lookup(old)) == (None, alice.user_id)
    synapse.configure(settings)
    synapse.restart()
    eventually(lambda: account.lookup(new) == account.lookup(old) == bob.user_id, "what was counted is sent")
