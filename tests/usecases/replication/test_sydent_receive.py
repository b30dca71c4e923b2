"""What Sydent peers push, and what lookups make of it."""

import json
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import text

from sydent_py.errors import BadJson, NotJson
from sydent_py.federation.mutual_tls import Received
from sydent_py.replication import sydent_v1
from sydent_py.replication.sydent_receive import PushEndpoint, UnknownPeer
from tests.conftest import Launch
from tests.driver import Driver
from tests.fakes.sydent import TS, FakeSydent, body_of

ALICE = "alice@example.org"


@pytest.fixture
def sydent() -> FakeSydent:
    return FakeSydent()


@pytest.fixture
def other() -> FakeSydent:
    return FakeSydent("other.test")


@pytest.fixture
def api(launch: Launch, sydent: FakeSydent, other: FakeSydent) -> Driver:
    return launch(sydent_peers=[{"name": each.name, "verify_key": each.verify_key} for each in (sydent, other)])


def push(api: Driver, sydent: FakeSydent, rows: dict[int, Any]) -> None:
    api.services.sydent.receive(sydent.name, body_of(rows))


def owner(api: Driver, address: str = ALICE) -> str | None:
    return api.lookup(api.register("@reader:hs.test"), address).get(address)


def quarantine(api: Driver) -> list[tuple[int, str]]:
    with api.services.database.begin() as db:
        rows = db.execute(text("SELECT row_id, reason FROM sydent_quarantine ORDER BY row_id"))
        return [(row.row_id, row.reason) for row in rows]


def test_what_is_pushed_is_found_until_it_is_taken_back(api: Driver, sydent: FakeSydent) -> None:
    push(api, sydent, {1: sydent.row(ALICE, "@alice:hs.test"), 2: sydent.row("Bob@Example.ORG", "@bob:hs.test")})
    assert (owner(api), owner(api, "bob@example.org")) == ("@alice:hs.test", "@bob:hs.test")
    push(api, sydent, {3: sydent.row(ALICE, None)})
    assert (owner(api), owner(api, "bob@example.org")) == (None, "@bob:hs.test")


def test_rows_are_taken_in_the_order_of_their_ids_as_numbers(api: Driver, sydent: FakeSydent) -> None:
    push(api, sydent, {10: sydent.row(ALICE, "@new:hs.test"), 9: sydent.row(ALICE, None)})
    assert owner(api) == "@new:hs.test"


def test_an_old_row_does_not_bring_back_what_was_taken_back(api: Driver, sydent: FakeSydent) -> None:
    bound = sydent.row(ALICE, "@alice:hs.test")
    push(api, sydent, {5: bound})
    push(api, sydent, {6: sydent.row(ALICE, None)})
    for row_id in (5, 4):  # the same again, and one that is as old and was never seen
        push(api, sydent, {row_id: bound})
        assert owner(api) is None
    push(api, sydent, {7: bound})
    assert owner(api) == "@alice:hs.test"


def test_an_id_that_was_taken_over_says_nothing_else_later(api: Driver, sydent: FakeSydent) -> None:
    push(api, sydent, {5: sydent.row(ALICE, "@alice:hs.test")})
    push(api, sydent, {5: sydent.row(ALICE, None), 6: sydent.row("b@example.org", "@b:hs.test")})
    push(api, sydent, {5: sydent.row("c@example.org", "@c:hs.test")})
    assert (owner(api), owner(api, "c@example.org")) == ("@alice:hs.test", None)


def test_a_push_that_comes_again_changes_nothing(api: Driver, sydent: FakeSydent) -> None:
    rows = {1: sydent.row(ALICE, "@alice:hs.test"), 2: {"bad": "row"}, 3: sydent.row("b@example.org", "@b:hs.test")}
    for _ in range(3):
        push(api, sydent, rows)
    assert (owner(api), owner(api, "b@example.org")) == ("@alice:hs.test", "@b:hs.test")
    assert [row_id for row_id, _ in quarantine(api)] == [2]


def test_a_removal_takes_back_the_word_of_its_own_origin_alone(api: Driver, sydent: FakeSydent, other: FakeSydent) -> None:
    api.bound(ALICE, "@local:hs.test")
    push(api, sydent, {1: sydent.row(ALICE, "@newer:hs.test", api.clock.now_ms() + 1000)})
    assert owner(api) == "@newer:hs.test"
    push(api, other, {2: other.row(ALICE, None)})
    assert owner(api) == "@newer:hs.test"
    push(api, sydent, {2: sydent.row(ALICE, None)})
    assert owner(api) == "@local:hs.test"


