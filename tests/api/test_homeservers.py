"""Requests of the companion module: which homeservers are let in, what they may do, and what they are told."""

from typing import Any

import pytest
from signedjson.key import decode_verify_key_bytes, generate_signing_key, get_verify_key
from signedjson.sign import verify_signed_json
from sqlalchemy import text
from unpaddedbase64 import decode_base64, encode_base64

import sydent_py
from sydent_py.settings import ConfigurationError, load
from tests.conftest import Launch
from tests.driver import Driver, refusal
from tests.fakes.companion import HOMESERVER, Companion, item
from tests.fakes.homeserver import x_matrix

ALICE = "@alice:hs.test"
ADDRESS = "alice@example.org"
TRUSTED = {"name": "hs.test", "media": ["email"], "domains": ["example.org"], "lookups": True}
ENDPOINTS = ["status", "bindings", "digest", "bindings/list", "invites", "lookup", "keys/compare"]
MINUTE_MS = 60_000


@pytest.fixture
def engine() -> str:
    """What differs between databases is in tests/usecases/homeservers."""
    return "sqlite"


@pytest.fixture
def api(launch: Launch) -> Driver:
    return launch(trusted_homeservers=[TRUSTED])


@pytest.fixture
def companion(api: Driver) -> Companion:
    return Companion(api)


def body_of(path: str) -> dict[str, Any]:
    """Something that every endpoint takes."""
    threepid = {"medium": "email", "address": ADDRESS}
    return {
        "bindings": {"changes": [item("unbind", ADDRESS, ts=0)]},
        "bindings/list": {"buckets": ["00"]},
        "invites": {**threepid, "mxid": ALICE},
        "lookup": {"addresses": [threepid]},
        "keys/compare": {"keys": {ALICE: "A" * 43}},
    }.get(path, {})


def test_the_status_says_who_answers_and_what_is_allowed(api: Driver, companion: Companion) -> None:
    answer = companion.ask("status")
    assert answer.get_json() == {
        "server_name": "id.test",
        "version": sydent_py.__version__,
        "now_ms": api.clock.now_ms(),
        "media": ["email"],
        "domains": ["example.org"],
        "lookups": True,
    }
    assert answer.headers["Access-Control-Allow-Origin"] == "*"


@pytest.mark.parametrize("destination", ["id.test", "alias.test"])
@pytest.mark.parametrize("member", ["destination", "destination_is"])
def test_the_request_may_be_addressed_to_any_of_our_names(launch: Launch, member: str, destination: str) -> None:
    companion = Companion(launch(trusted_homeservers=[TRUSTED], server={"aliases": ["alias.test"]}))
    assert companion.ask("status", member=member, destination=destination).get_json()["server_name"] == "id.test"


@pytest.mark.parametrize("path", ENDPOINTS)
def test_nobody_is_trusted_who_is_not_named(launch: Launch, path: str) -> None:
    stranger = Companion(launch())
    assert refusal(stranger.ask(path, body_of(path))) == (403, "M_FORBIDDEN")
    assert "trusted_homeservers" in stranger.ask(path, body_of(path)).get_json()["error"]


@pytest.mark.parametrize("path", ENDPOINTS)
@pytest.mark.parametrize("name", ["evil.test", "HS.test", "hs.test:8448", "sub.hs.test"])
def test_another_homeserver_is_not_let_in(api: Driver, path: str, name: str) -> None:
    assert refusal(Companion(api, name).ask(path, body_of(path))) == (403, "M_FORBIDDEN")


@pytest.mark.parametrize("path", ENDPOINTS)
def test_who_does_not_sign_is_not_let_in(api: Driver, path: str) -> None:
    token = api.register(ALICE)
    for credentials in (None, token):
        answer = api.request("POST", f"{HOMESERVER}/{path}", credentials, json={"ts": api.clock.now_ms(), "id": "0" * 32})
        assert refusal(answer) == (401, "M_UNAUTHORIZED")


