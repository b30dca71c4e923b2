"""What a server tells of its peers: to its operator, to monitoring, and to everybody."""

import dataclasses
import html
import re

import pytest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import text

from sydent_py.database import Database
from sydent_py.replication.registers import Registers
from sydent_py.replication.status import Standing
from tests.usecases.replication.conftest import Federate, Federation, Server, peer_section


def standing(server: Server, peer: str) -> Standing:
    [found] = [each for each in server.driver.services.peering.status.standings() if each.name == peer]
    return found


def stop(federation: Federation, victim: str, liar: str) -> None:
    """Have a peer give something else for an entry than what it commits to."""
    federation.network.tamper[f"{liar}.test"] = lambda path, content: (
        content.replace(b"alice@", b"alicf@") if path.endswith("payloads") else content
    )
    federation[liar].bind("alice@example.org", "@alice:hs.test")
    federation.settle(5)
    assert federation[victim].state(f"{liar}.test").is_stopped


def figures(server: Server) -> dict[tuple[str, str], float]:
    return {
        (sample.name.removeprefix("sydent_py_peer_"), sample.labels["peer"]): sample.value
        for family in text_string_to_metric_families(server.driver.request("GET", "/metrics").text)
        for sample in family.samples
        if "peer" in sample.labels
    }


def seen(server: Server) -> str:
    """The page at / as a person reads it."""
    body = server.driver.request("GET", "/").text.partition("<body>")[2]
    return html.unescape(" ".join(re.sub(r"<[^>]*>", " ", body).split()))


def test_a_peer_is_first_never_reached_then_followed_then_behind_then_failing(federate: Federate) -> None:
    federation = federate("a", "b")
    assert standing(federation["b"], "a.test").state == "never reached"
    federation["a"].bind("alice@example.org", "@alice:hs.test")
    federation.settle()
    found = standing(federation["b"], "a.test")
    assert (found.state, found.entries, found.lag_entries, found.lag_ms) == ("following", 1, 0, 0)
    federation.clock.advance(3 * 60)
    assert standing(federation["b"], "a.test").lag_ms == 180_000
    assert standing(federation["b"], "a.test").state == "behind"
    federation.network.cut.add(frozenset({"a.test", "b.test"}))
    federation["b"].work()
    found = standing(federation["b"], "a.test")
    assert (found.state, found.error, found.entries) == ("failing", "unreachable", 1)
    assert found.failed_at_ms == federation.clock.now_ms()
    assert found.verified_at_ms == federation.clock.now_ms() - 180_000


def test_entries_of_a_verified_checkpoint_that_are_not_taken_over_are_the_lag(federate: Federate) -> None:
    federation = federate("a", "b")
    federation["a"].bind("alice@example.org", "@alice:hs.test")
    federation.settle()
    with federation["b"].driver.services.database.begin() as db:
        db.execute(text("UPDATE peers SET size = 0"))
    found = standing(federation["b"], "a.test")
    assert (found.state, found.entries, found.lag_entries) == ("behind", 0, 1)


def test_a_log_that_has_shrunk_counts_as_verified_until_then(federate: Federate) -> None:
    federation = federate("a", "b")
    old = federation["a"].driver.services.published_log.checkpoint().encode()
    federation["a"].bind("alice@example.org", "@alice:hs.test")
    federation.settle()
    verified_ms = standing(federation["b"], "a.test").verified_at_ms
    federation.network.tamper["a.test"] = lambda path, content: old if path.endswith("checkpoint") else content
    federation.clock.advance(31)
    federation["b"].work()
    since_ms = standing(federation["b"], "a.test").verified_at_ms
    federation.clock.advance(31)
    federation["b"].work()
    assert verified_ms is not None
    assert standing(federation["b"], "a.test").verified_at_ms == since_ms == verified_ms + 31_000


def test_a_peer_that_is_only_served_is_not_followed(federate: Federate) -> None:
    federation = federate("a", "b")
    server = federation.launch("b.test", peers=[peer_section("a.test", direction="serve")])
    federation.settle()
    assert standing(server, "a.test").state == "not followed"
    assert figures(server) == {}
    assert "a.test Nothing is taken over from it. It gets what is bound here." in seen(server)


def test_a_stopped_peer_is_named_by_ready_metrics_and_page_and_the_others_go_on(federate: Federate) -> None:
    federation = federate("a", "b", "c")
    stop(federation, "b", "a")
    b = federation["b"]
    assert standing(b, "a.test").state == "stopped"
    answer = b.driver.request("GET", "/ready")
    assert (answer.status_code, answer.get_json()) == (200, {"status": "ready", "stopped_peers": ["a.test"]})
    assert (figures(b)["stopped", "a.test"], figures(b)["stopped", "c.test"]) == (1, 0)
    page = seen(b)
    assert "a.test Followed no more: its log contradicts what it showed before. It gets what is bound here." in page
    assert re.search(r"c\.test 0 entries of its log taken over, last verified on 20[0-9-]+ at [0-9:]+ UTC\s?\.", page)
    assert "commits" not in page


