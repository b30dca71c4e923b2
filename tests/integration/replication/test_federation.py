"""What one server vouches for is found at the others in a moment, whoever is killed, frozen or cut off meanwhile."""

import signal
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from sydent_py import wiring
from tests.conftest import make_settings
from tests.integration.replication.conftest import Node, Trio, wait_until

pytestmark = pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS:UserWarning")
ENTRIES = 5000
NAMES = ("a.test", "b.test", "c.test")


def is_at(node: Node, email: str, found: str | None) -> bool:
    return node.lookup(email) == ({email: found} if found else {})


def test_what_is_bound_at_one_is_found_at_the_others_in_a_moment(
    trio: Trio, record_property: Callable[[str, object], None]
) -> None:
    took_s = []
    for number, name in enumerate(NAMES * 3):
        email, user = f"fast{number}@example.org", f"fast{number}"
        trio[name].bind(user, email)
        mxid = f"@{user}:{trio[name].homeserver.name}"
        took_s.append(wait_until(lambda email=email, mxid=mxid: all(is_at(node, email, mxid) for node in trio.values())))
    median_s = statistics.median(took_s)
    record_property("bind to visible at both peers, median and slowest", (median_s, max(took_s)))
    assert median_s < 10


def test_what_is_taken_back_or_erased_at_one_is_gone_at_the_others(trio: Trio) -> None:
    a, mxid = trio["a.test"], "@leaves:{}".format(trio["a.test"].homeserver.name)
    token = a.bind("leaves", "unbound@example.org")
    a.bind("leaves", "erased@example.org")
    wait_until(lambda: all(is_at(node, "erased@example.org", mxid) for node in trio.values()))
    a.unbind(token, "unbound@example.org")
    wait_until(lambda: all(is_at(node, "unbound@example.org", None) for node in trio.values()))
    assert all(is_at(node, "erased@example.org", mxid) for node in trio.values())
    a.erase(token)
    wait_until(lambda: all(is_at(node, "erased@example.org", None) for node in trio.values()))


def test_while_one_is_frozen_the_others_go_on_and_it_catches_up(trio: Trio) -> None:
    a, b, c = (trio[name] for name in NAMES)
    b.lookup("frozen@example.org")
    b.signal(signal.SIGSTOP)
    try:
        a.bind("cold", "frozen@example.org")
        mxid = f"@cold:{a.homeserver.name}"
        wait_until(lambda: is_at(c, "frozen@example.org", mxid))
        assert is_at(a, "frozen@example.org", mxid)
    finally:
        b.signal(signal.SIGCONT)
    wait_until(lambda: is_at(b, "frozen@example.org", mxid), 60)


def test_while_one_is_cut_off_the_others_go_on_and_all_hear_of_all_afterwards(trio: Trio) -> None:
    a, b, c = (trio[name] for name in NAMES)
    c.lookup("cut@example.org")
    assert c.server.stop() == 0
    a.bind("near", "cut@example.org")
    wait_until(lambda: is_at(b, "cut@example.org", f"@near:{a.homeserver.name}"))
    c.server.start()
    c.bind("far", "cut-too@example.org")
    wait_until(lambda: is_at(c, "cut@example.org", f"@near:{a.homeserver.name}"), 60)
    for node in (a, b):
        wait_until(lambda node=node: is_at(node, "cut-too@example.org", f"@far:{a.homeserver.name}"), 60)


def append(node: Node, count: int) -> None:
    """Let a server vouch for many users at once."""
    directory = Path(node.server.directory) / "data"
    settings = make_settings(directory, node.url, server={"name": node.name, "public_base_url": node.server.base_url})
    built = wiring.build(settings)
    with built.database.begin() as db:
        for number in range(count):
            ts = int(time.time() * 1000)
            times = {"ts": ts, "not_before": ts, "not_after": ts + 10**12}
            content = {"medium": "email", "address": f"u{number}@many.test", "mxid": f"@u{number}:hs.test", **times}
            built.bindings.bind.associations.log.append(db, "bind", built.signer.sign(content))
    built.close()


def test_killed_in_the_middle_of_catching_up_all_is_there_once(trio: Trio) -> None:
    a, others = trio["a.test"], [trio["b.test"], trio["c.test"]]
    before = {node.name: node.count("SELECT count(*) FROM bindings WHERE origin = 'a.test'") for node in others}
    size = a.log_size()
    for node in others:
        assert node.server.stop() == 0
    append(a, ENTRIES)
    wait_until(lambda: a.log_size() == size + ENTRIES, 60)
    killed = 0
    for node in others:
        node.server.start()
        wait_until(lambda node=node: node.followed("a.test") > size, 60)
        node.server.stop(signal.SIGKILL)
        killed += node.followed("a.test") < size + ENTRIES
        node.server.start()
    assert killed
    for node in others:
        wait_until(lambda node=node: node.followed("a.test") == size + ENTRIES, 60)
        bindings = node.count("SELECT count(*) FROM bindings WHERE origin = 'a.test'")
        assert bindings == before[node.name] + ENTRIES
        assert node.count("SELECT count(*) FROM quarantine") == 0
        emails = [f"u{number}@many.test" for number in range(0, ENTRIES, 7)]
        assert len(node.lookup(*emails)) == len(emails)


def test_answers_without_end_cost_little_memory_and_keep_nobody_waiting(trio: Trio) -> None:
    a, b = trio["a.test"], trio["b.test"]
    wait_until(lambda: "too_large" in (a.error("endless.test") or ""), 60)
    wait_until(lambda: "timeout" in (a.error("drip.test") or ""), 90)
    assert a.memory() - b.memory() < 50 * 2**20
    assert [a.followed(name) for name in ("endless.test", "drip.test", "b.test")] == [0, 0, b.log_size()]
    assert is_at(a, "victim@example.org", None)
    assert a.error("b.test") is None