@pytest.mark.parametrize("path", ENDPOINTS)
def test_a_forged_request_is_refused_before_it_is_looked_at(api: Driver, companion: Companion, path: str) -> None:
    body = companion.stamp(**body_of(path))
    forged = x_matrix(
        generate_signing_key("k0"), "hs.test", method="POST", uri=f"{HOMESERVER}/{path}", content=body, destination="id.test"
    )
    for sent in (body, {"ts": 0}):
        answer = api.request("POST", f"{HOMESERVER}/{path}", json=sent, headers={"Authorization": forged})
        assert refusal(answer) == (403, "M_FORBIDDEN")
    # Its id was not used up by the forgery.
    assert companion.ask(path, body).status_code in {200, 403}
    with api.services.database.begin() as db:
        assert db.execute(text("SELECT count(*) FROM homeserver_requests")).scalar_one() == 1


def test_what_was_changed_on_its_way_is_refused(api: Driver, companion: Companion) -> None:
    body = companion.stamp(changes=[item("bind", ADDRESS, ts=api.clock.now_ms())])
    header = {"Authorization": api.homeservers.sign("hs.test", "POST", f"{HOMESERVER}/bindings", body, "id.test")}
    changed = {**body, "changes": [item("bind", "eve@example.org", ts=api.clock.now_ms())]}
    for path, content in (
        ("bindings", changed),
        ("bindings?x", body),
        ("digest", body),
        ("bindings", {**body, "id": "1" * 32}),
    ):
        assert refusal(api.request("POST", f"{HOMESERVER}/{path}", json=content, headers=header)) == (403, "M_FORBIDDEN")
    assert refusal(companion.ask("status", destination="other.test")) == (403, "M_FORBIDDEN")
    assert api.request("POST", f"{HOMESERVER}/bindings", json=body, headers=header).status_code == 200


@pytest.mark.parametrize("path", ENDPOINTS)
def test_a_copy_of_a_request_is_refused(companion: Companion, path: str) -> None:
    body = companion.stamp(**body_of(path))
    companion.ask(path, body)
    again = companion.ask(path, body)
    assert refusal(again) == (403, "M_FORBIDDEN")
    assert "seen before" in again.get_json()["error"]
    assert "seen before" in companion.ask("status", {"id": body["id"]}).get_json()["error"]


def test_two_homeservers_may_have_one_id(launch: Launch) -> None:
    api = launch(trusted_homeservers=[TRUSTED, {"name": "other.test"}])
    for name in ("hs.test", "other.test"):
        assert Companion(api, name).ask("status", {"id": "ab" * 16}).status_code == 200


@pytest.mark.parametrize(("off_ms", "status"), [(-5, 200), (5, 200), (-5.001, 403), (5.001, 403), (-60 * 24, 403)])
def test_a_request_is_of_now(api: Driver, companion: Companion, off_ms: float, status: int) -> None:
    answer = companion.ask("status", {"ts": api.clock.now_ms() + int(off_ms * MINUTE_MS)})
    assert answer.status_code == status
    if status == 403:
        assert refusal(answer) == (403, "M_FORBIDDEN")
        assert str(api.clock.now_ms()) in answer.get_json()["error"]


def test_requests_are_forgotten_when_they_would_not_be_believed_any_more(api: Driver, companion: Companion) -> None:
    ahead = companion.stamp(ts=api.clock.now_ms() + 5 * MINUTE_MS)
    companion.ask("status", ahead)
    for minutes, left in ((5, 1), (5, 1), (0.001, 0)):
        api.clock.advance(minutes * 60)
        assert refusal(companion.ask("status", ahead)) == (403, "M_FORBIDDEN")
        api.services.forget_expired()
        with api.services.database.begin() as db:
            assert db.execute(text("SELECT count(*) FROM homeserver_requests")).scalar_one() == left


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"ts": None}, (400, "M_INVALID_PARAM")),
        ({"ts": "1800000000000"}, (400, "M_INVALID_PARAM")),
        ({"ts": 1.8e12}, (400, "M_INVALID_PARAM")),
        ({"ts": True}, (400, "M_INVALID_PARAM")),
        ({"ts": -(2**53) + 1}, (403, "M_FORBIDDEN")),
        ({"id": ""}, (400, "M_INVALID_PARAM")),
        ({"id": "0" * 31}, (400, "M_INVALID_PARAM")),
        ({"id": "g" * 32}, (400, "M_INVALID_PARAM")),
        ({"id": "0" * 32 + "\n"}, (400, "M_INVALID_PARAM")),
        ({"id": 0}, (400, "M_INVALID_PARAM")),
    ],
)
def test_a_request_without_a_time_or_an_id_is_refused(companion: Companion, change: dict, expected: tuple[int, str]) -> None:
    assert refusal(companion.ask("status", change)) == expected


