"""From registration to being found, and gone again."""

from signedjson.key import decode_verify_key_base64
from signedjson.sign import verify_signed_json

from tests.driver import Driver, refusal


def test_a_proved_address_is_found_until_it_is_unbound(api: Driver) -> None:
    alice, bob = api.register("@alice:hs.test"), api.register("@bob:hs.test")
    sid = api.validate(alice)
    assert api.lookup(bob, "alice@example.org") == {}
    association = api.bind(alice, sid).get_json()
    public_key = api.get("/pubkey/ed25519:0").get_json()["public_key"]
    verify_signed_json(association, "id.test", decode_verify_key_base64("ed25519", "0", public_key))
    assert (association["medium"], association["address"], association["mxid"]) == (
        "email",
        "alice@example.org",
        "@alice:hs.test",
    )
    assert association["not_before"] == association["ts"] == api.clock.now_ms()
    assert association["not_after"] > association["ts"]
    assert api.lookup(bob, "alice@example.org", "carol@example.org") == {"alice@example.org": "@alice:hs.test"}
    assert api.unbind(alice, sid).get_json().keys() == {"unsigned"}
    assert api.lookup(bob, "alice@example.org") == {}


def test_the_newest_binding_of_an_address_answers(api: Driver) -> None:
    api.bound(user_id="@alice:hs.test")
    bob, _ = api.bound(user_id="@bob:hs.test")
    assert api.lookup(bob, "alice@example.org") == {"alice@example.org": "@bob:hs.test"}


def test_unbinding_a_displaced_binding_leaves_the_newer_one(api: Driver) -> None:
    alice, sid = api.bound(user_id="@alice:hs.test")
    bob, _ = api.bound(user_id="@bob:hs.test")
    assert api.unbind(alice, sid).status_code == 200
    assert api.lookup(bob, "alice@example.org") == {"alice@example.org": "@bob:hs.test"}


def test_binding_for_another_user_is_refused(api: Driver) -> None:
    alice = api.register("@alice:hs.test")
    assert refusal(api.bind(alice, api.validate(alice), "@bob:hs.test")) == (403, "M_UNAUTHORIZED")


def test_a_session_binds_once(api: Driver) -> None:
    alice, sid = api.bound()
    assert refusal(api.bind(alice, sid)) == (404, "M_NO_VALID_SESSION")
    api.unbind(alice, sid)
    assert refusal(api.bind(alice, sid)) == (404, "M_NO_VALID_SESSION")