def test_all_peers_well_is_said_too(federate: Federate) -> None:
    federation = federate("a", "b")
    federation["a"].bind("alice@example.org", "@alice:hs.test")
    federation["b"].bind("bob@example.org", "@bob:hs.test")
    assert "a.test Not reached yet." in seen(federation["b"])
    federation.settle()
    federation["b"].driver.services.peering.submit["a.test"]()
    assert federation["b"].driver.request("GET", "/ready").get_json() == {"status": "ready", "stopped_peers": []}
    assert figures(federation["b"]) == {
        ("entries", "a.test"): 1,
        ("lag_entries", "a.test"): 0,
        ("last_success_timestamp_seconds", "a.test"): federation.clock.now_ms() / 1000,
        ("stopped", "a.test"): 0,
        ("quarantined_entries", "a.test"): 0,
        ("cosigned_entries", "a.test"): 1,
        ("cosigned_by_it_entries", "a.test"): 1,
    }
    assert "a.test 1 entry of its log taken over, last verified on " in seen(federation["b"])


def test_without_peers_the_page_speaks_of_none(federate: Federate) -> None:
    federation = federate("a")
    assert "Peers" not in seen(federation["a"])
    assert figures(federation["a"]) == {}


def test_the_entries_that_were_put_aside_are_counted_and_shown(federate: Federate) -> None:
    federation = federate("a", "b")
    federation.launch("b.test", peers=[peer_section("a.test", scope={"homeservers": ["other.test"]})])
    for name in ("alice", "bob"):
        federation["a"].bind(f"{name}@example.org", f"@{name}:hs.test")
    federation.settle()
    assert figures(federation["b"])["quarantined_entries", "a.test"] == 2
    count, [newest] = federation["b"].driver.services.peering.status.quarantine("a.test", 1)
    assert (count, newest.index, newest.kind) == (2, 1, "bind")
    assert newest.reason == "the peer may not speak for users of that homeserver"
    assert newest.payload is not None
    assert '"address":"bob@example.org"' in newest.payload


@pytest.mark.parametrize("prefer", ["newest", "local"])
def test_addresses_that_are_given_to_different_users_are_shown_with_the_answer(federate: Federate, prefer: str) -> None:
    federation = federate("a", "b", "c", replication={"prefer": prefer})
    for name, user_id in (("a", "@alice:hs.test"), ("b", "@mallory:hs.test"), ("c", "@alice:hs.test")):
        federation[name].bind("alice@example.org", user_id)
        federation.clock.advance(1)
    federation["a"].bind("same@example.org", "@same:hs.test")
    federation["b"].bind("same@example.org", "@same:hs.test")
    federation.settle()
    status = federation["b"].driver.services.peering.status
    [conflict] = status.conflicts(10)
    assert conflict.threepid.address == "alice@example.org"
    answered = "b.test" if prefer == "local" else "c.test"
    assert [(claim.origin, claim.user_id, claim.is_answered) for claim in conflict.claims] == [
        (f"{name}.test", user_id, answered == f"{name}.test")
        for name, user_id in (("a", "@alice:hs.test"), ("b", "@mallory:hs.test"), ("c", "@alice:hs.test"))
    ]
    assert status.conflict_counts() == {"a.test": 1, "b.test": 1, "c.test": 1}


def test_what_has_expired_is_in_conflict_with_nothing(federate: Federate) -> None:
    federation = federate("a", "b")
    federation["a"].bind("alice@example.org", "@alice:hs.test")
    federation["b"].bind("alice@example.org", "@mallory:hs.test")
    federation.settle()
    status = federation["b"].driver.services.peering.status
    assert len(status.conflicts(10)) == 1
    with federation["b"].driver.services.database.begin() as db:
        db.execute(text("UPDATE bindings SET not_after = 1 WHERE origin = 'a.test'"))
    assert (status.conflicts(10), status.conflict_counts()) == ([], {})


def test_a_resync_loses_nothing_while_the_worker_runs(federate: Federate) -> None:
    federation = federate("a", "b")
    federation["a"].bind("alice@example.org", "@alice:hs.test")
    federation.settle()
    b = federation["b"]

    class Busy(Registers):
        """The worker takes its turn just before anything is forgotten."""

        def forget_origin(self, database: Database, origin: str) -> None:
            federation.clock.advance(60)
            b.work()
            super().forget_origin(database, origin)

    peering = b.driver.services.peering
    dataclasses.replace(peering, registers=Busy(peering.registers.addresses, peering.registers.keys)).resync("a.test")
    federation.settle()
    assert b.lookup("alice@example.org") == {"alice@example.org": "@alice:hs.test"}
    assert standing(b, "a.test").state == "following"


def test_a_resync_follows_a_stopped_peer_again(federate: Federate) -> None:
    federation = federate("a", "b")
    stop(federation, "b", "a")
    federation.network.tamper.clear()
    federation.settle()
    assert federation["b"].lookup("alice@example.org") == {}
    federation["b"].driver.services.peering.resync("a.test")
    federation.settle()
    assert federation["b"].lookup("alice@example.org") == {"alice@example.org": "@alice:hs.test"}


def test_a_clock_that_was_set_back_keeps_no_peer_from_being_asked_to_cosign(federate: Federate) -> None:
    federation = federate("a", "b")
    federation["a"].bind("alice@example.org", "@alice:hs.test")
    federation["a"].driver.sequence()
    submit = federation["a"].driver.services.peering.submit["b.test"]
    federation.clock.advance(86_400)
    federation.network.cut.add(frozenset(("a.test", "b.test")))
    submit()
    federation.network.cut.clear()
    federation.clock.advance(-86_400)
    submit()
    assert standing(federation["a"], "b.test").cosigned_by_it == 1