def test_a_missing_time_or_id_is_named(api: Driver) -> None:
    for body in ({}, {"ts": api.clock.now_ms()}, {"id": "0" * 32}):
        assert refusal(api.signed_post("hs.test", f"{HOMESERVER}/status", body)) == (400, "M_MISSING_PARAMS")


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
@pytest.mark.parametrize("path", ENDPOINTS)
def test_other_methods_are_405(api: Driver, method: str, path: str) -> None:
    assert refusal(api.request(method, f"{HOMESERVER}/{path}")) == (405, "M_UNRECOGNIZED")


def test_a_body_over_64_kib_is_too_large(companion: Companion) -> None:
    assert refusal(companion.ask("status", {"x": "x" * 65_536})) == (413, "M_TOO_LARGE")
    assert companion.ask("status", {"x": "x" * 65_000}).status_code == 200


@pytest.mark.parametrize(
    ("path", "body", "errcode"),
    [
        ("bindings", {}, "M_MISSING_PARAMS"),
        ("bindings", {"changes": []}, "M_INVALID_PARAM"),
        ("bindings", {"changes": {}}, "M_INVALID_PARAM"),
        ("bindings", {"changes": [{}] * 201}, "M_INVALID_PARAM"),
        ("bindings/list", {}, "M_MISSING_PARAMS"),
        ("invites", {"medium": "email", "address": "nonsense", "mxid": ALICE}, "M_INVALID_EMAIL"),
        ("invites", {"medium": "post", "address": ADDRESS, "mxid": ALICE}, "M_INVALID_PARAM"),
        ("invites", {"medium": "email", "address": ADDRESS, "mxid": "alice"}, "M_INVALID_PARAM"),
        ("invites", {"medium": "email", "address": ADDRESS}, "M_MISSING_PARAMS"),
        ("lookup", {}, "M_MISSING_PARAMS"),
        ("lookup", {"addresses": []}, "M_INVALID_PARAM"),
        ("lookup", {"addresses": [{"medium": "email", "address": "a@b.test"}] * 501}, "M_INVALID_PARAM"),
        ("lookup", {"addresses": ["a@b.test"]}, "M_INVALID_PARAM"),
    ],
)
def test_what_cannot_be_read_is_refused(companion: Companion, path: str, body: dict, errcode: str) -> None:
    assert refusal(companion.ask(path, body)) == (400, errcode)


SENSELESS = [None, 1.5, "", "\u0001", "x" * 5000, [], {}, [[]], True]


@pytest.mark.parametrize(
    ("name", "value"),
    [(name, value) for name in ("action", "medium", "address", "mxid", "ts", "seq") for value in SENSELESS]
    + [("action", 0), ("medium", 0), ("address", 0), ("mxid", 0), ("ts", -1), ("ts", 2**53 - 1)],
)
def test_a_change_that_makes_no_sense_is_refused_by_itself(api: Driver, companion: Companion, name: str, value: Any) -> None:
    good = item("bind", ADDRESS, ts=api.clock.now_ms())
    assert companion.change({**good, name: value}, good) == ["refused", "done"]


@pytest.mark.parametrize(
    ("change", "errcode"),
    [
        ({"mxid": "@alice:evil.test"}, "M_FORBIDDEN"),
        ({"mxid": "@alice:HS.test"}, "M_FORBIDDEN"),
        ({"mxid": "@alice:hs.test:8448"}, "M_FORBIDDEN"),
        ({"address": "alice@elsewhere.test"}, "M_FORBIDDEN"),
        ({"address": "alice@sub.example.org"}, "M_FORBIDDEN"),
        ({"address": "alice@example.org.evil.test"}, "M_FORBIDDEN"),
        ({"medium": "msisdn", "address": "447400123456"}, "M_FORBIDDEN"),
    ],
)
def test_a_bind_beyond_what_the_configuration_lists_is_refused(
    api: Driver, companion: Companion, change: dict, errcode: str
) -> None:
    result = companion.results({**item("bind", ADDRESS, ts=api.clock.now_ms()), **change})[0]
    assert (result["status"], result["errcode"]) == ("refused", errcode)
    assert companion.listed() == []


