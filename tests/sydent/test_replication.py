"""What is bound at a real Sydent is found here, and what is bound here there."""

import re
import signal
import sqlite3
import subprocess
from pathlib import Path

from tests.integration.conftest import COMMAND
from tests.sydent.conftest import Pair
from tests.synapse.identity import Account, medium_and_address
from tests.synapse.waiting import eventually

# Sydent pushes every ten seconds.
WITHIN_S = 25
DOC = Path(__file__).parents[2] / "docs" / "sydent.md"
OWN = "/_matrix/identity/unstable/sydent_py"


def bind(pair: Pair, localpart: str, address: str) -> tuple[Account, dict[str, str]]:
    """A new account of ours that binds an address: what it proves it with."""
    account = pair.account(localpart)
    proof = account.prove(address)
    account.bind(proof, pair.user_id(localpart))
    return account, proof.credentials


def unbind(pair: Pair, account: Account, proof: dict[str, str], localpart: str, address: str) -> None:
    body = {**proof, "mxid": pair.user_id(localpart), "threepid": medium_and_address(address)}
    account.do(pair.ours.post, "/3pid/unbind", body)


def is_found_here(reader: Account, address: str, mxid: str | None) -> None:
    eventually(lambda: reader.lookup(address) == mxid, f"{address} is {mxid}'s here", WITHIN_S)


def is_found_there(pair: Pair, address: str, mxid: str | None) -> None:
    eventually(lambda: pair.sydent.lookup(address) == mxid, f"{address} is {mxid}'s at Sydent", WITHIN_S)


def test_what_is_bound_at_sydent_is_found_here_until_it_is_unbound_there(pair: Pair) -> None:
    reader = pair.account("reader")
    with pair.sydent.down():
        carol = pair.sydent.validated("Carol@Sydent.example", "@carol:hs.test")
        dave, other = (pair.sydent.validated("dave@sydent.example", f"@{name}:hs.test") for name in ("dave", "dave2"))
    pair.sydent.bind(carol)
    pair.sydent.bind(dave)
    is_found_here(reader, "carol@sydent.example", "@carol:hs.test")
    is_found_here(reader, "dave@sydent.example", "@dave:hs.test")
    pair.sydent.unbind(carol, "Carol@Sydent.example")
    pair.sydent.bind(other)
    is_found_here(reader, "carol@sydent.example", None)
    is_found_here(reader, "dave@sydent.example", "@dave2:hs.test")


def test_what_is_bound_here_is_found_at_sydent_until_it_is_unbound_here(pair: Pair) -> None:
    alice, proof = bind(pair, "alice", "alice@ours.example")
    is_found_there(pair, "alice@ours.example", pair.user_id("alice"))
    unbind(pair, alice, proof, "alice", "alice@ours.example")
    is_found_there(pair, "alice@ours.example", None)


def test_an_address_that_goes_from_user_to_user_here_is_the_newest_ones_there(pair: Pair) -> None:
    """Sydent keeps them all, and would answer with any."""
    for localpart in ("first", "second", "first", "third"):
        bind(pair, localpart, "shared@ours.example")
        is_found_there(pair, "shared@ours.example", pair.user_id(localpart))


def test_one_bad_row_does_not_keep_back_the_others(pair: Pair) -> None:
    reader = pair.account("careful")
    with pair.sydent.down():
        pair.sydent.insert("before@sydent.example", "@before:hs.test")
        bad = [
            pair.sydent.insert("nobody at all", "@bad:hs.test"),
            pair.sydent.insert("nul@sydent.example", "@nul\0:hs.test"),
            pair.sydent.insert("user@sydent.example", "not a user"),
            pair.sydent.insert("future@sydent.example", "@future:hs.test", ts=9_000_000_000_000),
        ]
        pair.sydent.insert("after@sydent.example", "@after:hs.test")
    is_found_here(reader, "before@sydent.example", "@before:hs.test")
    is_found_here(reader, "after@sydent.example", "@after:hs.test")
    assert [event["row"] for event in pair.ours.events("sydent.quarantined")] == bad
    assert reader.lookup("future@sydent.example") is None


def test_each_catches_up_with_what_happened_while_it_was_down(pair: Pair) -> None:
    gone, proof = bind(pair, "gone", "gone@ours.example")
    is_found_there(pair, "gone@ours.example", pair.user_id("gone"))
    with pair.sydent.down():
        unbind(pair, gone, proof, "gone", "gone@ours.example")
        bind(pair, "late", "late@ours.example")
        eventually(lambda: pair.ours.events("sydent.not_pushed"), "we notice that Sydent is down")
        pair.restart_ours()
    is_found_there(pair, "late@ours.example", pair.user_id("late"))
    is_found_there(pair, "gone@ours.example", None)
    reader = pair.account("patient")
    assert pair.ours.process.stop() == 0
    with pair.sydent.down():
        pair.sydent.insert("meanwhile@sydent.example", "@meanwhile:hs.test")
    eventually(lambda: "Connection was refused" in pair.sydent.log.read_text(), "Sydent notices that we are down", WITHIN_S)
    pair.ours.process.start()
    is_found_here(reader, "meanwhile@sydent.example", "@meanwhile:hs.test")


def test_an_account_that_is_erased_while_sydent_is_down_is_gone_there_afterwards(pair: Pair) -> None:
    erased, _ = bind(pair, "erased", "erased@ours.example")
    is_found_there(pair, "erased@ours.example", pair.user_id("erased"))
    with pair.sydent.down():
        answer = pair.ours.request("POST", f"{OWN}/account/erase", erased.token)
        assert answer.status == 200, answer.data
        database = sqlite3.connect(pair.ours.process.directory / "data" / "sydent.db")
        assert database.execute("SELECT count(*) FROM sydent_tombstones").fetchone() == (1,)
    is_found_there(pair, "erased@ours.example", None)
    kept = "SELECT count(*) FROM sydent_tombstones"
    eventually(lambda: database.execute(kept).fetchone() == (0,), "nothing is kept of it")
    database.close()


def test_after_both_have_begun_anew_everything_is_pushed_again(pair: Pair) -> None:
    reader = pair.account("anew")
    with pair.sydent.down():
        pair.sydent.insert("again@sydent.example", "@again:hs.test")
    is_found_here(reader, "again@sydent.example", "@again:hs.test")
    with pair.sydent.down():
        resync = [COMMAND, "--config", pair.ours.process.config, "peers", "resync", pair.sydent.name, "--yes"]
        subprocess.run(resync, cwd=pair.ours.process.directory, check=True, capture_output=True, timeout=60)
        assert reader.lookup("again@sydent.example") is None
        [update] = re.findall(r"UPDATE peers .*;", DOC.read_text())
        with pair.sydent.database() as db:
            assert db.execute(update.replace("id.example.org", pair.ours.name)).rowcount == 1
    is_found_here(reader, "again@sydent.example", "@again:hs.test")


def test_a_worker_that_is_killed_is_followed_by_one_that_listens(pair: Pair) -> None:
    reader = pair.account("watcher")
    with pair.sydent.down():
        pair.sydent.insert("survivor@sydent.example", "@survivor:hs.test")
        pair.ours.worker().send_signal(signal.SIGKILL)
    is_found_here(reader, "survivor@sydent.example", "@survivor:hs.test")
