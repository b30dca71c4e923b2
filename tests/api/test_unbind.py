"""Taking a binding back: by the user's homeserver, and by the user."""

import json

import pytest
from sqlalchemy import text

from tests.conftest import Launch
from tests.driver import V2, Driver, refusal

UNBIND = f"{V2}/3pid/unbind"
OWN = "/_matrix/identity/unstable/sydent_py"
MINE = {"alice@example.org": "@alice:hs.test"}


def body(email: str = "alice@example.org", mxid: str = "@alice:hs.test") -> dict:
    return {"mxid": mxid, "threepid": {"medium": "email", "address": email}}


@pytest.mark.parametrize("member", ["destination_is", "destination"])
def test_a_homeserver_takes_back_the_binding_of_its_user(api: Driver, member: str) -> None:
    token, _ = api.bound()
    assert api.signed_unbind(member=member).get_json().keys() == {"unsigned"}
    assert api.lookup(token, "alice@example.org") == {}


def test_the_address_may_be_written_in_another_case(api: Driver) -> None:
    token, _ = api.bound()
    assert api.signed_unbind("Alice@EXAMPLE.org").status_code == 200
    assert api.lookup(token, "alice@example.org") == {}


def test_what_is_not_bound_is_unbound_already(api: Driver) -> None:
    token, _ = api.bound()
    assert api.signed_unbind("other@example.org").get_json() == {}
    assert api.signed_unbind(mxid="@bob:hs.test").get_json() == {}
    assert api.lookup(token, "alice@example.org") == MINE


def test_unbinding_again_is_no_error(api: Driver) -> None:
    api.bound()
    assert [api.signed_unbind().status_code for _ in range(3)] == [200] * 3
    with api.services.database.begin() as db:
        kinds = db.execute(text("SELECT kind FROM log_pending ORDER BY id")).scalars().all()
    assert kinds == ["bind", "unbind"]


def test_a_request_that_is_sent_again_does_not_touch_a_newer_binding(api: Driver) -> None:
    """It holds no time and no nonce, and must not undo what the user has done since."""
    token, _ = api.bound()
    api.signed_unbind()
    sid = api.validate(token, client_secret="again")
    api.bind(token, sid, secret="again")
    assert api.signed_unbind().status_code == 200
    assert api.lookup(token, "alice@example.org") == MINE


def asked_again(api: Driver) -> str:
    """The homeserver repeats a request for an address that was bound anew: the link in the mail its owner gets."""
    token, _ = api.bound()
    api.signed_unbind()
    api.bind(token, api.validate(token, client_secret="again"), secret="again")
    api.signed_unbind()
    api.deliver()
    return api.mailbox.link().removeprefix("https://id.test")


def test_the_owner_is_asked_instead_and_removes_the_binding_with_a_button(api: Driver) -> None:
    link = asked_again(api)
    bystander = api.register("@bob:hs.test")
    assert api.mailbox.newest.to.address == "alice@example.org"
    page = api.request("GET", link).text
    assert "@alice:hs.test" in page
    assert api.lookup(bystander, "alice@example.org") == MINE
    assert "Address removed" in api.request("POST", "/remove", data={"t": link.partition("t=")[2]}).text
    assert api.lookup(bystander, "alice@example.org") == {}
    assert "Address removed" in api.request("GET", link).text


def test_a_mail_that_comes_too_late_asks_nothing(api: Driver) -> None:
    token, _ = api.bound()
    api.signed_unbind()
    sid = api.validate(token, client_secret="again")
    api.bind(token, sid, secret="again")
    mails = len(api.mailbox.mails)
    api.signed_unbind()
    api.request("DELETE", f"{OWN}/bindings/email/alice@example.org", token)
    api.deliver()
    assert len(api.mailbox.mails) == mails


def test_the_owner_is_asked_once_for_each_binding(api: Driver) -> None:
    asked_again(api)
    mails = len(api.mailbox.mails)
    api.signed_unbind()
    api.deliver()
    assert len(api.mailbox.mails) == mails


def test_the_link_removes_no_later_binding(api: Driver) -> None:
    link = asked_again(api)
    token = api.register()
    api.clock.advance(1)
    api.bind(token, api.validate(token, client_secret="third"), secret="third")
    assert api.request("POST", "/remove", data={"t": link.partition("t=")[2]}).status_code == 200
    assert api.lookup(token, "alice@example.org") == MINE


@pytest.mark.parametrize("token", ["", "x", "AQ", "A" * 200, "\u00e9"])
def test_a_link_of_nobodys_making_removes_nothing(api: Driver, token: str) -> None:
    for answer in (
        api.request("GET", "/remove", query_string={"t": token}),
        api.request("POST", "/remove", data={"t": token}),
    ):
        assert answer.status_code == 404
        assert answer.mimetype == "text/html"


def test_a_request_that_had_nothing_to_remove_may_come_again(api: Driver) -> None:
    assert api.signed_unbind().status_code == 200
    token, _ = api.bound()
    assert api.signed_unbind().status_code == 200
    assert api.lookup(token, "alice@example.org") == {}


@pytest.mark.parametrize("mxid", ["@alice:hs.test", "@alice:evil.test:8448", "@alice:EVIL.test", "nonsense", "@alice:"])
def test_a_homeserver_takes_back_nothing_of_another(api: Driver, mxid: str) -> None:
    token, _ = api.bound()
    assert refusal(api.signed_unbind(mxid=mxid, homeserver="evil.test")) == (403, "M_FORBIDDEN")
    assert api.lookup(token, "alice@example.org") == MINE