def test_a_change_from_the_future_is_refused(api: Driver, companion: Companion) -> None:
    now_ms = api.clock.now_ms()
    [late] = companion.results(item("bind", ADDRESS, ts=now_ms + 5 * MINUTE_MS + 1))
    assert (late["status"], late["errcode"]) == ("refused", "M_INVALID_PARAM")
    assert companion.change(item("bind", ADDRESS, ts=now_ms + 5 * MINUTE_MS)) == ["done"]


def test_no_medium_is_listed_unless_the_operator_does(launch: Launch) -> None:
    companion = Companion(launch(trusted_homeservers=[{"name": "hs.test"}]))
    assert companion.bind(ADDRESS) == "refused"
    assert companion.answer("status")["media"] == []


def test_what_was_bound_under_an_earlier_configuration_can_be_taken_back(launch: Launch) -> None:
    Companion(launch(trusted_homeservers=[TRUSTED])).bind(ADDRESS)
    api = launch(trusted_homeservers=[{"name": "hs.test", "media": ["email"], "domains": ["other.test"]}])
    companion = Companion(api)
    assert companion.listed() == [(ADDRESS, ALICE)]
    api.clock.advance(1)
    assert companion.unbind(ADDRESS) == "done"
    assert companion.listed() == []


def test_a_domain_is_listed_in_whichever_way_it_is_written(launch: Launch) -> None:
    companion = Companion(
        launch(trusted_homeservers=[{"name": "hs.test", "media": ["email"], "domains": ["Bücher.example"]}])
    )
    assert companion.bind("alice@bücher.example") == "done"
    assert companion.listed() == [("alice@xn--bcher-kva.example", ALICE)]


def test_a_pinned_homeserver_is_never_asked_for_its_keys(launch: Launch) -> None:
    key = generate_signing_key("k0")
    pin = f"ed25519:k0 {encode_base64(bytes(get_verify_key(key)))}"
    api = launch(trusted_homeservers=[{**TRUSTED, "verify_keys": [pin]}])
    api.homeservers._keys["hs.test"] = [key]
    api.homeservers.down.add("hs.test")
    companion = Companion(api)
    assert companion.bind(ADDRESS) == "done"
    assert api.signed_unbind().status_code == 200
    assert companion.listed() == []
    assert api.homeservers.key_requests == []


def test_of_a_pinned_homeserver_no_other_key_is_believed(launch: Launch) -> None:
    pin = f"ed25519:k0 {encode_base64(bytes(get_verify_key(generate_signing_key('k0'))))}"
    api = launch(trusted_homeservers=[{**TRUSTED, "verify_keys": [pin]}])
    assert refusal(Companion(api).ask("status")) == (403, "M_FORBIDDEN")
    api.homeservers.rotate_key("hs.test")
    assert refusal(Companion(api).ask("status")) == (403, "M_FORBIDDEN")
    assert api.homeservers.key_requests == []


def test_keys_that_are_not_pinned_are_fetched_and_follow_a_rotation(api: Driver, companion: Companion) -> None:
    companion.answer("status")
    api.homeservers.rotate_key("hs.test")
    api.clock.advance(2)
    companion.answer("status")
    assert api.homeservers.key_requests == ["hs.test"] * 2


def test_a_homeserver_whose_keys_cannot_be_had_may_try_again(launch: Launch) -> None:
    api = launch(trusted_homeservers=[{"name": "down.test"}])
    assert refusal(Companion(api, "down.test").ask("status")) == (502, "M_UNKNOWN")