def test_ids_of_two_peers_have_nothing_to_do_with_each_other(api: Driver, sydent: FakeSydent, other: FakeSydent) -> None:
    push(api, sydent, {100: sydent.row(ALICE, "@sydents:hs.test")})
    push(api, other, {1: other.row(ALICE, "@others:hs.test", TS + 1)})
    assert owner(api) == "@others:hs.test"
    push(api, other, {100: other.row(ALICE, None)})
    assert owner(api) == "@sydents:hs.test"


def test_a_peer_does_not_speak_for_another(api: Driver, sydent: FakeSydent, other: FakeSydent) -> None:
    push(api, sydent, {1: other.row(ALICE, "@alice:hs.test"), 2: other.row(ALICE, None)})
    assert owner(api) is None
    assert [reason for _, reason in quarantine(api)] == ["it has no signature of the peer with the key ed25519:0"] * 2


def test_whoever_bound_an_address_here_is_told_when_a_newer_binding_takes_its_place(api: Driver, sydent: FakeSydent) -> None:
    api.bound(ALICE, "@alice:hs.test")
    push(api, sydent, {1: sydent.row(ALICE, "@thief:hs.test", api.clock.now_ms() + 1000)})
    api.deliver()
    assert "@thief:hs.test" in api.mailbox.newest.text


def test_bad_rows_are_put_aside_with_the_reason_and_the_others_taken(
    launch: Launch, sydent: FakeSydent, capfd: pytest.CaptureFixture[str]
) -> None:
    scope = {"homeservers": ["hs.test"]}
    api = launch(sydent_peers=[{"name": sydent.name, "verify_key": sydent.verify_key, "scope": scope}])
    rows = {
        1: sydent.row("first@example.org", "@first:hs.test"),
        2: {**sydent.row("forged@example.org", "@a:hs.test"), "mxid": "@b:hs.test"},
        3: sydent.row("no address", "@a:hs.test"),
        4: sydent.row("foreign@example.org", "@a:elsewhere.test"),
        5: sydent.row("future@example.org", "@a:hs.test", api.clock.now_ms() + 3_600_000),
        6: "nonsense",
        7: sydent.row("last@example.org", "@last:hs.test"),
    }
    push(api, sydent, rows)
    assert quarantine(api) == [
        (2, "its signature is not valid"),
        (3, "it has no valid address"),
        (4, "the peer may not speak for users of that homeserver"),
        (5, "it is from the future"),
        (6, "it is no JSON object that can be kept"),
    ]
    assert (owner(api, "first@example.org"), owner(api, "last@example.org")) == ("@first:hs.test", "@last:hs.test")
    said = "".join(capfd.readouterr())
    assert said.count("sydent.quarantined") == 5
    assert "example.org" not in said
    [status] = api.services.sydent.status()
    assert (status.quarantined, status.received_at_ms, status.behind) == (5, api.clock.now_ms(), None)


def test_what_is_put_aside_is_sealed(api: Driver, sydent: FakeSydent) -> None:
    push(api, sydent, {1: sydent.row("forged@example.org", "@a:hs.test", not_after=None), 2: "x" * 100_000})
    with api.services.database.begin() as db:
        sealed, nothing = db.execute(text("SELECT content FROM sydent_quarantine ORDER BY row_id")).scalars()
        everything = str(db.execute(text("SELECT * FROM sydent_rows, sydent_quarantine, sydent_peers")).all())
    content = json.loads(
        api.services.bindings.bind.associations.register.sealer.unseal(bytes(sealed), "sydent_quarantine.content")
    )
    assert content["address"] == "forged@example.org"
    assert nothing is None
    assert "example.org" not in everything


def test_a_row_that_was_put_aside_is_taken_when_it_comes_again_and_is_good(launch: Launch, sydent: FakeSydent) -> None:
    section = {"name": sydent.name, "verify_key": sydent.verify_key}
    row = sydent.row(ALICE, "@alice:hs.test")
    api = launch(sydent_peers=[{**section, "scope": {"media": ["msisdn"]}}])
    push(api, sydent, {5: row})
    assert (owner(api), len(quarantine(api))) == (None, 1)
    api = launch(sydent_peers=[section])
    push(api, sydent, {5: row})
    assert (owner(api), quarantine(api)) == ("@alice:hs.test", [])


def test_an_address_that_went_to_somebody_we_may_not_name_is_nobodys(launch: Launch, sydent: FakeSydent) -> None:
    scope = {"homeservers": ["hs.test"]}
    api = launch(sydent_peers=[{"name": sydent.name, "verify_key": sydent.verify_key, "scope": scope}])
    push(api, sydent, {5: sydent.row(ALICE, "@alice:hs.test")})
    push(api, sydent, {6: sydent.row(ALICE, "@new:elsewhere.test")})
    assert owner(api) is None
    push(api, sydent, {7: sydent.row(ALICE, "@alice:hs.test")})
    push(api, sydent, {6: sydent.row(ALICE, "@new:elsewhere.test")})
    assert owner(api) == "@alice:hs.test"


