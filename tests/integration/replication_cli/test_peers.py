"""``sydent-py peers`` between real servers: what there is to configure, what is wrong, and what to do."""

import hashlib
import json
import signal
import sqlite3
import time
import tomllib
from collections.abc import Callable

import pytest

from tests.fakes.homeserver import FakeHomeserver
from tests.fakes.http_server import http_server
from tests.integration.conftest import free_port
from tests.integration.replication_cli.conftest import NewSide, Side


def until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def sql(side: Side, statement: str, *values: object) -> None:
    db = sqlite3.connect(side.server.directory / "data" / "sydent.db", timeout=30)
    with db:
        db.execute(statement, values)
    db.close()


def test_what_is_to_be_configured_on_both_sides_is_written(new_side: NewSide) -> None:
    a, b = new_side("a.test"), new_side("b.test")
    b.server.start()
    added = a.run("add", b.url)
    assert added.returncode == 0, added.stderr
    assert tomllib.loads(added.stdout)["peers"] == [b.block]
    for key in ("verify_key", "log_key"):
        digest = hashlib.sha256(b.block[key].encode()).hexdigest()
        assert f"  {key:10}  {' '.join(digest[start : start + 4] for start in range(0, 64, 4))}\n" in added.stderr
    assert f"The operator of b.test adds this, or runs 'sydent-py peers add {a.url}'" in added.stderr
    ours = added.stderr[added.stderr.index("[[peers]]") :].partition("\n\n")[0]
    assert tomllib.loads(ours)["peers"] == [a.block]
    shown = json.loads(a.run("add", b.url, "--json").stdout)
    assert {key: shown["peer"][key] for key in b.block} == b.block
    assert {key: shown["us"][key] for key in a.block} == a.block

    config = a.server.config.read_text()
    assert "Note" not in added.stderr
    a.pin(b.block)
    assert "Note: the configuration names b.test already, with these keys" in a.run("add", b.url).stderr
    assert a.server.config.read_text().startswith(config)


def test_a_peer_that_does_not_know_us_and_then_is_down(new_side: NewSide) -> None:
    a, b = new_side("a.test"), new_side("b.test")
    a.pin(b.block)
    a.prepare()
    b.server.start()
    checked = a.run("check", "b.test")
    assert checked.returncode == 1
    assert f"  ok     connection: {b.url} answers, on this machine." in checked.stdout
    assert "  WRONG  requests: It refuses ours with status 403: This server is not a peer of ours" in checked.stdout
    assert (
        f'What to do: There, [[peers]] has to have name = "a.test", verify_key = "{a.block["verify_key"]}"' in checked.stdout
    )
    assert "  look   following: Nobody has begun to follow it." in checked.stdout
    b.server.stop(signal.SIGKILL)
    found = json.loads(a.run("check", "--json").stdout)["peers"][0]
    assert (found["name"], found["findings"][0]["verdict"]) == ("b.test", "wrong")
    assert "cannot be reached: Connection refused" in found["findings"][0]["found"]


def test_a_certificate_that_nobody_trusts_is_told_with_what_to_do(new_side: NewSide, homeserver: FakeHomeserver) -> None:
    a, url = new_side("a.test"), f"https://{homeserver.name}"
    added = a.run("add", url)
    assert (added.returncode, added.stdout) == (1, "")
    assert "does not answer as a sydent_py server: tls: " in added.stderr
    a.pin({**new_side("b.test").block, "base_url": url})
    a.prepare()
    checked = a.run("check")
    assert checked.returncode == 1
    assert f"WRONG  connection: The certificate of {url} is not trusted" in checked.stdout
    assert "name that in ca_file" in checked.stdout


def test_a_stopped_peer_is_explained_and_followed_again(new_side: NewSide) -> None:
    a, b = new_side("a.test"), new_side("b.test")
    a.pin(b.block)
    b.pin(a.block)
    for side in (a, b):
        side.server.start()
    until(lambda: a.standing()["state"] == "following")
    checked = a.run("check")
    assert (checked.returncode, "WRONG" in checked.stdout) == (0, False), checked.stdout

    sql(a, "UPDATE peers SET is_stopped = 1, error = 'it was for\x1bked', evidence = ?", b"b.test/log\n1\n\x1bx\n\n")
    assert a.server.request("GET", "/ready").json() == {"status": "ready", "stopped_peers": ["b.test"]}
    checked = a.run("check")
    assert checked.returncode == 1
    assert "WRONG  following: It is followed no more: it was for\\x1bked." in checked.stdout
    assert "To begin anew: sydent-py peers resync b.test" in checked.stdout
    assert "           b.test/log\n           1\n           \\x1bx\n" in checked.stdout
    assert a.run("resync", "b.test", "--yes").returncode == 0
    until(lambda: a.standing()["state"] == "following")


def test_what_cannot_be_added_is_said(new_side: NewSide) -> None:
    a = new_side("a.test")
    a.server.start()
    for url, status, said in (
        ("ftp://id.example.org", 2, "a URL begins with https:// or http://"),
        (f"http://127.0.0.1:{free_port()}", 1, "does not answer as a sydent_py server: unreachable: Connection refused"),
        (a.url, 1, "a.test is the name of this server itself"),
        (f"{a.url}/nowhere", 1, "does not answer as a sydent_py server"),
    ):
        added = a.run("add", url)
        assert (added.returncode, added.stdout, said in added.stderr) == (status, "", True), added.stderr


def test_a_server_that_signs_with_another_key_is_added_with_that(new_side: NewSide) -> None:
    a, b = new_side("a.test"), new_side("b.test", key_id="new")
    b.server.start()
    [peer] = tomllib.loads(a.run("add", b.url).stdout)["peers"]
    assert peer["verify_key"] == b.block["verify_key"].replace("ed25519:0", "ed25519:new")
    other = a.run("add", b.url, "--key-id", "ed25519:0")
    assert (other.returncode, f"Its page at {b.url}/ shows" in other.stderr, "--key-id" in other.stderr) == (1, True, True)


@pytest.mark.parametrize("vkey", ["evil\x1b[2J/log+00000000+AAAA", "a" * 20_000, '"]\n[server]\nname = "x', "\udcff"])
def test_a_hostile_server_writes_nothing_to_the_terminal(new_side: NewSide, vkey: str) -> None:
    with http_server(lambda _path: (200, {}, vkey.encode(errors="surrogateescape"))) as (port, _):
        added = new_side("a.test").run("add", f"http://127.0.0.1:{port}")
    assert (added.returncode, added.stdout, "\x1b" in added.stderr) == (1, "", False)
    assert "does not answer as a sydent_py server" in added.stderr
