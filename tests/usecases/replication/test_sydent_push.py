"""What Sydent peers are told of this server's own bindings."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import text

from sydent_py.federation.transport import Reason, RequestFailed
from sydent_py.replication import sydent_erasure
from sydent_py.replication.sydent_push import LAST_RETRY_MS, Push
from sydent_py.settings import ConfigurationError
from tests.conftest import LOG_KEY, SIGNING_KEY, Launch
from tests.driver import OWN, SECRET, Driver
from tests.fakes.sydent import FakeSydent
from tests.fakes.tls import CertificateAuthority

ALICE = "alice@example.org"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return CertificateAuthority().write_certificate(tmp_path_factory.mktemp("tls"), "id.test", common_name="id.test")


@pytest.fixture
def sections(certificate: tuple[Path, Path]) -> dict[str, Any]:
    ours = dict(zip(("certificate_file", "key_file"), certificate, strict=True))
    return {"sydent_replication": ours, "sydent_peers": [peer("one.test"), peer("two.test")]}


def peer(name: str) -> dict[str, Any]:
    return {"name": name, "verify_key": FakeSydent().verify_key, "push_url": f"https://{name}:4434"}


@pytest.fixture
def api(launch: Launch, sections: dict[str, Any]) -> Driver:
    return launch(**sections)


def pushing(api: Driver, name: str = "one.test") -> tuple[FakeSydent, Push]:
    """A peer, and what pushes to it."""
    sydent = FakeSydent(name)
    sydent.trust("id.test", api.services.signer.public_keys[0])
    return sydent, replace(api.services.sydent.push[name], way=sydent)


def do(api: Driver, push: Push) -> None:
    """What the worker does."""
    api.sequence()
    push()


def erase(api: Driver, token: str) -> None:
    assert api.request("POST", f"{OWN}/account/erase", token).status_code == 200


def kept(api: Driver) -> int:
    with api.services.database.begin() as db:
        return int(db.execute(text("SELECT count(*) FROM sydent_tombstones")).scalar_one())


def test_what_is_bound_here_is_found_there_until_it_is_unbound(api: Driver) -> None:
    sydent, push = pushing(api)
    token, sid = api.bound()
    do(api, push)
    assert sydent.lookup(ALICE) == "@alice:hs.test"
    api.unbind(token, sid)
    do(api, push)
    assert sydent.lookup(ALICE) is None


def test_nothing_is_sent_twice_and_nothing_where_nothing_is_new(api: Driver) -> None:
    sydent, push = pushing(api)
    do(api, push)
    api.bound()
    for _ in range(3):
        do(api, push)
    assert [list(rows) for rows in sydent.pushes] == [["1", "2"]]


def test_an_address_that_goes_to_another_user_goes_to_them_there(api: Driver) -> None:
    sydent, push = pushing(api)
    api.bound()
    bob = api.register("@bob:hs.test")
    api.bind(bob, api.validate(bob), "@bob:hs.test")
    do(api, push)
    assert sydent.lookup(ALICE) == "@bob:hs.test"


def test_what_waits_for_its_place_in_the_log_is_not_sent(api: Driver) -> None:
    sydent, push = pushing(api)
    api.bound()
    push()
    assert sydent.pushes == []


def test_what_a_peer_pushes_is_not_passed_on(api: Driver) -> None:
    sydent, push = pushing(api)
    other = FakeSydent("two.test")
    api.services.sydent.receive("two.test", b'{"sgAssocs": {}}')
    do(api, push)
    assert (sydent.pushes, other.pushes) == ([], [])


def test_a_long_log_is_sent_in_order_and_no_more_than_sydent_takes_at_once(api: Driver) -> None:
    sydent, push = pushing(api)
    associations, addresses = api.services.bindings.bind.associations, [f"u{number}@example.org" for number in range(300)]
    with api.services.database.begin() as db:
        for address in addresses:
            content = {"medium": "email", "address": address, "mxid": "@u:hs.test", "ts": 1, "not_before": 1, "not_after": 2}
            associations.log.append(db, "bind", associations.signer.sign(content))
    do(api, push)
    assert all(sydent.lookup(address) == "@u:hs.test" for address in addresses)
    assert max(map(len, sydent.pushes)) == 100
    ids = [int(row_id) for rows in sydent.pushes for row_id in rows]
    assert ids == list(range(1, 601))


def test_a_peer_that_is_down_is_asked_later_and_later_and_gets_all_in_order(
    api: Driver, capfd: pytest.CaptureFixture[str]
) -> None:
    sydent, push = pushing(api)
    token, sid = api.bound()
    sydent.is_down = True
    pauses = []
    for _ in range(12):
        do(api, push)
        push()  # not yet due
        [status, _other] = api.services.sydent.status()
        assert (status.error, status.behind) == ("unreachable: Connection refused", 1)
        with api.services.database.begin() as db:
            due_at_ms = db.execute(text("SELECT due_at_ms FROM sydent_peers WHERE name = 'one.test'")).scalar_one()
        pauses.append(due_at_ms - api.clock.now_ms())
        api.clock.advance(pauses[-1] / 1000)
    assert pauses[:4] == [2_000, 4_000, 8_000, 16_000]
    assert pauses[-1] == LAST_RETRY_MS
    assert "".join(capfd.readouterr()).count("sydent.not_pushed") == 12
    sydent.is_down = False
    api.unbind(token, sid)
    do(api, push)
    assert (sydent.lookup(ALICE), [list(rows) for rows in sydent.pushes]) == (None, [["1", "2", "4"]])
    [status, _other] = api.services.sydent.status()
    assert (status.error, status.behind) == (None, 0)


def test_a_clock_that_was_set_back_does_not_keep_a_peer_waiting(api: Driver) -> None:
    sydent, push = pushing(api)
    api.bound()
    sydent.is_down = True
    do(api, push)
    api.clock.advance(-86_400)
    sydent.is_down = False
    push()
    assert sydent.lookup(ALICE) == "@alice:hs.test"


def test_a_peer_that_refuses_is_sent_the_same_again(api: Driver) -> None:
    """A Sydent whose database is locked says that it cannot verify: to leave out what it names would lose a binding."""
    sydent, push = pushing(api)
    sydent.trust("id.test", FakeSydent().verify_key.partition(" ")[2])
    api.bound()
    do(api, push)
    sydent.trust("id.test", api.services.signer.public_keys[0])
    api.clock.advance(10)
    push()
    assert sydent.lookup(ALICE) == "@alice:hs.test"


def test_an_answer_that_is_lost_does_no_harm(api: Driver) -> None:
    sydent, push = pushing(api)

    class Lossy:
        def push(self, body: bytes) -> None:
            sydent.push(body)
            raise RequestFailed(Reason.TIMEOUT)

    token, sid = api.bound()
    do(api, replace(push, way=Lossy()))
    api.unbind(token, sid)
    api.clock.advance(10)
    do(api, push)
    assert sydent.lookup(ALICE) is None
    assert len(sydent.pushes) == 2


def test_each_peer_has_a_cursor_of_its_own(api: Driver) -> None:
    (one, push_one), (two, push_two) = pushing(api), pushing(api, "two.test")
    api.bound()
    do(api, push_one)
    assert (one.lookup(ALICE), two.lookup(ALICE)) == ("@alice:hs.test", None)
    do(api, push_two)
    assert two.lookup(ALICE) == "@alice:hs.test"


def test_an_erased_account_is_gone_there_and_nothing_is_kept_of_it(api: Driver) -> None:
    peers = [pushing(api), pushing(api, "two.test")]
    token, _ = api.bound()
    for _, push in peers:
        do(api, push)
    erase(api, token)
    assert kept(api) == 2
    for left, (sydent, push) in zip((1, 0), peers, strict=True):
        do(api, push)
        assert (sydent.lookup(ALICE), kept(api)) == (None, left)


def test_a_removal_before_the_erasure_that_a_peer_has_not_heard_of_is_told(api: Driver) -> None:
    sydent, push = pushing(api)
    token, sid = api.bound()
    do(api, push)
    sydent.is_down = True
    api.unbind(token, sid)
    do(api, push)
    erase(api, token)
    sydent.is_down = False
    api.clock.advance(10)
    do(api, push)
    assert sydent.lookup(ALICE) is None
    assert list(sydent.pushes[-1]) == ["4"]


def test_a_removal_that_a_peer_has_heard_of_is_not_kept(api: Driver) -> None:
    _, push = pushing(api)
    token, sid = api.bound()
    api.unbind(token, sid)
    do(api, push)
    erase(api, token)
    assert kept(api) == 0


def test_a_peer_that_was_never_told_of_an_address_is_not_told_that_it_was_erased(api: Driver) -> None:
    sydent, push = pushing(api)
    do(api, push)
    token, _ = api.bound("secret@example.org")
    api.sequence()
    erase(api, token)
    assert kept(api) == 0
    do(api, push)
    assert "secret@example.org" not in str(sydent.pushes)


def test_an_erasure_while_a_push_is_under_way_leaves_nothing_there(api: Driver) -> None:
    sydent, push = pushing(api)

    class Slow:
        def push(self, body: bytes) -> None:
            erase(api, token)
            sydent.push(body)

    token, _ = api.bound()
    do(api, replace(push, way=Slow()))
    assert sydent.lookup(ALICE) == "@alice:hs.test"
    do(api, push)
    assert (sydent.lookup(ALICE), kept(api)) == (None, 0)


def test_the_address_goes_on_to_somebody_else_after_an_erasure(api: Driver) -> None:
    sydent, push = pushing(api)
    token, _ = api.bound()
    do(api, push)
    erase(api, token)
    api.bound(ALICE, "@bob:hs.test")
    do(api, push)
    assert sydent.lookup(ALICE) == "@bob:hs.test"


def test_a_removal_is_sealed_and_not_kept_for_ever(api: Driver, capfd: pytest.CaptureFixture[str]) -> None:
    _, push = pushing(api)
    token, _ = api.bound()
    do(api, push)
    erase(api, token)
    with api.services.database.begin() as db:
        contents = [bytes(row) for row in db.execute(text("SELECT content FROM sydent_tombstones")).scalars()]
    assert contents
    assert not any(b"alice" in content for content in contents)
    api.clock.advance(sydent_erasure.KEEP_MS / 1000)
    api.services.forget_expired()
    assert kept(api) == len(contents)
    api.clock.advance(1)
    api.services.forget_expired()
    assert kept(api) == 0
    said = "".join(capfd.readouterr())
    assert "sydent.removal_not_told" in said
    assert ALICE not in said


def test_nothing_is_kept_for_who_is_no_peer_any_more(api: Driver, launch: Launch, sections: dict[str, Any]) -> None:
    _, push = pushing(api, "two.test")
    token, _ = api.bound()
    do(api, push)
    erase(api, token)
    assert kept(api) == 1
    api = launch(**{**sections, "sydent_peers": sections["sydent_peers"][:1]})
    api.services.forget_expired()
    assert kept(api) == 0


def test_without_peers_nothing_is_kept(launch: Launch) -> None:
    api = launch()
    token, _ = api.bound()
    erase(api, token)
    assert (kept(api), api.services.sydent.push) == (0, {})


def test_a_key_that_signs_no_more_still_signs_for_sydent(launch: Launch, sections: dict[str, Any], tmp_path: Path) -> None:
    api = launch(**sections)
    token, _ = api.bound()
    (tmp_path / "signing.key").write_text(LOG_KEY.replace("ed25519 0", "ed25519 1") + SIGNING_KEY)
    api = launch(**sections)
    api.bind(token, api.validate(token, "new@example.org", client_secret="another"), secret="another")
    sydent = FakeSydent("one.test")
    sydent.trust("id.test", api.services.signer.public_keys[1])
    do(api, replace(api.services.sydent.push["one.test"], way=sydent))
    assert (sydent.lookup(ALICE), sydent.lookup("new@example.org")) == ("@alice:hs.test", "@alice:hs.test")
    assert SECRET not in str(sydent.pushes)


def test_without_a_key_that_sydent_believes_the_start_says_so(
    launch: Launch, sections: dict[str, Any], tmp_path: Path
) -> None:
    (tmp_path / "signing.key").write_text(SIGNING_KEY.replace("ed25519 0", "ed25519 a"))
    with pytest.raises(ConfigurationError, match="Sydent believes keys named ed25519:0 alone"):
        launch(**sections)
    launch(sydent_peers=[{**peer("one.test"), "push_url": ""}])


@pytest.mark.parametrize("name", ["certificate_file", "key_file", "ca_file"])
def test_a_certificate_that_cannot_be_used_is_said_at_the_start(
    launch: Launch, sections: dict[str, Any], tmp_path: Path, name: str
) -> None:
    for path in (tmp_path / "nothing.pem", tmp_path / "signing.key"):
        replication = {**sections["sydent_replication"], "bind": "127.0.0.1:4434", name: path}
        with pytest.raises(ConfigurationError, match=r"sydent_replication: .* cannot be used"):
            launch(sydent_replication=replication)


def test_how_far_each_peer_is_is_in_the_metrics(api: Driver) -> None:
    sydent, push = pushing(api)
    api.bound()
    do(api, push)
    api.services.sydent.receive("two.test", b'{"sgAssocs": {"1": "bad"}}')
    down, failing = pushing(api, "two.test")
    down.is_down = True
    failing()
    figures = {
        (sample.name.removeprefix("sydent_py_sydent_peer_"), sample.labels["peer"]): sample.value
        for family in text_string_to_metric_families(api.request("GET", "/metrics").text)
        for sample in family.samples
        if sample.name.startswith("sydent_py_sydent_peer_")
    }
    assert figures == {
        ("behind_entries", "one.test"): 0,
        ("behind_entries", "two.test"): 1,
        ("failing", "one.test"): 0,
        ("failing", "two.test"): 1,
        ("last_push_timestamp_seconds", "one.test"): 0,
        ("last_push_timestamp_seconds", "two.test"): api.clock.now_ms() / 1000,
        ("quarantined_rows", "one.test"): 0,
        ("quarantined_rows", "two.test"): 1,
    }
    assert sydent.lookup(ALICE) == "@alice:hs.test"