def test_waiting_invitations_are_shown_and_stay(api: Driver, companion: Companion) -> None:
    invite = api.invited(api.register("@inviter:hs.test"), ADDRESS, sender="@inviter:hs.test")
    companion.bind(ADDRESS)
    asked = {"medium": "email", "address": "ALICE@example.org", "mxid": ALICE}
    first, second = (companion.answer("invites", **asked)["invites"] for _ in range(2))
    assert first == second
    [shown] = first
    assert {name: shown[name] for name in ("medium", "address", "mxid", "sender", "room_id", "token")} == {
        "medium": "email",
        "address": ADDRESS,
        "mxid": ALICE,
        "sender": "@inviter:hs.test",
        "room_id": "!room:hs.test",
        "token": invite["token"],
    }
    verify_signed_json(shown["signed"], "id.test", decode_verify_key_bytes("ed25519:0", decode_base64(invite["public_key"])))
    api.deliver()
    [(_, content)] = api.homeservers.onbinds
    assert content["invites"] == [shown]
    assert companion.answer("invites", **asked) == {"invites": []}


@pytest.mark.parametrize(
    ("address", "mxid"),
    [
        ("bob@example.org", ALICE),
        (ADDRESS, "@bob:hs.test"),
        ("theirs@example.org", "@a:other.test"),
        (ADDRESS, "@a:other.test"),
    ],
)
def test_invitations_are_shown_to_the_homeserver_of_the_owner_alone(
    api: Driver, companion: Companion, address: str, mxid: str
) -> None:
    inviter = api.register("@inviter:hs.test")
    for email in (ADDRESS, "bob@example.org", "theirs@example.org"):
        api.invited(inviter, email, sender="@inviter:hs.test")
    companion.bind(ADDRESS)
    api.bound("theirs@example.org", "@a:other.test")
    answer = companion.ask("invites", {"medium": "email", "address": address, "mxid": mxid})
    assert refusal(answer) == (403, "M_FORBIDDEN")


def test_a_lookup_finds_what_anybody_finds(api: Driver, companion: Companion) -> None:
    api.bound("bob@example.org", "@bob:other.test")
    companion.bind(ADDRESS)
    asked = ["Alice@Example.ORG", ADDRESS, "nobody@example.org", "nonsense", "bob@example.org", ""]
    answer = companion.answer("lookup", addresses=[{"medium": "email", "address": address} for address in asked])
    assert answer["mappings"] == [
        {"medium": "email", "address": "Alice@Example.ORG", "mxid": ALICE},
        {"medium": "email", "address": ADDRESS, "mxid": ALICE},
        {"medium": "email", "address": "bob@example.org", "mxid": "@bob:other.test"},
    ]
    unknown = [{"medium": "post", "address": "x"}, {"medium": "msisdn", "address": "447400123456"}]
    assert companion.answer("lookup", addresses=unknown) == {"mappings": []}


def test_a_lookup_answers_what_stands_now(companion: Companion) -> None:
    def found() -> list[Any]:
        return companion.answer("lookup", addresses=[{"medium": "email", "address": ADDRESS}])["mappings"]

    companion.bind(ADDRESS)
    assert len(found()) == 1
    companion.unbind(ADDRESS)
    assert found() == []


def test_looking_up_has_to_be_allowed(launch: Launch) -> None:
    companion = Companion(launch(trusted_homeservers=[{"name": "hs.test", "media": ["email"]}]))
    assert refusal(companion.ask("lookup", body_of("lookup"))) == (403, "M_FORBIDDEN")


