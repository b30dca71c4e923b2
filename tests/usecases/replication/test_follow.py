"""What is bound at one server is found at its peers, and nothing else comes of it."""

import pytest

from tests.driver import OWN
from tests.usecases.replication.conftest import Federate, peer_section


def test_what_is_bound_at_one_server_is_found_at_its_peers(federate: Federate) -> None:
    federation = federate("a", "b", "c")
    federation["a"].bind("alice@example.org", "@alice:hs.test")
    federation["b"].bind("bob@example.org", "@bob:hs.test")
    federation.settle()
    for name in "abc":
        assert federation[name].lookup("alice@example.org", "bob@example.org") == {
            "alice@example.org": "@alice:hs.test",
            "bob@example.org": "@bob:hs.test",
        }


def test_what_was_learned_from_a_peer_is_not_logged_again(federate: Federate) -> None:
    federation = federate("a", "b", "c")
    federation["a"].bind("alice@example.org", "@alice:hs.test")
    federation.settle()
    assert [federation[name].log_size() for name in "abc"] == [1, 0, 0]


def test_what_is_taken_back_at_one_server_is_gone_at_its_peers(federate: Federate) -> None:
    federation = federate("a", "b")
    token = federation["a"].bind("alice@example.org", "@alice:hs.test")
    federation.settle()
    federation["a"].driver.request("DELETE", f"{OWN}/bindings/email/alice@example.org", token)
    federation.settle()
    assert federation["b"].lookup("alice@example.org") == {}


def test_a_nudged_peer_looks_at_once(federate: Federate) -> None:
    federation = federate("a", "b")
    federation.settle()
    federation["a"].bind("alice@example.org", "@alice:hs.test")
    federation["a"].work()  # no time passes
    federation["b"].work()
    assert federation["b"].lookup("alice@example.org") == {"alice@example.org": "@alice:hs.test"}


def test_without_a_nudge_a_peer_looks_after_a_while(federate: Federate) -> None:
    federation = federate("a", "b")
    federation.settle()
    federation["a"].bind("alice@example.org", "@alice:hs.test")
    federation["a"].driver.sequence()
    federation["b"].work()
    assert federation["b"].lookup("alice@example.org") == {}
    federation.clock.advance(31)
    federation["b"].work()
    assert federation["b"].lookup("alice@example.org") == {"alice@example.org": "@alice:hs.test"}


def test_a_long_log_is_caught_up_with_in_pages_of_one_transaction_each(federate: Federate) -> None:
    federation = federate("a", "b")
    log, signer = (
        federation["a"].driver.services.bindings.bind.associations.log,
        federation["a"].driver.services.signer,
    )
    with federation["a"].driver.services.database.begin() as db:
        for number in range(2500):
            ts = federation.clock.now_ms()
            content = {"medium": "email", "address": f"u{number}@b.test", "mxid": f"@u{number}:hs.test"}
            log.append(db, "bind", signer.sign({**content, "ts": ts, "not_before": ts, "not_after": ts + 10**12}))
    federation.settle(1)
    assert federation["b"].state("a.test").size == 2500
    assert federation["b"].lookup("u0@b.test", "u2499@b.test") == {
        "u0@b.test": "@u0:hs.test",
        "u2499@b.test": "@u2499:hs.test",
    }


@pytest.mark.parametrize(("direction_at_b", "found"), [("both", True), ("follow", True), ("serve", False)])
def test_a_peer_is_followed_if_the_configuration_says_so(federate: Federate, direction_at_b: str, *, found: bool) -> None:
    federation = federate("a", "b")
    federation.launch("b.test", peers=[peer_section("a.test", direction=direction_at_b)])
    federation["a"].bind("alice@example.org", "@alice:hs.test")
    federation.settle()
    assert (federation["b"].lookup("alice@example.org") != {}) is found


def test_a_peer_is_served_if_the_configuration_says_so(federate: Federate) -> None:
    federation = federate("a", "b")
    federation.launch("a.test", peers=[peer_section("b.test", direction="follow")])
    federation["a"].bind("alice@example.org", "@alice:hs.test")
    federation.settle()
    assert federation["b"].lookup("alice@example.org") == {}
    assert "does not share" in federation["b"].state("a.test").error


