"""Somebody is invited by an address that is bound to nobody yet, proves that it is theirs, and joins."""

import json
from urllib.parse import quote

import pytest

from tests.synapse.homeserver import Synapse
from tests.synapse.identity import PublicIdentityServer
from tests.synapse.waiting import eventually

REVOKE = "/_matrix/identity/unstable/sydent_py/homeserver/revoke-invite"


@pytest.mark.parametrize("engine", ["postgresql"])
def test_who_is_invited_by_address_registers_binds_and_joins_from_another_homeserver(
    alpha: Synapse, beta: Synapse, own_identity: PublicIdentityServer, address: str
) -> None:
    alice = alpha.register("alice")
    room = alice.create_room(name="Gardening")
    alice.invite_address(room, address, alice.account_at(own_identity))
    (invite,) = alice.pending(room).values()
    assert address not in json.dumps(invite)
    own_identity.mails.link(address, "signurl=")
    assert alice.user_id in own_identity.mails.texts(address)[-1]

    bob = beta.register("bob")
    account = bob.account_at(own_identity)
    bob.bind(account.prove(address), account)
    eventually(lambda: alice.has_invited(bob, room), "bob is invited")
    bob.join(room)
    assert alice.members(room)[bob.user_id] == "join"
    assert alice.times_invited(room, bob.user_id) == 1
    # It was told with a signature, whose key it has fetched and accepted.
    assert set(eventually(lambda: beta.notified(own_identity), "a signed notification")) == {200}


def test_who_is_invited_by_address_joins_from_the_same_homeserver(
    alpha: Synapse, identity: PublicIdentityServer, address: str
) -> None:
    alice, bob = alpha.register("alice"), alpha.register("bob")
    room = alice.create_room()
    alice.invite_address(room, address, alice.account_at(identity))
    account = bob.account_at(identity)
    bob.bind(account.prove(address), account)
    eventually(lambda: alice.has_invited(bob, room), "bob is invited")
    bob.join(room)
    assert alice.members(room)[bob.user_id] == "join"


def test_a_space_is_joined_like_a_room(alpha: Synapse, beta: Synapse, identity: PublicIdentityServer, address: str) -> None:
    alice, bob = alpha.register("alice"), beta.register("bob")
    space = alice.create_room(name="The village", creation_content={"type": "m.space"})
    alice.invite_address(space, address, alice.account_at(identity))
    identity.mails.link(address, "signurl=")
    assert "space" in identity.mails.texts(address)[-1]
    account = bob.account_at(identity)
    bob.bind(account.prove(address), account)
    eventually(lambda: alice.has_invited(bob, space), "bob is invited")
    bob.join(space)
    assert alice.members(space)[bob.user_id] == "join"


@pytest.mark.parametrize("version", ["11", "12"])
def test_room_ids_with_and_without_a_server_name_work(
    alpha: Synapse, beta: Synapse, identity: PublicIdentityServer, address: str, version: str
) -> None:
    alice, bob = alpha.register("alice"), beta.register("bob")
    room = alice.create_room(room_version=version)
    assert (":" in room) == (version == "11")
    alice.invite_address(room, address, alice.account_at(identity))
    account = bob.account_at(identity)
    bob.bind(account.prove(address), account)
    eventually(lambda: alice.has_invited(bob, room), "bob is invited")
    bob.join(room)
    assert alice.members(room)[bob.user_id] == "join"


def test_every_invite_that_waits_arrives_at_once(
    alpha: Synapse, beta: Synapse, identity: PublicIdentityServer, address: str
) -> None:
    alice, carol, bob = alpha.register("alice"), beta.register("carol"), beta.register("bob")
    rooms = set()
    for host in (alice, carol):
        account = host.account_at(identity)
        for _ in range(2):
            room = host.create_room()
            host.invite_address(room, address, account)
            rooms.add(room)
    account = bob.account_at(identity)
    bob.bind(account.prove(address), account)
    eventually(lambda: rooms <= bob.invites().keys(), "bob is invited to all of them")


def test_an_invite_revoked_in_the_room_does_not_arrive_and_is_given_up(
    alpha: Synapse, identity: PublicIdentityServer, address: str
) -> None:
    alice, bob = alpha.register("alice"), alpha.register("bob")
    room = alice.create_room()
    alice.invite_address(room, address, alice.account_at(identity))
    (token,) = alice.pending(room)
    alice.revoke(room, token)

    account = bob.account_at(identity)
    before, given_up = len(alpha.notified(identity)), len(identity.events("outbox.refused"))
    bob.bind(account.prove(address), account)
    assert account.lookup(address) == bob.user_id
    eventually(lambda: len(identity.events("outbox.refused")) == given_up + 1, "the delivery is given up")
    assert alpha.notified(identity)[before:] == [403]
    assert room not in bob.invites()
    assert bob.user_id not in alice.members(room)


