"""``sydent-py peers`` where nobody has to be asked: list, quarantine, conflicts, resync."""

import json

import pytest
from sqlalchemy import text

from tests.fakes.sydent import FakeSydent, body_of
from tests.usecases.replication.conftest import Federate, Federation, Run, Server, peer_section


@pytest.fixture
def federation(federate: Federate) -> Federation:
    federation = federate("a", "b", "c")
    federation.launch("b.test", peers=[peer_section("a.test"), peer_section("c.test", direction="serve")])
    federation["a"].bind("alice@example.org", "@alice:hs.test")
    federation["b"].bind("alice@example.org", "@mallory:hs.test")
    federation.settle()
    return federation


def put_aside(server: Server, reason: str = "it has no valid address") -> None:
    """Have an entry of a.test in quarantine that names an address."""
    services = server.driver.services
    payload = services.peering.status.sealer.seal('{"address":"x\\u001b[2J@example.org"}', "quarantine.payload")
    with services.database.begin() as db:
        db.execute(
            text("INSERT INTO quarantine VALUES ('a.test', 7, :commitment, :kind, 1800000000000, :reason, :payload)"),
            {"commitment": b"c" * 32, "kind": "bi\x1b[2Jnd", "reason": reason, "payload": payload},
        )


def test_every_peer_is_listed(federation: Federation, run: Run) -> None:
    result = run(federation["b"], "list")
    assert result.exit_code == 0
    a, c = result.stdout.split("\n\n")
    assert a.startswith(
        "a.test: following\n  Direction:    we follow each other\n  Entries:      1 taken over\n  Last checked: 20"
    )
    assert "  In conflict:  1: sydent-py peers conflicts" in a
    assert "  Cosigned:     its log, by us, at 1 entries\n" in a
    assert c == (
        "c.test: not followed\n  Direction:    it follows us, and we take nothing of it\n"
        "  Cosigned:     our log, by it, at 0 entries\n"
    )


def test_the_list_for_scripts(federation: Federation, run: Run) -> None:
    a, c = json.loads(run(federation["b"], "list", "--json").stdout)["peers"]
    assert (a["name"], a["state"], a["entries"], a["lag_entries"], a["conflicts"]) == ("a.test", "following", 1, 0, 1)
    assert (c["name"], c["state"], c["is_followed"], c["is_served"]) == ("c.test", "not followed", False, True)


def test_a_stopped_peer_stands_out_and_its_words_are_escaped(federation: Federation, run: Run) -> None:
    with federation["b"].driver.services.database.begin() as db:
        db.execute(text("UPDATE peers SET is_stopped = true, error = :error, failed_at_ms = 1"), {"error": "for\x1b[2Jked"})
    said = run(federation["b"], "list").stdout
    assert "a.test: STOPPED" in said
    assert "Last error:   1970-01-01 00:00:00 UTC: for\\x1b[2Jked" in said
    assert "What to do:   sydent-py peers check a.test" in said
    assert "\x1b" not in said


def test_without_peers_it_says_how_to_make_one(federate: Federate, run: Run) -> None:
    federation = federate("a")
    for command in ("list", "check"):
        result = run(federation["a"], command)
        assert (result.exit_code, "sydent-py peers add" in result.stdout) == (0, True)
    assert run(federation["a"], "conflicts").stdout == "No address is given to different users, and nobody's keys differ.\n"


@pytest.mark.parametrize("command", ["resync", "resume", "quarantine", "check"])
def test_an_unknown_name_is_answered_with_the_known_ones(federation: Federation, run: Run, command: str) -> None:
    result = run(federation["b"], command, "d\x1b.test")
    assert result.exit_code == 2
    assert "The configuration names no peer d\\x1b.test. It names a.test, c.test." in result.stderr


def test_what_was_put_aside_is_shown_and_escaped(federation: Federation, run: Run) -> None:
    assert "No entries of a.test were put aside" in run(federation["b"], "quarantine", "a.test").stdout
    put_aside(federation["b"])
    assert "  Put aside:    1: sydent-py peers quarantine a.test" in run(federation["b"], "list").stdout
    said = run(federation["b"], "quarantine", "a.test").stdout
    assert said == (
        "Entry 7: bi\\x1b[2Jnd, 2027-01-15 08:00:00 UTC\n  Why: it has no valid address\n"
        '  {"address":"x\\u001b[2J@example.org"}\n'
    )
    shown = json.loads(run(federation["b"], "quarantine", "a.test", "--json").stdout)
    assert (shown["count"], shown["entries"][0]["index"]) == (1, 7)
    assert shown["entries"][0]["payload"] == {"address": "x\x1b[2J@example.org"}


def test_conflicts_say_who_gives_the_address_to_whom(federation: Federation, run: Run) -> None:
    said = run(federation["b"], "conflicts").stdout
    lines = said.splitlines()
    assert lines[0] == "alice@example.org"
    assert lines[1].startswith("  @alice:hs.test, says a.test since 20")
    assert lines[2].startswith("  @mallory:hs.test, says this server since 20")
    assert sum("which lookups answer" in line for line in lines) == 1
    [conflict] = json.loads(run(federation["b"], "conflicts", "--json").stdout)["conflicts"]
    assert (conflict["address"], len(conflict["claims"])) == ("alice@example.org", 2)


