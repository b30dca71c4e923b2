"""People bind addresses through their own homeserver, are found by other people's, and take it back."""

import json

from tests.integration.conftest import V2
from tests.synapse.homeserver import Synapse
from tests.synapse.identity import PublicIdentityServer


def test_an_address_that_is_bound_is_invited_by_its_user_id(
    alpha: Synapse, beta: Synapse, identity: PublicIdentityServer, address: str
) -> None:
    alice, bob = alpha.register("alice"), beta.register("bob")
    account = bob.account_at(identity)
    bob.bind(account.prove(address), account)
    assert account.lookup(address) == bob.user_id

    room = alice.create_room()
    alice.invite_address(room, address, alice.account_at(identity))
    assert alice.members(room)[bob.user_id] == "invite"
    assert alice.pending(room) == {}
    assert room in bob.invites()
    bob.join(room)
    assert alice.members(room)[bob.user_id] == "join"


def test_an_address_that_is_bound_is_not_stored_as_an_invite(
    alpha: Synapse, identity: PublicIdentityServer, address: str
) -> None:
    alice, bob = alpha.register("alice"), alpha.register("bob")
    account = bob.account_at(identity)
    bob.bind(account.prove(address), account)
    invite = {"medium": "email", "address": address, "room_id": "!room:example.org", "sender": alice.user_id}
    status, answer = identity.post("/store-invite", invite, alice.account_at(identity).token)
    assert (status, answer["errcode"], answer["mxid"]) == (400, "M_THREEPID_IN_USE", bob.user_id)


def test_a_binding_is_taken_back_through_the_homeserver(
    alpha: Synapse, identity: PublicIdentityServer, address: str
) -> None:
    bob = alpha.register("bob")
    account = bob.account_at(identity)
    bob.bind(account.prove(address), account)
    assert bob.unbind(address, account) == "success"
    assert account.lookup(address) is None
    # And once more: what is not bound is unbound already.
    assert bob.unbind(address, account) == "success"


def test_a_homeserver_that_asks_for_the_same_again_leaves_it_to_the_owner_of_the_address(
    alpha: Synapse, identity: PublicIdentityServer, address: str
) -> None:
    """Synapse sends the very same bytes, as whoever had kept a copy of them would."""
    bob = alpha.register("bob")
    account = bob.account_at(identity)
    for _ in range(2):
        bob.bind(account.prove(address), account)
        assert account.lookup(address) == bob.user_id
        assert bob.unbind(address, account) == "success"
    assert account.lookup(address) == bob.user_id
    identity.press_button(identity.mails.link(address, "/remove?"))
    assert account.lookup(address) is None


def test_nobody_takes_back_the_binding_of_somebody_else(
    alpha: Synapse, beta: Synapse, identity: PublicIdentityServer, address: str
) -> None:
    bob, mallory = alpha.register("bob"), beta.register("mallory")
    account = bob.account_at(identity)
    bob.bind(account.prove(address), account)
    mallory.unbind(address, account)
    uri = f"{V2}/3pid/unbind"
    body = {"mxid": bob.user_id, "threepid": {"medium": "email", "address": address}}
    header = beta.authorization(identity.name, "POST", uri, body)
    answer = identity.request("POST", uri, headers={"Authorization": header}, body=json.dumps(body).encode())
    assert (answer.status, answer.json()["errcode"]) == (403, "M_FORBIDDEN")
    assert account.lookup(address) == bob.user_id


def test_an_address_deleted_at_the_homeserver_is_bound_no_more(
    alpha: Synapse, identity: PublicIdentityServer, address: str
) -> None:
    bob = alpha.register("bob")
    account = bob.account_at(identity)
    bob.add_address(address, identity)
    bob.bind(account.prove(address), account)
    assert bob.addresses() == [address]
    assert bob.delete_address(address) == "success"
    assert bob.addresses() == []
    assert account.lookup(address) is None


def test_an_account_is_deactivated_once_the_identity_server_can_be_told(
    alpha: Synapse, identity: PublicIdentityServer, address: str
) -> None:
    bob, witness = alpha.register("bob"), alpha.register("witness").account_at(identity)
    account = bob.account_at(identity)
    bob.bind(account.prove(address), account)

    with identity.unreachable():
        assert bob.deactivate()[0] == 400
        assert bob.is_welcome()
    assert witness.lookup(address) == bob.user_id

    assert bob.deactivate() == (200, {"id_server_unbind_result": "success"})
    assert not bob.is_welcome()
    assert witness.lookup(address) is None