def test_a_changed_request_is_refused(api: Driver) -> None:
    token, _ = api.bound()
    header = api.homeservers.sign("hs.test", "POST", UNBIND, body("bob@example.org"), "id.test")
    answers = [
        api.request("POST", UNBIND, json=body(), headers={"Authorization": header}),
        api.request("POST", UNBIND + "?x=1", json=body("bob@example.org"), headers={"Authorization": header}),
        api.request("POST", UNBIND, json=body(), headers={"Authorization": "X-Matrix"}),
        api.request("POST", UNBIND, json=body(), headers={"Authorization": "X-Matrix origin=hs.test"}),
    ]
    assert [refusal(answer) for answer in answers] == [(403, "M_FORBIDDEN")] * 4
    assert api.lookup(token, "alice@example.org") == MINE


def test_a_request_for_another_server_is_refused(api: Driver) -> None:
    token, _ = api.bound()
    assert refusal(api.signed_unbind(destination="other.test")) == (403, "M_FORBIDDEN")
    assert api.lookup(token, "alice@example.org") == MINE


@pytest.mark.parametrize("destination", ["id.test", "ID.test", "id.test:443", "id.test/", "old.test", "id.public.test:8443"])
def test_any_spelling_of_any_own_name_is_a_destination(launch: Launch, destination: str) -> None:
    api = launch(server={"aliases": ["old.test"], "public_base_url": "https://id.public.test:8443"})
    token, _ = api.bound()
    assert api.signed_unbind(destination=destination).status_code == 200
    assert api.lookup(token, "alice@example.org") == {}


def test_a_homeserver_may_have_rotated_its_key_a_moment_ago(api: Driver) -> None:
    token, _ = api.bound()
    api.signed_unbind("other@example.org")
    api.homeservers.rotate_key("hs.test")
    api.clock.advance(60)
    assert api.signed_unbind().status_code == 200
    assert api.lookup(token, "alice@example.org") == {}


def test_a_homeserver_whose_keys_cannot_be_had_may_try_again(api: Driver) -> None:
    token, _ = api.bound()
    api.homeservers.down.add("hs.test")
    assert refusal(api.signed_unbind()) == (502, "M_UNKNOWN")
    api.homeservers.down.remove("hs.test")
    api.clock.advance(60)
    assert api.signed_unbind().status_code == 200
    assert api.lookup(token, "alice@example.org") == {}


@pytest.mark.parametrize("data", [b"", b"[]", b'{"mxid": 1e400}', b'{"a": 1, "a": 2}', b"\xff", b"[" * 10_000])
def test_a_signed_request_without_a_json_object_is_refused(api: Driver, data: bytes) -> None:
    header = api.homeservers.sign("hs.test", "POST", UNBIND, {}, "id.test")
    status, _ = refusal(api.request("POST", UNBIND, data=data, headers={"Authorization": header}))
    assert status == 400


def test_a_signed_request_is_small(api: Driver) -> None:
    body = {"mxid": "@alice:hs.test", "threepid": {"medium": "email", "address": "a"}, "more": "x" * 70_000}
    assert refusal(api.signed_post("hs.test", UNBIND, body)) == (413, "M_TOO_LARGE")


def test_the_scheme_may_be_followed_by_a_tab(api: Driver) -> None:
    token, _ = api.bound()
    header = api.homeservers.sign("hs.test", "POST", UNBIND, body(), "id.test").replace("X-Matrix ", "x-matrix\t")
    assert api.request("POST", UNBIND, data=json.dumps(body()), headers={"Authorization": header}).status_code == 200
    assert api.lookup(token, "alice@example.org") == {}


def test_a_signature_opens_no_endpoint_that_is_for_accounts(api: Driver) -> None:
    header = {"Authorization": api.homeservers.sign("hs.test", "GET", f"{V2}/account", None, "id.test")}
    assert refusal(api.request("GET", f"{V2}/account", headers=header)) == (401, "M_UNAUTHORIZED")


def test_a_client_has_to_name_its_session(api: Driver) -> None:
    token, _ = api.bound()
    answer = api.request("POST", UNBIND, token, data=json.dumps(body()))
    assert refusal(answer) == (400, "M_MISSING_PARAMS")


def test_fetching_keys_for_strangers_is_limited(launch: Launch) -> None:
    api = launch(limits={"server_keys_per_network": "2/hour"})
    answers = [api.signed_unbind(mxid=f"@a:hs{number}.test", homeserver=f"hs{number}.test") for number in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert api.signed_unbind(mxid="@a:hs0.test", homeserver="hs0.test").status_code == 200


def test_a_user_removes_a_binding_of_their_own(api: Driver) -> None:
    token, _ = api.bound()
    assert api.request("DELETE", f"{OWN}/bindings/email/Alice@example.org", token).get_json().keys() == {"unsigned"}
    assert api.lookup(token, "alice@example.org") == {}
    assert refusal(api.request("DELETE", f"{OWN}/bindings/email/alice@example.org", token)) == (404, "M_NOT_FOUND")


def test_a_user_removes_no_binding_of_another(api: Driver) -> None:
    api.bound()
    mallory = api.register("@mallory:hs.test")
    assert refusal(api.request("DELETE", f"{OWN}/bindings/email/alice@example.org", mallory)) == (404, "M_NOT_FOUND")
    assert refusal(api.request("DELETE", f"{OWN}/bindings/email/alice@example.org")) == (401, "M_UNAUTHORIZED")
    assert api.lookup(mallory, "alice@example.org") == MINE


def test_an_address_with_a_slash_can_be_removed_too(api: Driver) -> None:
    token, _ = api.bound("a/b@example.org")
    assert api.request("DELETE", f"{OWN}/bindings/email/a/b@example.org", token).status_code == 200
    assert api.lookup(token, "a/b@example.org") == {}