def test_an_erased_account_is_forgotten_at_peers_that_know_it_and_at_those_that_come_later(federate: Federate) -> None:
    federation = federate("a", "b")
    token = federation["a"].bind("alice@example.org", "@alice:hs.test")
    federation["a"].bind("bob@example.org", "@bob:hs.test")
    federation.settle()
    assert federation["b"].lookup("alice@example.org") != {}
    assert federation["a"].driver.request("POST", f"{OWN}/account/erase", token).status_code == 200
    federation.settle()
    federation["b"].driver.services.peering.resync("a.test")
    late = federation["b"].lookup("alice@example.org", "bob@example.org")
    federation.settle()
    assert late == {}
    assert federation["b"].lookup("alice@example.org", "bob@example.org") == {"bob@example.org": "@bob:hs.test"}
    assert federation["b"].quarantine() == []


def test_the_claims_of_a_server_that_is_no_peer_any_more_are_forgotten(federate: Federate) -> None:
    federation = federate("a", "b")
    federation["a"].bind("alice@example.org", "@alice:hs.test")
    federation.settle()
    alone = federation.launch("b.test", peers=[])
    alone.driver.services.forget_expired()
    assert alone.lookup("alice@example.org") == {}


def test_a_newer_claim_of_a_peer_is_announced_to_whoever_bound_the_address_here(federate: Federate) -> None:
    federation = federate("a", "b")
    federation["a"].bind("alice@example.org", "@alice:hs.test")
    federation.settle()
    federation["b"].bind("alice@example.org", "@mallory:hs.test")
    federation.settle()
    assert federation["a"].lookup("alice@example.org") == {"alice@example.org": "@mallory:hs.test"}
    federation["a"].driver.deliver()
    mail = federation["a"].driver.mailbox.newest
    assert mail.to.address == "alice@example.org"
    for said in ("@mallory:hs", "@alice:hs", "b.test"):
        assert said.split(".")[0] in mail.text.replace("·", ".")
    sent = len(federation["a"].driver.mailbox.mails)
    federation.settle()
    federation["a"].driver.deliver()
    assert len(federation["a"].driver.mailbox.mails) == sent


def test_however_often_peers_displace_a_binding_its_owner_gets_no_more_than_two_mails_a_day(federate: Federate) -> None:
    federation = federate("a", "b")
    a, b = federation["a"], federation["b"]

    def displaced(times: int, email: str = "alice@example.org") -> int:
        """Bind an address here and then at the peer, so often: how many mails about it come of that."""
        before = len(notices(email))
        for _ in range(times):
            a.bind(email, "@alice:hs.test")
            federation.settle()
            b.bind(email, "@mallory:hs.test")
            federation.settle()
            a.driver.deliver()
        return len(notices(email)) - before

    def notices(email: str) -> list[str]:
        mails = a.driver.mailbox.mails
        return [mail.text for mail in mails if mail.to.address == email and "@mallory" in mail.text.replace("·", ".")]

    assert displaced(4) == 2
    assert displaced(1, "bob@example.org") == 1
    assert displaced(1) == 0
    federation.clock.advance(86_400)
    assert displaced(1) == 1


def test_where_local_is_preferred_a_newer_claim_of_a_peer_displaces_nothing(federate: Federate) -> None:
    federation = federate("a", "b", replication={"prefer": "local"})
    federation["a"].bind("alice@example.org", "@alice:hs.test")
    federation.settle()
    federation["b"].bind("alice@example.org", "@mallory:hs.test")
    federation.settle()
    assert federation["a"].lookup("alice@example.org") == {"alice@example.org": "@alice:hs.test"}
    assert federation["b"].lookup("alice@example.org") == {"alice@example.org": "@mallory:hs.test"}


def test_an_unbind_retracts_what_its_own_origin_says_and_what_others_say_counts_again(federate: Federate) -> None:
    federation = federate("a", "b")
    federation["a"].bind("alice@example.org", "@alice:hs.test")
    federation.settle()
    token = federation["b"].bind("alice@example.org", "@alice:other.test")
    federation.settle()
    federation["b"].driver.request("DELETE", f"{OWN}/bindings/email/alice@example.org", token)
    federation.settle()
    for name in "ab":
        assert federation[name].lookup("alice@example.org") == {"alice@example.org": "@alice:hs.test"}
