"""Asking a peer whether all is well: what is found, and that nothing changes by it."""

import json
from typing import Any

import pytest
from signedjson.key import generate_signing_key
from sqlalchemy import text

from sydent_py.replication.check import Finding
from sydent_py.signing import Signer
from sydent_py.tlog.note import SigningKey as LogKey
from tests.fakes.peers import Tamper
from tests.usecases.replication.conftest import Federate, Federation, Server, peer_section, seed


@pytest.fixture
def federation(federate: Federate) -> Federation:
    """Two peers that know of each other's one entry."""
    federation = federate("a", "b")
    federation["a"].bind("alice@example.org", "@alice:hs.test")
    federation.settle()
    return federation


def check(server: Server, peer: str = "a.test") -> dict[str, Finding]:
    return {finding.subject: finding for finding in server.driver.services.peering.check[peer]()}


def wrong(server: Server) -> set[str]:
    return {subject for subject, finding in check(server).items() if finding.verdict == "wrong"}


def everything(server: Server) -> Any:
    with server.driver.services.database.begin() as db:
        return [db.execute(text(f"SELECT * FROM {table}")).all() for table in ("peers", "quarantine", "bindings")]


def replaced(path_end: str, body: bytes) -> Tamper:
    return lambda path, content: body if path.endswith(path_end) else content


def edited(path_end: str, **values: Any) -> Tamper:
    return lambda path, content: (
        json.dumps({**json.loads(content), **values}).encode() if path.endswith(path_end) else content
    )


def test_all_is_well_and_nothing_changes(federation: Federation) -> None:
    before = [everything(federation[name]) for name in "ab"]
    findings = check(federation["b"])
    assert {subject: finding.verdict for subject, finding in findings.items()} == dict.fromkeys(
        ("connection", "log key", "signing key", "checkpoint", "requests", "following"), "ok"
    )
    assert findings["checkpoint"].found == "It is signed, of size 1, and no smaller than before."
    assert [everything(federation[name]) for name in "ab"] == before


def test_a_peer_that_is_only_served_takes_our_requests(federation: Federation) -> None:
    server = federation.launch("b.test", peers=[peer_section("a.test", direction="serve")])
    findings = check(server)
    assert {finding.verdict for finding in findings.values()} == {"ok"}
    assert findings["requests"].found == "It takes our signed requests."
    assert "following" not in findings


def test_a_peer_that_cannot_be_reached(federation: Federation) -> None:
    federation.network.cut.add(frozenset({"a.test", "b.test"}))
    findings = check(federation["b"])
    assert findings["connection"].verdict == "wrong"
    assert findings["connection"].found == "https://a.test cannot be reached: unreachable."
    assert set(findings) == {"connection", "following"}


def test_a_peer_that_shows_another_log_key(federation: Federation) -> None:
    other = LogKey("a.test/log", seed("mallory", "log")).verifier_key
    federation.network.tamper["a.test"] = replaced("/vkey", f"{other}\n".encode())
    finding = check(federation["b"])["log key"]
    assert finding.verdict == "wrong"
    assert str(other) in finding.found
    assert "sydent-py peers resync a.test" in finding.advice


@pytest.mark.parametrize("body", [b"", b"\xff", b"x" * 100, b"a.test/log+00000000+AAAA"])
def test_a_peer_that_shows_no_log_key(federation: Federation, body: bytes) -> None:
    federation.network.tamper["a.test"] = replaced("/vkey", body)
    assert wrong(federation["b"]) == {"log key"}


@pytest.mark.parametrize("public_key", ["A" * 43, "", "A" * 44, None, 7, "\x1b[2J"])
def test_a_peer_that_shows_another_signing_key(federation: Federation, public_key: Any) -> None:
    federation.network.tamper["a.test"] = edited("/pubkey/ed25519:0", public_key=public_key)
    assert wrong(federation["b"]) == {"signing key"}


def test_a_peer_that_has_rotated_its_signing_key(federation: Federation) -> None:
    signer = Signer("a.test", (generate_signing_key("1"),))
    said = signer.sign({"server_name": "a.test", "verify_keys": {"ed25519:1": {"key": signer.public_keys[0]}}})
    federation.network.tamper["a.test"] = replaced("/key/v2/server", json.dumps(said).encode())
    findings = check(federation["b"])
    assert findings["signing key"].found == "It signs with ed25519:1, which is not pinned."
    assert "old_verify_keys" in findings["signing key"].advice


