"""People search and login by addresses that only the identity server knows."""

import time
from typing import Any

from tests.synapse.module.homeserver import ModuleSynapse, TrustingServer
from tests.synapse.person import CLIENT, Person
from tests.synapse.waiting import eventually


def search(person: Person, term: str) -> list[dict[str, Any]]:
    return list(person.do("POST", "/user_directory/search", {"search_term": term})["results"])


def found(person: Person, term: str) -> list[str]:
    return [result["user_id"] for result in search(person, term)]


def log_in(synapse: ModuleSynapse, medium: str, address: str, password: str) -> tuple[int, Any]:
    who = {"type": "m.id.thirdparty", "medium": medium, "address": address}
    return synapse.request(
        "POST", f"{CLIENT}/login", body={"type": "m.login.password", "identifier": who, "password": password}
    )


def test_who_types_a_whole_address_finds_its_owner(
    synapse: ModuleSynapse, alice: Person, bob: Person, address: str, number: str
) -> None:
    synapse.give(alice, address, number)
    synapse.wait_until_told()
    alice.do("PUT", f"/profile/{alice.user_id}/displayname", {"displayname": "Alice Liddell"})
    for term in (address, f" {address.upper()} ", f"+{number[:2]} ({number[2:6]}) {number[6:]}"):
        assert search(bob, term)[0] == {"user_id": alice.user_id, "display_name": "Alice Liddell", "avatar_url": None}
    assert alice.user_id in found(bob, "Alice Liddell")
    assert found(bob, f"nobody.{address}") == []


def test_a_user_logs_in_with_an_address_that_only_the_identity_server_knows(
    synapse: ModuleSynapse, identity: TrustingServer, alice: Person, address: str, number: str
) -> None:
    account = alice.account_at(identity)
    alice.bind(account.prove(address), account)
    identity.change_for(synapse, "bind", number, alice.user_id)
    assert alice.addresses() == []

    def logs_in(medium: str, address: str) -> bool:
        status, answer = log_in(synapse, medium, address, alice.password)
        return status == 200 and answer["user_id"] == alice.user_id

    eventually(lambda: logs_in("email", address), "the identity server is asked again after the last outage")
    assert logs_in("msisdn", number)
    assert log_in(synapse, "email", address, "wrong")[0] == 403
    assert log_in(synapse, "email", f"nobody.{address}", alice.password)[0] == 403


def test_people_search_goes_on_without_the_identity_server(
    identity: TrustingServer, alice: Person, bob: Person, address: str
) -> None:
    bob.do("PUT", f"/profile/{bob.user_id}/displayname", {"displayname": f"Bob {address}"})
    with identity.unreachable():
        started_s = time.monotonic()
        assert found(alice, f"one.{address}") == []
        assert found(alice, f"two.{address}") == []  # it is not even asked
        assert found(alice, address) == [bob.user_id]
        assert time.monotonic() - started_s < 3


def test_who_is_known_here_logs_in_without_the_identity_server(
    synapse: ModuleSynapse, identity: TrustingServer, alice: Person, address: str
) -> None:
    synapse.give(alice, address)
    with identity.unreachable():
        assert log_in(synapse, "email", address, alice.password)[0] == 200