def test_lookups_have_a_daily_budget_of_each_homeserver(launch: Launch) -> None:
    api = launch(
        trusted_homeservers=[TRUSTED, {"name": "other.test", "lookups": True}], limits={"homeserver_lookups_per_day": 5}
    )
    companion = Companion(api)
    some = [{"medium": "email", "address": f"p{number}@example.org"} for number in range(5)]
    companion.answer("lookup", addresses=[*some[:3], {"medium": "email", "address": "nonsense"}])
    companion.answer("lookup", addresses=some[:1])
    refused = companion.ask("lookup", {"addresses": some[:1]})
    assert refusal(refused) == (429, "M_LIMIT_EXCEEDED")
    assert 0 < refused.get_json()["retry_after_ms"] <= 86_400_000
    assert int(refused.headers["Retry-After"]) == -(-refused.get_json()["retry_after_ms"] // 1000)
    Companion(api, "other.test").answer("lookup", addresses=some)
    assert refusal(Companion(api, "other.test").ask("lookup", {"addresses": some[:1]})) == (429, "M_LIMIT_EXCEEDED")
    companion.answer("status")
    api.clock.advance(86_401)
    companion.answer("lookup", addresses=some)


def test_a_lookup_of_more_than_a_day_allows_is_refused(launch: Launch) -> None:
    companion = Companion(launch(trusted_homeservers=[TRUSTED], limits={"homeserver_lookups_per_day": 2}))
    some = [{"medium": "email", "address": f"p{number}@example.org"} for number in range(3)]
    assert refusal(companion.ask("lookup", {"addresses": some})) == (429, "M_LIMIT_EXCEEDED")


def test_two_hundred_changes_are_one_request(api: Driver, companion: Companion) -> None:
    ts = api.clock.now_ms()
    changes = [item("bind", f"person{number}@example.org", f"@person{number}:hs.test", ts=ts) for number in range(200)]
    assert set(companion.change(*changes)) == {"done"}
    assert companion.answer("digest")["count"] == 200


@pytest.mark.parametrize("path", ENDPOINTS)
@pytest.mark.parametrize("data", [b"", b"[]", b"null", b"{", b'{"ts":NaN}', b'{"ts":1,"ts":2}', b"\xff", b"[" * 5000])
def test_a_body_that_is_no_json_object_is_refused(api: Driver, path: str, data: bytes) -> None:
    header = api.homeservers.sign("hs.test", "POST", f"{HOMESERVER}/{path}", {}, "id.test")
    answer = api.request("POST", f"{HOMESERVER}/{path}", data=data, headers={"Authorization": header})
    status, errcode = refusal(answer)
    assert (status, errcode) in {(400, "M_NOT_JSON"), (400, "M_BAD_JSON")}


@pytest.mark.parametrize("path", ENDPOINTS)
def test_preflights_are_answered(api: Driver, path: str) -> None:
    assert api.request("OPTIONS", f"{HOMESERVER}/{path}").status_code == 200


@pytest.mark.parametrize(
    ("lines", "key"),
    [
        ("media = ['email']", "trusted_homeservers.0.name: Field required"),
        ("name = 'a b'", "trusted_homeservers.0.name"),
        ("name = 'a.test'\nmedia = ['post']", "trusted_homeservers.0.media"),
        ("name = 'a.test'\nmedia = 'email'", "trusted_homeservers.0.media"),
        ("name = 'a.test'\ndomains = ['a@b.test']", "trusted_homeservers.0.domains.0.*domain"),
        ("name = 'a.test'\ndomains = ['']", "trusted_homeservers.0.domains.0"),
        ("name = 'a.test'\nlookup = true", "trusted_homeservers.0.lookup: unknown key"),
        ("name = 'a.test'\nverify_keys = ['x']", "trusted_homeservers.0.verify_keys.0.*key/v2/server"),
        ("name = 'a.test'\nverify_keys = ['ed25519:a AAAA']", "trusted_homeservers.0.verify_keys.0"),
        (f"name = 'a.test'\nverify_keys = ['ed25519:a {'A' * 43}', 'ed25519:a {'B' * 42}E']", "name of its own"),
        ("name = 'a.test'\n[[trusted_homeservers]]\nname = 'a.test'", "trusted_homeservers: each homeserver is named once"),
    ],
)
def test_a_configuration_that_does_not_fit_stops_the_start_and_is_named(tmp_path: Any, lines: str, key: str) -> None:
    path = tmp_path / "sydent.toml"
    path.write_text(f"[[trusted_homeservers]]\n{lines}")
    with pytest.raises(ConfigurationError, match=key):
        load(path)


def test_the_signed_unbind_of_the_specification_works_beside_it(api: Driver, companion: Companion) -> None:
    companion.bind(ADDRESS)
    assert api.signed_unbind().status_code == 200
    assert companion.listed() == []
    api.clock.advance(1)
    assert companion.bind(ADDRESS) == "done"
    assert companion.listed() == [(ADDRESS, ALICE)]