def test_what_another_program_says_of_keys_is_not_believed(federation: Federation) -> None:
    federation.network.tamper["a.test"] = edited("/key/v2/server", verify_keys={"ed25519:9": {"key": "A" * 43}})
    assert wrong(federation["b"]) == set()


def test_a_log_that_was_forked_or_has_shrunk_is_shown_with_the_evidence(federation: Federation) -> None:
    log = federation["b"].state("a.test").checkpoint
    key = LogKey("a.test/log", seed("a.test", "log"))
    forked = str(key.sign("a.test/log\n1\n" + "A" * 43 + "=\n"))
    federation.network.tamper["a.test"] = replaced("/checkpoint", forked.encode())
    finding = check(federation["b"])["checkpoint"]
    assert (finding.verdict, finding.found) == ("wrong", "The log has two trees of size 1.")
    assert finding.evidence == (bytes(log).decode(), forked)
    empty = str(key.sign("a.test/log\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n"))
    federation.network.tamper["a.test"] = replaced("/checkpoint", empty.encode())
    finding = check(federation["b"])["checkpoint"]
    assert (finding.verdict, finding.found) == ("wrong", "It is of size 0, and was of size 1 before.")


def test_a_checkpoint_that_is_not_signed(federation: Federation) -> None:
    for body in (b"", b"a.test/log\n1\nx\n\n\xff", str(federation["b"].driver.services.published_log.checkpoint()).encode()):
        federation.network.tamper["a.test"] = replaced("/checkpoint", body)
        assert wrong(federation["b"]) == {"checkpoint"}


def test_a_peer_that_does_not_know_us_says_what_it_needs(federation: Federation) -> None:
    federation.launch("a.test", peers=[])
    finding = check(federation["b"])["requests"]
    assert finding.verdict == "wrong"
    assert "not a peer" in finding.found
    section = peer_section("b.test")
    assert f'name = "b.test", verify_key = "{section["verify_key"]}"' in finding.advice


def test_a_peer_that_does_not_serve_us_is_found_out(federation: Federation) -> None:
    federation.launch("a.test", peers=[peer_section("b.test", direction="follow")])
    assert "does not share" in check(federation["b"])["requests"].found


def test_a_stopped_peer_has_its_reason_and_evidence_and_what_to_do(federation: Federation) -> None:
    key = LogKey("a.test/log", seed("a.test", "log"))
    forked = str(key.sign("a.test/log\n1\n" + "A" * 43 + "=\n"))
    federation.network.tamper["a.test"] = replaced("/checkpoint", forked.encode())
    federation.settle()
    federation.network.tamper.clear()
    finding = check(federation["b"])["following"]
    assert finding.verdict == "wrong"
    assert finding.found.startswith("It is followed no more: the log was forked")
    assert "sydent-py peers resync a.test" in finding.advice
    assert forked in finding.evidence[0]


def test_another_log_key_in_the_configuration_asks_for_a_resync(federation: Federation) -> None:
    other = str(LogKey("a.test/log", seed("other", "log")).verifier_key)
    server = federation.launch("b.test", peers=[peer_section("a.test", log_key=other)])
    findings = check(server)
    assert {"log key", "checkpoint", "following"} <= wrong(server)
    assert "sydent-py peers resync a.test" in findings["following"].advice


def test_a_worker_that_does_not_run_is_noticed(federation: Federation) -> None:
    federation.clock.advance(600)
    finding = check(federation["b"])["following"]
    assert (finding.verdict, finding.found) == ("warning", "Nobody has looked at it for 600 s.")


def test_entries_that_were_put_aside_are_pointed_at(federation: Federation) -> None:
    server = federation.launch("b.test", peers=[peer_section("a.test", scope={"kinds": ["unbind"]})])
    server.driver.services.peering.resync("a.test")
    federation.settle()
    finding = check(server)["quarantine"]
    assert finding.verdict == "warning"
    assert "sydent-py peers quarantine a.test" in finding.advice
