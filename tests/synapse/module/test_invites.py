"""Who is invited by address, who may register for it, and what becomes of the invitation."""

from tests.synapse.identity import medium_and_address
from tests.synapse.module.homeserver import ModuleSynapse, TrustingServer
from tests.synapse.person import CLIENT, Person
from tests.synapse.waiting import eventually, throughout


def may_register(synapse: ModuleSynapse, address: str) -> bool:
    body = {"client_secret": "a.secret", "email": address, "send_attempt": 1}
    status, answer = synapse.request("POST", f"{CLIENT}/register/email/requestToken", body=body)
    assert status == 200 or answer["errcode"] == "M_THREEPID_DENIED", answer
    return status == 200


def test_addresses_of_denied_domains_are_not_invited(identity: TrustingServer, alice: Person, address: str) -> None:
    room, account = alice.create_room(), alice.account_at(identity)
    denied = {**account.credentials, **medium_and_address("somebody@Denied.example")}
    status, answer = alice.request("POST", f"/rooms/{room}/invite", denied)
    assert (status, answer["errcode"]) == (403, "M_FORBIDDEN")
    assert identity.mails.texts("somebody@denied.example") == []
    alice.invite_address(room, address, account)


def test_who_is_invited_may_register_until_the_invitation_is_revoked(
    synapse: ModuleSynapse, identity: TrustingServer, alice: Person, address: str
) -> None:
    assert may_register(synapse, "anybody@staff.example")
    assert not may_register(synapse, address)
    room, account = alice.create_room(), alice.account_at(identity)
    alice.invite_address(room, address, account)
    eventually(lambda: may_register(synapse, address), "the invitation is known")

    (token,) = alice.pending(room)
    key = alice.pending(room)[token]["public_keys"][-1]["public_key"]
    assert identity.get("/pubkey/ephemeral/isvalid", public_key=key) == (200, {"valid": True})
    with identity.unreachable():
        alice.revoke(room, token)
        eventually(lambda: not may_register(synapse, address), "nobody is invited any more")
    revoked = (200, {"valid": False})
    eventually(lambda: identity.get("/pubkey/ephemeral/isvalid", public_key=key) == revoked, "the identity server knows")


def test_pending_invitations_are_taken_in_without_inbound_federation(
    synapse: ModuleSynapse, identity: TrustingServer, alice: Person, bob: Person, address: str
) -> None:
    account = alice.account_at(identity)
    rooms = [alice.create_room(), alice.create_room()]
    for room in rooms:
        alice.invite_address(room, address, account)
    synapse.proxy.down()
    try:
        synapse.give(bob, address)
        eventually(lambda: set(rooms) <= bob.invites().keys(), "bob is invited to both rooms")
    finally:
        synapse.proxy.up()
    for room in rooms:
        bob.join(room)
        assert alice.times_invited(room, bob.user_id) == 1
    # The identity server delivers them, too, as soon as it can, and Synapse alone would put bob out again.
    eventually(lambda: "3pid/onbind" in synapse.log.read_text(), "a notification")
    throughout(lambda: alice.members(rooms[0])[bob.user_id] == "join", "bob is not in the room any more", for_s=2)