@pytest.mark.parametrize("name", [None, "", "stranger.test", "SYDENT.TEST"])
def test_a_certificate_of_somebody_else_is_refused(api: Driver, sydent: FakeSydent, name: str | None) -> None:
    with pytest.raises(UnknownPeer):
        api.services.sydent.receive(name, body_of({1: sydent.row(ALICE, "@alice:hs.test")}))
    assert owner(api) is None


def test_a_peer_that_may_not_push_is_refused(launch: Launch, sydent: FakeSydent) -> None:
    api = launch(sydent_peers=[{"name": sydent.name, "verify_key": sydent.verify_key, "receive": False}])
    with pytest.raises(UnknownPeer):
        push(api, sydent, {})


def test_what_is_no_push_is_refused_as_a_whole(api: Driver, sydent: FakeSydent) -> None:
    for body, refusal in ((b"x", NotJson), (b"{}", BadJson), (b'{"sgAssocs": {"x": {}}}', BadJson)):
        with pytest.raises(refusal):
            api.services.sydent.receive(sydent.name, body)


def test_the_endpoint_answers_as_sydent_does(api: Driver, sydent: FakeSydent) -> None:
    endpoint = PushEndpoint(api.services.sydent.receive)

    def ask(
        body: bytes = b'{"sgAssocs": {}}', name: str = sydent.name, method: str = "POST", path: str = sydent_v1.PATH
    ) -> Any:
        status, content = endpoint(Received(name, method, path, body))
        return status, content.get("errcode", content)

    assert ask() == (200, {"success": True})
    assert ask(b'{"sgAssocs": {"1": "bad"}}') == (200, {"success": True})
    assert ask(name="stranger.test") == (403, "M_UNKNOWN_PEER")
    assert ask(b"x") == (400, "M_NOT_JSON")
    assert ask(b"[]") == (400, "M_BAD_JSON")
    assert ask(method="GET") == (405, "M_UNRECOGNIZED")
    assert ask(path="/") == (404, "M_UNRECOGNIZED")
    api.services.close()
    object.__setattr__(endpoint.receive, "database", None)
    assert ask() == (500, "M_UNKNOWN")


def test_a_push_is_taken_whole_or_not_at_all(api: Driver, sydent: FakeSydent) -> None:
    def fail(*_displaced: object) -> None:
        raise RuntimeError

    api.bound(ALICE, "@local:hs.test")
    rows = {1: sydent.row(ALICE, "@alice:hs.test", api.clock.now_ms() + 1000), 2: "bad"}
    with pytest.raises(RuntimeError):
        replace(api.services.sydent.receive, announce=fail)(sydent.name, body_of(rows))
    assert (owner(api), quarantine(api)) == ("@local:hs.test", [])
    push(api, sydent, rows)
    assert (owner(api), len(quarantine(api))) == ("@alice:hs.test", 1)


def test_many_rows_are_one_push(api: Driver, sydent: FakeSydent) -> None:
    push(api, sydent, {number: sydent.row(f"u{number}@example.org", f"@u{number}:hs.test") for number in range(600)})
    assert owner(api, "u599@example.org") == "@u599:hs.test"


def test_what_peers_say_is_kept_as_long_as_they_are_peers(launch: Launch, sydent: FakeSydent, other: FakeSydent) -> None:
    sections = [{"name": each.name, "verify_key": each.verify_key} for each in (sydent, other)]
    api = launch(sydent_peers=sections)
    push(api, sydent, {1: sydent.row(ALICE, "@alice:hs.test")})
    push(api, other, {1: other.row("b@example.org", "@b:hs.test")})
    api.services.forget_expired()
    assert (owner(api), owner(api, "b@example.org")) == ("@alice:hs.test", "@b:hs.test")
    api = launch(sydent_peers=sections[1:])
    api.services.forget_expired()
    assert (owner(api), owner(api, "b@example.org")) == (None, "@b:hs.test")
    api = launch(sydent_peers=sections)
    push(api, sydent, {1: sydent.row(ALICE, "@alice:hs.test")})
    assert owner(api) == "@alice:hs.test"


def test_a_peer_that_begins_anew_is_taken_over_anew_after_a_resync(api: Driver, sydent: FakeSydent) -> None:
    push(api, sydent, {50: sydent.row(ALICE, "@alice:hs.test")})
    api.services.sydent.resync(sydent.name)
    assert owner(api) is None
    push(api, sydent, {1: sydent.row(ALICE, "@alice2:hs.test")})
    assert owner(api) == "@alice2:hs.test"
