"""A real server whose disk is really full answers what it can, refuses what it cannot, and catches up when there is room."""

import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.driver import OWN
from tests.fakes import small_disk
from tests.fakes.small_disk import SmallDisk
from tests.integration.conftest import COMMAND, V2
from tests.integration.replication.conftest import Node, Surroundings, configure, wait_until
from tests.integration.replication.test_federation import append
from tests.usecases.replication.conftest import peer_section

pytestmark = pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS:UserWarning")
ENTRIES = 3000
FULL = "this server's database did not take it over: database or disk is full"


@dataclass
class OnSmallDisk:
    """A server on a disk of its own, and its peer. Nobody but the server's processes opens its database."""

    node: Node
    peer: Node
    disk: SmallDisk

    @property
    def pid(self) -> int:
        return self.node.server.process.pid

    def followed(self) -> int:
        """How many entries of the peer it has taken over, as it says itself."""
        page = self.node.server.request("GET", "/metrics").data.decode()
        [family] = [each for each in text_string_to_metric_families(page) if each.name == "sydent_py_peer_entries"]
        return int(family.samples[0].value)

    def logged(self) -> list[str]:
        """What has gone wrong with the peer, in the server's log."""
        lines = [json.loads(line) for line in self.node.server.output.read_text().splitlines() if line.startswith("{")]
        return [line["error"] for line in lines if line["event"] == "replication.failed"]


@pytest.fixture
def on_small_disk(surroundings: Surroundings) -> Iterator[OnSmallDisk]:
    small_disk.require()
    disk = SmallDisk(surroundings.parent / "disk")
    command = disk.command_on(COMMAND, surroundings.parent / "sydent-py-on-small-disk")
    peer = surroundings.node("a.test")
    node = surroundings.node("b.test", f"sqlite:///{disk.directory}/sydent.db", command=command)
    with ExitStack() as stack:
        for each, other in ((peer, node), (node, peer)):
            configure(each.server, [peer_section(other.name, base_url=other.server.base_url)])
            stack.enter_context(each.server)
        yield OnSmallDisk(node, peer, disk)
        peer.database.close()


def test_while_the_disk_is_full_lookups_are_answered_and_afterwards_nothing_is_lost(on_small_disk: OnSmallDisk) -> None:
    node, peer, disk = on_small_disk.node, on_small_disk.peer, on_small_disk.disk
    mxid = f"@before:{node.homeserver.name}"
    token = node.bind("before", "before@example.org")
    assert node.lookup("before@example.org") == {"before@example.org": mxid}
    wait_until(lambda: peer.followed("b.test") == 1)

    disk.fill(on_small_disk.pid)
    append(peer, ENTRIES)
    wait_until(on_small_disk.logged)
    assert set(on_small_disk.logged()) == {FULL}
    assert on_small_disk.followed() == 0
    assert node.lookup("before@example.org", "u0@many.test") == {"before@example.org": mxid}
    for path in ("/ready", f"{OWN}/log/checkpoint", f"{V2}/hash_details"):
        assert node.server.request("GET", path, token).status == 200
    body = json.dumps({"client_secret": "s", "email": "refused@example.org", "send_attempt": 1}).encode()
    refused = node.server.request("POST", f"{V2}/validate/email/requestToken", token, body=body)
    assert (refused.status, refused.json()["errcode"]) == (503, "M_UNKNOWN")
    assert refused.headers["Access-Control-Allow-Origin"] == "*"

    disk.clear(on_small_disk.pid)
    wait_until(lambda: on_small_disk.followed() == ENTRIES, 100)
    emails = [f"u{number}@many.test" for number in range(0, ENTRIES, 7)]
    assert len(node.lookup(*emails)) == len(emails)
    node.bind("after", "after@example.org")
    wait_until(lambda: peer.lookup("after@example.org") == {"after@example.org": f"@after:{node.homeserver.name}"})
    assert peer.followed("b.test") == 2