def test_a_resync_asks_first_and_does_nothing_unasked(federation: Federation, run: Run) -> None:
    result = run(federation["b"], "resync", "a.test")
    assert result.exit_code == 2
    assert "Entries of a.test that were taken over: 1." in result.stderr
    assert "--yes" in result.stderr
    assert federation["b"].state("a.test").size == 1


def test_a_confirmed_resync_begins_anew(federation: Federation, run: Run) -> None:
    result = run(federation["b"], "resync", "a.test", "--yes")
    assert (result.exit_code, "is forgotten" in result.stdout) == (0, True)
    assert run(federation["b"], "list").stdout.startswith("a.test: never reached")
    federation.settle()
    assert federation["b"].state("a.test").size == 1


@pytest.fixture
def sydent() -> FakeSydent:
    return FakeSydent()


@pytest.fixture
def beside_sydent(federation: Federation, sydent: FakeSydent) -> Server:
    """b.test with a peer that runs Sydent, which has pushed a good row and two bad ones."""
    peers = [peer_section("a.test")]
    server = federation.launch("b.test", peers=peers, sydent_peers=[{"name": sydent.name, "verify_key": sydent.verify_key}])
    rows = {
        1: sydent.row("carol@example.org", "@carol:hs.test"),
        2: sydent.row("no \x1b[2J address", "@a:hs.test"),
        7: "nonsense",
    }
    server.driver.services.sydent.receive(sydent.name, body_of(rows))
    return server


def test_servers_that_run_sydent_are_listed_too(beside_sydent: Server, run: Run) -> None:
    shown = run(beside_sydent, "list").output
    assert "sydent.test: runs Sydent\n  Last push:    20" in shown
    assert "  Put aside:    2: sydent-py peers quarantine sydent.test" in shown
    [listed] = json.loads(run(beside_sydent, "list", "--json").output)["sydent_peers"]
    pushed_at_ms = beside_sydent.driver.clock.now_ms()
    assert listed == {
        "name": "sydent.test",
        "behind": None,
        "error": None,
        "quarantined": 2,
        "received_at_ms": pushed_at_ms,
    }


def test_rows_of_a_sydent_that_were_put_aside_are_shown_and_escaped(beside_sydent: Server, run: Run) -> None:
    said = run(beside_sydent, "quarantine", "sydent.test").stdout
    newest, older = said.split("\n\n")
    assert newest.startswith("Row 7: pushed 20")
    assert newest.endswith("UTC\n  Why: it is no JSON object that can be kept")
    assert "  Why: it has no valid address\n  {" in older
    assert '"address":"no \\u001b[2J address"' in older
    assert "\x1b" not in said
    limited = run(beside_sydent, "quarantine", "sydent.test", "--limit", "1").stdout
    assert limited.endswith("\n1 older ones are not shown: --limit 2\n")
    shown = json.loads(run(beside_sydent, "quarantine", "sydent.test", "--json").stdout)
    assert (shown["peer"], shown["count"]) == ("sydent.test", 2)
    assert [(row["row_id"], row["content"] and row["content"]["mxid"]) for row in shown["rows"]] == [
        (7, None),
        (2, "@a:hs.test"),
    ]


def test_a_resync_of_a_sydent_asks_and_forgets_what_it_has_pushed(
    beside_sydent: Server, sydent: FakeSydent, run: Run
) -> None:
    asked = run(beside_sydent, "resync", "sydent.test")
    assert asked.exit_code == 2
    assert "sydent.test runs Sydent. What it has pushed is forgotten at once" in asked.stderr
    assert "--yes" in asked.stderr
    assert beside_sydent.lookup("carol@example.org") == {"carol@example.org": "@carol:hs.test"}
    done = run(beside_sydent, "resync", "sydent.test", "--yes")
    assert (done.exit_code, "What sydent.test has pushed is forgotten." in done.stdout) == (0, True)
    assert beside_sydent.lookup("carol@example.org") == {}
    assert "No rows of sydent.test were put aside" in run(beside_sydent, "quarantine", "sydent.test").stdout
    beside_sydent.driver.services.sydent.receive(
        sydent.name, body_of({1: sydent.row("carol@example.org", "@carol2:hs.test")})
    )
    assert beside_sydent.lookup("carol@example.org") == {"carol@example.org": "@carol2:hs.test"}


@pytest.mark.parametrize("command", ["check", "resume"])
def test_what_is_done_with_logs_is_not_done_with_a_sydent(beside_sydent: Server, run: Run, command: str) -> None:
    refused = run(beside_sydent, command, "sydent.test")
    assert refused.exit_code == 2
    assert "sydent.test runs Sydent, and has no log." in refused.stderr
    unknown = run(beside_sydent, command, "d.test")
    assert "It names a.test, sydent.test." in unknown.stderr