def test_a_revoked_invite_keeps_no_other_from_arriving_and_brings_back_none_that_was_declined(
    alpha: Synapse, beta: Synapse, own_identity: PublicIdentityServer, address: str
) -> None:
    alice, bob = alpha.register("alice"), beta.register("bob")
    inviting = alice.account_at(own_identity)
    declined, revoked, joined = (alice.create_room() for _ in range(3))
    for room in (declined, revoked, joined):
        alice.invite_address(room, address, inviting)
    (token,) = alice.pending(revoked)
    alice.revoke(revoked, token)

    account = bob.account_at(own_identity)
    bob.bind(account.prove(address), account)
    for room in (declined, joined):
        eventually(lambda room=room: alice.has_invited(bob, room), "bob is invited to the others")
    bob.leave(declined)
    bob.join(joined)
    # A homeserver that is not in the room asks the inviter's, and keeps the reason of its refusal to itself: so it is tried again.
    eventually(lambda: beta.notified(own_identity).count(502) >= 2, "the revoked one is tried again")
    assert (alice.members(declined)[bob.user_id], alice.members(joined)[bob.user_id]) == ("leave", "join")
    assert bob.invites() == {}


def test_an_invite_revoked_by_the_homeserver_is_forgotten(
    alpha: Synapse, beta: Synapse, identity: PublicIdentityServer, address: str
) -> None:
    alice, bob = alpha.register("alice"), beta.register("bob")
    inviting = alice.account_at(identity)
    kept, revoked = alice.create_room(), alice.create_room()
    for room in (kept, revoked):
        alice.invite_address(room, address, inviting)
    (token,) = alice.pending(revoked)
    body = {"token": token, "room_id": revoked}
    for homeserver in (beta, alpha):  # the first has nothing to do with it, and changes nothing
        header = homeserver.authorization(identity.name, "POST", REVOKE, body)
        answer = identity.request("POST", REVOKE, headers={"Authorization": header}, body=json.dumps(body).encode())
        assert answer.status == 200, answer.data
        key = alice.pending(revoked)[token]["public_keys"][-1]["public_key"]
        still_valid = identity.get("/pubkey/ephemeral/isvalid", public_key=key)
        assert still_valid == (200, {"valid": homeserver is beta})

    account = bob.account_at(identity)
    before = len(beta.notified(identity))
    bob.bind(account.prove(address), account)
    eventually(lambda: alice.has_invited(bob, kept), "bob is invited to the other room")
    assert set(eventually(lambda: beta.notified(identity)[before:], "a notification")) == {200}
    assert revoked not in bob.invites()


@pytest.mark.parametrize("version", ["11", "12"])
@pytest.mark.parametrize("home", [0, 1], ids=["here", "elsewhere"])
def test_the_link_in_the_mail_lets_in_whoever_opens_it(
    homeservers: tuple[Synapse, Synapse], identity: PublicIdentityServer, address: str, home: int, version: str
) -> None:
    alice, bob = homeservers[0].register("alice"), homeservers[home].register("bob")
    room = alice.create_room(room_version=version)
    alice.invite_address(room, address, alice.account_at(identity))
    (token,) = alice.pending(room)
    signed = identity.sign_invite(address, bob.user_id)
    assert (signed["mxid"], signed["sender"], signed["token"]) == (bob.user_id, alice.user_id, token)
    bob.join(room, signed)
    assert alice.members(room)[bob.user_id] == "join"


def test_the_link_of_a_revoked_invite_lets_nobody_in(alpha: Synapse, identity: PublicIdentityServer, address: str) -> None:
    alice, bob = alpha.register("alice"), alpha.register("bob")
    room = alice.create_room()
    alice.invite_address(room, address, alice.account_at(identity))
    (token,) = alice.pending(room)
    alice.revoke(room, token)
    signed = identity.sign_invite(address, bob.user_id)
    assert bob.request("POST", f"/join/{quote(room)}", {"third_party_signed": signed})[0] == 403
    assert bob.user_id not in alice.members(room)
