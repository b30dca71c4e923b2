"""What is promised holds while homeservers go away, keys change and processes are killed."""

from contextlib import suppress

import pytest

from tests.synapse.homeserver import Synapse
from tests.synapse.identity import PublicIdentityServer
from tests.synapse.waiting import eventually, throughout


def test_invites_from_before_and_after_a_change_of_the_signing_key_are_joined(
    alpha: Synapse, beta: Synapse, own_identity: PublicIdentityServer, address: str
) -> None:
    alice, bob = alpha.register("alice"), beta.register("bob")
    inviting, account = alice.account_at(own_identity), bob.account_at(own_identity)
    # The homeserver remembers the old key, and nothing makes it ask again but a signature by a new one.
    first, before, after = (alice.create_room() for _ in range(3))
    alice.invite_address(first, f"other.{address}", inviting)
    bob.bind(account.prove(f"other.{address}"), account)
    eventually(lambda: alice.has_invited(bob, first), "bob is invited to the first room")

    alice.invite_address(before, address, inviting)
    signed_by_old = len(eventually(lambda: beta.notified(own_identity), "a signed notification"))
    own_identity.add_signing_key()
    alice.invite_address(after, address, inviting)
    assert alice.public_keys(before).isdisjoint(alice.public_keys(after))

    bob.bind(account.prove(address), account)
    for room in (before, after):
        eventually(lambda room=room: alice.has_invited(bob, room), "bob is invited to both")
    assert set(eventually(lambda: beta.notified(own_identity)[signed_by_old:], "one signed by the new key")) == {200}
    for room in (before, after):
        bob.join(room)
        assert alice.members(room)[bob.user_id] == "join"


@pytest.mark.parametrize("whose", ["the inviter's", "the invitee's"])
def test_an_invite_arrives_after_a_homeserver_was_down(
    homeservers: tuple[Synapse, Synapse], own_identity: PublicIdentityServer, address: str, whose: str
) -> None:
    alice, bob = homeservers[0].register("alice"), homeservers[1].register("bob")
    room = alice.create_room()
    alice.invite_address(room, address, alice.account_at(own_identity))
    account = bob.account_at(own_identity)
    proof = account.prove(address)
    with homeservers[whose == "the invitee's"].down():
        account.bind(proof, bob.user_id)
        assert account.lookup(address) == bob.user_id
        eventually(lambda: own_identity.events("outbox.postponed"), "a delivery that fails")
    eventually(lambda: alice.has_invited(bob, room), "bob is invited")
    bob.join(room)
    assert alice.times_invited(room, bob.user_id) == 1


def test_who_has_joined_stays_where_the_inviters_homeserver_was_slow(
    alpha: Synapse, beta: Synapse, own_identity: PublicIdentityServer, address: str
) -> None:
    """An invite that arrives twice would make an invited user of one who has joined."""
    alice, bob = alpha.register("alice"), beta.register("bob")
    room = alice.create_room()
    alice.invite_address(room, address, alice.account_at(own_identity))
    account = bob.account_at(own_identity)
    proof = account.prove(address)
    with alpha.frozen():
        account.bind(proof, bob.user_id)
        with suppress(AssertionError):  # whoever waits longer than that for an answer has nothing to try again
            eventually(lambda: own_identity.events("outbox.postponed"), "a delivery that fails", within_s=12)
    eventually(lambda: alice.has_invited(bob, room), "bob is invited")
    bob.join(room)
    throughout(lambda: alice.members(room)[bob.user_id] == "join", "bob is not in the room any more")
    assert alice.times_invited(room, bob.user_id) == 1


def test_a_binding_is_taken_back_by_a_homeserver_whose_key_has_changed(
    beta: Synapse, identity: PublicIdentityServer, address: str
) -> None:
    bob = beta.register("bob")
    account = bob.account_at(identity)
    before, after = f"before.{address}", f"after.{address}"
    for each in (before, after):
        bob.bind(account.prove(each), account)
    assert bob.unbind(before, account) == "success"
    beta.change_signing_key()
    assert bob.unbind(after, account) == "success"
    assert account.lookup(after) is None


def test_a_worker_killed_between_bind_and_delivery_loses_nothing(
    alpha: Synapse, beta: Synapse, own_identity: PublicIdentityServer, address: str
) -> None:
    alice, bob = alpha.register("alice"), beta.register("bob")
    room = alice.create_room()
    alice.invite_address(room, address, alice.account_at(own_identity))
    own_identity.mails.link(address, "signurl=")
    account = bob.account_at(own_identity)
    proof = account.prove(address)
    worker = own_identity.worker()
    worker.suspend()
    account.bind(proof, bob.user_id)
    worker.kill()
    eventually(lambda: alice.has_invited(bob, room), "bob is invited")
    bob.join(room)
    assert alice.times_invited(room, bob.user_id) == 1
