"""``sydent-py peers`` between real servers: making peers, checking them, and what is said when something is wrong."""

import hashlib
import json
import signal
import time
import tomllib
from collections.abc import Callable

import pytest

from tests.fakes.homeserver import FakeHomeserver
from tests.fakes.http_server import http_server
from tests.integration.conftest import free_port
from tests.integration.replication_cli.conftest import Side, Sides


def until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def make_peers(a: Side, b: Side) -> None:
    """As two operators do: each adds what the other server says of itself."""
    blocks = [one.run("add", other.server.base_url) for one, other in ((a, b), (b, a))]
    assert [block.returncode for block in blocks] == [0, 0], blocks
    for side, block in zip((a, b), blocks, strict=True):
        side.configure(block.stdout)


def test_two_servers_become_peers_with_what_they_say_of_themselves(sides: Sides) -> None:
    a, b = sides
    added = a.run("add", b.server.base_url)
    assert added.returncode == 0, added.stderr
    [peer] = tomllib.loads(added.stdout)["peers"]
    assert (peer["name"], peer["base_url"]) == ("b.test", b.server.base_url)
    for key in ("verify_key", "log_key"):
        digest = hashlib.sha256(peer[key].encode()).hexdigest()
        grouped = " ".join(digest[start : start + 4] for start in range(0, 64, 4))
        assert f"# {key}: {grouped}\n" in added.stdout
    [us] = tomllib.loads(added.stderr.partition("[[peers]]")[1] + added.stderr.partition("[[peers]]")[2])["peers"]
    assert us == tomllib.loads(b.run("add", a.server.base_url).stdout)["peers"][0]
    assert a.run("list").stdout.startswith("The configuration names no peers.")

    make_peers(a, b)
    until(lambda: a.standing()["state"] == b.standing()["state"] == "following")
    for side, other in ((a, "b.test"), (b, "a.test")):
        checked = side.run("check")
        assert (checked.returncode, "WRONG" in checked.stdout) == (0, False), checked.stdout
        assert checked.stdout.startswith(f"{other}\n  ok     connection: http://127.0.0.1:")
    again = a.run("add", b.server.base_url)
    assert "Note: the configuration names b.test already, with these keys" in again.stderr


def test_a_peer_that_does_not_know_us_and_then_is_down(sides: Sides) -> None:
    a, b = sides
    a.configure(a.run("add", b.server.base_url).stdout)
    checked = a.run("check", "b.test")
    assert checked.returncode == 1
    assert "WRONG  requests: It refuses ours with status 403: This server is not a peer of ours" in checked.stdout
    assert 'What to do: There, [[peers]] has to have name = "a.test", verify_key = "ed25519:0 ' in checked.stdout
    b.server.stop(signal.SIGKILL)
    found = json.loads(a.run("check", "--json").stdout)["peers"][0]
    assert found["name"] == "b.test"
    assert found["findings"][0]["verdict"] == "wrong"
    assert "cannot be reached: Connection refused" in found["findings"][0]["found"]


def test_a_certificate_that_nobody_trusts_is_told_with_what_to_do(sides: Sides, homeserver: FakeHomeserver) -> None:
    a, b = sides
    block, url = a.run("add", b.server.base_url).stdout, f"https://{homeserver.name}"
    added = a.run("add", url)
    assert (added.returncode, added.stdout) == (1, "")
    assert "does not answer as a sydent_py server: tls: " in added.stderr
    a.configure(block.replace(b.server.base_url, url))
    checked = a.run("check")
    assert checked.returncode == 1
    assert f"WRONG  connection: The certificate of {url} is not trusted" in checked.stdout
    assert "name that in ca_file" in checked.stdout


def test_a_stopped_peer_is_explained_and_followed_again(sides: Sides) -> None:
    a, b = sides
    make_peers(a, b)
    until(lambda: a.standing()["state"] == "following")
    b.server.stop()
    data = b.server.directory / "data"
    (data / "log.key").rename(data / "old.key")
    for path in data.glob("sydent.db*"):
        path.unlink()
    b.server.start()
    until(lambda: a.standing()["state"] == "stopped")
    checked = a.run("check")
    assert checked.returncode == 1
    assert "WRONG  log key: It shows b.test/log+" in checked.stdout
    assert "WRONG  following: It is followed no more" in checked.stdout
    assert "b.test/log\n           0\n" in checked.stdout
    assert a.server.request("GET", "/ready").json() == {"status": "ready", "stopped_peers": ["b.test"]}

    old = tomllib.loads(a.server.config.read_text())["peers"][0]["log_key"]
    new = json.loads(a.run("add", b.server.base_url, "--json").stdout)["peer"]["log_key"]
    a.server.config.write_text(a.server.config.read_text().replace(old, new))
    a.server.stop()
    a.server.start()
    assert a.standing()["state"] == "stopped"
    assert a.run("resync", "b.test", "--yes").returncode == 0
    until(lambda: a.standing()["state"] == "following")
    assert a.run("check").returncode == 0


@pytest.mark.parametrize(
    ("url", "status", "said"),
    [
        ("ftp://id.example.org", 2, "a URL begins with https:// or http://"),
        ("http://127.0.0.1:{port}", 1, "does not answer as a sydent_py server: unreachable: Connection refused"),
        ("http://127.0.0.1:{own}", 1, "a.test is the name of this server itself"),
        ("http://127.0.0.1:{own}/nowhere", 1, "does not answer as a sydent_py server"),
    ],
)
def test_what_cannot_be_added_is_said(launch: Callable[..., Side], url: str, status: int, said: str) -> None:
    a = launch("a.test")
    added = a.run("add", url.format(port=free_port(), own=a.server.port))
    assert (added.returncode, added.stdout, said in added.stderr) == (status, "", True), added.stderr


def test_a_server_that_signs_with_another_key_is_added_with_that(sides: Sides) -> None:
    a, b = sides
    key_file = b.server.directory / "data" / "signing.key"
    key_file.write_text(key_file.read_text().replace("ed25519 0 ", "ed25519 new "))
    b.server.stop()
    b.server.start()
    [peer] = tomllib.loads(a.run("add", b.server.base_url).stdout)["peers"]
    assert peer["verify_key"].startswith("ed25519:new ")
    other = a.run("add", b.server.base_url, "--key-id", "ed25519:0")
    assert (other.returncode, "Its page at" in other.stderr, "--key-id" in other.stderr) == (1, True, True)


@pytest.mark.parametrize("vkey", ["evil\x1b[2J/log+00000000+AAAA", "a" * 20_000, '"]\n[server]\nname = "x', "\udcff"])
def test_a_hostile_server_writes_nothing_to_the_terminal(launch: Callable[..., Side], vkey: str) -> None:
    a = launch("a.test")
    with http_server(lambda _path: (200, {}, vkey.encode(errors="surrogateescape"))) as (port, _):
        added = a.run("add", f"http://127.0.0.1:{port}")
    assert (added.returncode, added.stdout, "\x1b" in added.stderr) == (1, "", False)
    assert "does not answer as a sydent_py server" in added.stderr
