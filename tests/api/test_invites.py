"""Inviting an address that belongs to no account yet."""

from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

import pytest
from signedjson.key import decode_verify_key_bytes, generate_signing_key, write_signing_keys
from signedjson.sign import verify_signed_json
from unpaddedbase64 import decode_base64

from sydent_py import installation
from tests.conftest import SIGNING_KEY, Launch, make_settings
from tests.driver import Driver, refusal, signurl_in

DAY_S = 86_400
BOB = "@bob:other.test"


def secrets_in(api: Driver) -> dict[str, str]:
    """The token and private key from the newest mail."""
    query = parse_qs(urlsplit(signurl_in(api.mailbox.newest.text)).query)
    return {name: values[0] for name, values in query.items()}


def bind_bob(api: Driver, email: str = "bob@example.org", secret: str = "bobs_secret") -> None:
    token = api.register(BOB)
    sid = api.validate(token, email, client_secret=secret)
    assert api.bind(token, sid, BOB, secret=secret).status_code == 200
    for _ in range(3):  # one for each invitation, one after the other
        api.deliver()


def invites_told(api: Driver) -> list[str]:
    """The tokens of all invitations that homeservers were told of."""
    return [invite["token"] for _, content in api.homeservers.onbinds for invite in content["invites"]]


def test_the_homeserver_gets_a_token_two_keys_and_a_hint(api: Driver) -> None:
    invite = api.store_invite(api.register()).get_json()
    server_key, ephemeral_key = invite["public_keys"]
    assert server_key["public_key"] == invite["public_key"] == api.get("/pubkey/ed25519:0").get_json()["public_key"]
    assert server_key["key_validity_url"] == "https://id.test/_matrix/identity/v2/pubkey/isvalid"
    assert ephemeral_key["key_validity_url"] == "https://id.test/_matrix/identity/v2/pubkey/ephemeral/isvalid"
    assert invite["display_name"] == "b...@e..."
    for key in invite["public_keys"]:
        path = key["key_validity_url"].removeprefix("https://id.test/_matrix/identity/v2")
        assert api.get(path, public_key=key["public_key"]).get_json() == {"valid": True}


def test_no_hint_gives_a_whole_name_away(api: Driver) -> None:
    invite = api.store_invite(api.register(), "b@c.example").get_json()
    assert invite["display_name"] == "...@c..."


def test_the_mail_names_the_sender_and_leads_into_a_client(api: Driver) -> None:
    api.invited(api.register(), room_name="Walks", sender_display_name="Alice")
    mail = api.mailbox.newest
    assert mail.to.address == "bob@example.org"
    for part in (mail.text, mail.html):
        assert "Walks" in part
        assert "Alice" in part
        assert "https://matrix.to/#/%21room%3Ahs.test?via=hs.test&" in part.replace("&amp;", "&")
    assert "@alice:hs.test" in mail.text
    assert mail.headers["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert mail.headers["List-Unsubscribe"].startswith("<https://id.test/opt-out?t=")


def test_a_space_is_called_a_space(api: Driver) -> None:
    api.invited(api.register(), room_type="m.space")
    assert "space" in api.mailbox.newest.subject


def test_a_room_of_version_12_has_no_domain(api: Driver) -> None:
    api.invited(api.register(), room_id="!31hneApxJ_1o-63DmFrpeqnkFfWppnzWso1JvH3ogLM")
    assert "/#/%2131hneApxJ_1o-63DmFrpeqnkFfWppnzWso1JvH3ogLM?via=hs.test" in api.mailbox.newest.text


def test_an_operators_link_template_is_filled_in_and_nothing_escapes_its_place(launch: Launch) -> None:
    link = "https://app.test/#/room/{room_id}?email={email}&signurl={signurl}&name={room_name}&from={sender_name}"
    api = launch(invites={"client_link": link})
    api.invited(api.register(), "bob+a&b=c@example.org", room_name="x&evil=1#y {email}", sender_display_name="A B")
    [shown] = [line for line in api.mailbox.newest.text.splitlines() if line.startswith("https://app.test/")]
    fields = parse_qs(urlsplit(shown).fragment.partition("?")[2])
    assert set(fields) == {"email", "signurl", "name", "from"}
    assert fields["email"] == ["bob+a&b=c@example.org"]
    assert fields["from"] == ["A B"]


@pytest.mark.parametrize("absent", ["", None])
def test_what_a_room_does_not_have_is_empty_or_null(api: Driver, absent: str | None) -> None:
    optional = ("room_alias", "room_avatar_url", "room_join_rules", "room_name", "room_type", "sender_display_name")
    api.invited(api.register(), **dict.fromkeys((*optional, "sender_avatar_url"), absent))
    assert api.mailbox.newest.to.address == "bob@example.org"


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"medium": "msisdn", "address": "447700900000"}, (400, "M_UNRECOGNIZED")),
        ({"address": "nonsense"}, (400, "M_INVALID_EMAIL")),
        ({"sender": "@mallory:hs.test"}, (403, "M_UNAUTHORIZED")),
        ({"sender": ""}, (403, "M_UNAUTHORIZED")),
        ({"room_id": "room"}, (400, "M_INVALID_PARAM")),
        ({"room_id": "!ro om:hs.test"}, (400, "M_INVALID_PARAM")),
        ({"room_name": 7}, (400, "M_INVALID_PARAM")),
    ],
)
def test_what_cannot_be_an_invitation_is_refused(api: Driver, change: dict, expected: tuple) -> None:
    assert refusal(api.store_invite(api.register(), **change)) == expected
    api.deliver()
    assert api.mailbox.mails == []


def test_an_address_that_is_bound_already_names_its_owner_and_costs_a_lookup(launch: Launch) -> None:
    api = launch(limits={"lookup_hashes_per_account": 2})
    api.bound("bob@example.org", BOB)
    alice = api.register()
    answer = api.store_invite(alice)
    assert refusal(answer) == (400, "M_THREEPID_IN_USE")
    assert answer.get_json()["mxid"] == BOB
    assert refusal(api.store_invite(alice)) == (400, "M_THREEPID_IN_USE")
    assert refusal(api.store_invite(alice)) == (429, "M_LIMIT_EXCEEDED")


@pytest.mark.parametrize(
    ("budget", "other"),
    [
        ("invite_per_sender", {"room_id": "!other:hs.test", "email": "carol@example.org"}),
        ("invite_per_homeserver", {"room_id": "!other:hs.test", "email": "carol@example.org"}),
        ("invite_per_room", {"email": "carol@example.org"}),
        ("invite_per_recipient", {"room_id": "!other:hs.test"}),
        ("invite_overall", {"room_id": "!other:hs.test", "email": "carol@example.org"}),
    ],
)
def test_invitations_are_limited(launch: Launch, budget: str, other: dict) -> None:
    api = launch(limits={budget: "1/day"})
    token = api.register()
    api.invited(token)
    assert refusal(api.store_invite(token, **other)) == (429, "M_LIMIT_EXCEEDED")


@pytest.mark.parametrize("blocked", ["@alice:hs.test", "hs.test", "HS.test", "@alice:Hs.Test"])
@pytest.mark.parametrize("user", ["@alice:hs.test", "@alice:HS.TEST"])
def test_a_blocked_sender_invites_nobody(launch: Launch, blocked: str, user: str) -> None:
    api = launch(invites={"blocked_senders": [blocked]})
    assert refusal(api.store_invite(api.register(user), sender=user)) == (403, "M_FORBIDDEN")


def test_the_budget_of_a_room_is_used_up_by_no_other_homeserver(launch: Launch) -> None:
    api = launch(limits={"invite_per_room": "1/day"})
    api.invited(api.register("@evil:evil.test"), "x@example.org", sender="@evil:evil.test")
    assert api.store_invite(api.register()).status_code == 200


def test_a_refused_invitation_of_a_bound_address_uses_up_no_budget_of_the_room(launch: Launch) -> None:
    api = launch(limits={"invite_per_room": "1/day"})
    api.bound("bound@example.org", BOB)
    token = api.register()
    assert refusal(api.store_invite(token, "bound@example.org")) == (400, "M_THREEPID_IN_USE")
    assert api.store_invite(token).status_code == 200


@pytest.mark.parametrize("blocked", ["bob@example.org", "example.org"])
def test_a_blocked_recipient_gets_no_mail_and_the_sender_does_not_learn_it(launch: Launch, blocked: str) -> None:
    api = launch(invites={"blocked_recipients": [blocked]})
    invite = api.invited(api.register())
    assert api.mailbox.mails == []
    key = invite["public_keys"][1]["public_key"]
    assert api.get("/pubkey/ephemeral/isvalid", public_key=key).get_json() == {"valid": True}


def test_who_opted_out_gets_no_mail_and_the_sender_does_not_learn_it(api: Driver) -> None:
    token = api.register()
    api.invited(token)
    link = api.mailbox.newest.headers["List-Unsubscribe"].strip("<>").removeprefix("https://id.test")
    assert api.request("POST", link, data={"List-Unsubscribe": "One-Click"}).status_code == 200
    invite = api.invited(token, room_id="!other:hs.test")
    assert len(api.mailbox.mails) == 1
    key = invite["public_keys"][1]["public_key"]
    assert api.get("/pubkey/ephemeral/isvalid", public_key=key).get_json() == {"valid": True}


def test_an_opt_out_is_for_the_whole_mailbox(api: Driver) -> None:
    token = api.register()
    api.invited(token, "bob+matrix@example.org")
    link = api.mailbox.newest.headers["List-Unsubscribe"].strip("<>").removeprefix("https://id.test")
    api.request("POST", link, data={"List-Unsubscribe": "One-Click"})
    for address in ("bob@example.org", "bob+other@example.org", "bob+matrix@example.org"):
        api.invited(token, address)
    assert len(api.mailbox.mails) == 1


def test_who_opts_out_before_the_mail_is_sent_gets_none(api: Driver) -> None:
    token = api.register()
    api.invited(token)
    assert api.store_invite(token, room_id="!other:hs.test").status_code == 200
    link = api.mailbox.newest.headers["List-Unsubscribe"].strip("<>").removeprefix("https://id.test")
    api.request("POST", link, data={"List-Unsubscribe": "One-Click"})
    api.deliver()
    assert len(api.mailbox.mails) == 1


def test_mail_is_sent_once_the_mail_server_is_back(api: Driver) -> None:
    token = api.register()
    api.mailbox.broken = True
    api.invited(token)
    api.mailbox.broken = False
    api.deliver()
    assert api.mailbox.mails == []
    api.clock.advance(3)
    api.deliver()
    api.deliver()
    assert len(api.mailbox.mails) == 1


def test_mail_that_could_not_be_sent_for_a_day_is_given_up(api: Driver) -> None:
    token = api.register()
    api.mailbox.broken = True
    api.invited(token)
    for _ in range(40):
        api.clock.advance(3600)
        api.deliver()
    api.mailbox.broken = False
    api.clock.advance(DAY_S)
    api.deliver()
    assert api.mailbox.mails == []


def test_binding_the_address_tells_the_homeserver_what_lets_its_user_join(api: Driver) -> None:
    invite = api.invited(api.register(), "Bob@Example.org")
    bind_bob(api)
    [(destination, content)] = api.homeservers.onbinds
    assert destination == "other.test"
    key = decode_verify_key_bytes("ed25519:0", decode_base64(invite["public_key"]))
    verify_signed_json({name: value for name, value in content.items() if name != "invites"}, "id.test", key)
    assert (content["medium"], content["address"], content["mxid"]) == ("email", "bob@example.org", BOB)
    [told] = content["invites"]
    assert {name: told[name] for name in told if name != "signed"} == {
        "medium": "email",
        "address": "bob@example.org",
        "mxid": BOB,
        "sender": "@alice:hs.test",
        "room_id": "!room:hs.test",
        "token": invite["token"],
    }
    verify_signed_json(told["signed"], "id.test", key)
    assert told["signed"]["mxid"] == BOB
    assert told["signed"]["token"] == invite["token"]
    assert [len(keys) for keys in told["signed"]["signatures"].values()] == [1]


def test_the_homeserver_is_also_told_when_nobody_invited_the_address(api: Driver) -> None:
    bind_bob(api)
    [(destination, content)] = api.homeservers.onbinds
    assert (destination, content["invites"]) == ("other.test", [])


def test_an_invitation_is_accepted_by_one_user_alone(api: Driver) -> None:
    invite = api.invited(api.register())
    bind_bob(api)
    api.bound("bob@example.org", "@carol:hs.test")
    api.deliver()
    assert invites_told(api) == [invite["token"]]


def test_a_homeserver_that_is_down_for_days_is_told_when_it_is_back(api: Driver) -> None:
    invite = api.invited(api.register())
    bob = api.register(BOB)
    sid = api.validate(bob, "bob@example.org")
    api.homeservers.down.add("other.test")
    api.bind(bob, sid, BOB)
    for _ in range(72):
        api.deliver()
        api.clock.advance(3600)
    api.homeservers.down.remove("other.test")
    tried = len(api.homeservers.onbinds)
    assert tried >= 60
    api.deliver()
    api.deliver()
    assert invites_told(api)[tried:] == [invite["token"]]


def test_attempts_become_rarer_and_end_after_a_week(api: Driver) -> None:
    bob = api.register(BOB)
    sid = api.validate(bob, "bob@example.org")
    api.homeservers.down.add("other.test")
    api.bind(bob, sid, BOB)
    for _ in range(60):
        api.deliver()
        api.clock.advance(1)
    assert 4 <= len(api.homeservers.onbinds) <= 6
    for _ in range(8 * 24):
        api.deliver()
        api.clock.advance(3601)
    given_up = len(api.homeservers.onbinds)
    api.clock.advance(3601)
    api.deliver()
    assert len(api.homeservers.onbinds) == given_up


def test_a_refusal_is_final(api: Driver) -> None:
    api.homeservers.refusing["other.test"] = (403, "M_FORBIDDEN")
    bind_bob(api)
    api.clock.advance(DAY_S)
    api.deliver()
    assert len(api.homeservers.onbinds) == 1


def test_binding_again_tells_a_homeserver_that_had_refused(api: Driver) -> None:
    invite = api.invited(api.register())
    api.homeservers.refusing["other.test"] = (404, "M_NOT_FOUND")
    bind_bob(api)
    api.homeservers.refusing.clear()
    api.clock.advance(60)
    bind_bob(api, secret="again")
    assert invites_told(api) == [invite["token"]] * 2


def test_no_homeserver_is_told_twice_of_what_it_has_taken(api: Driver) -> None:
    invite = api.invited(api.register())
    bind_bob(api)
    bind_bob(api, secret="again")
    assert invites_told(api) == [invite["token"]]


def test_one_invitation_that_is_refused_holds_up_no_other(api: Driver) -> None:
    token = api.register()
    first, second = api.invited(token), api.invited(token, room_id="!other:hs.test")
    bind_bob(api)
    for _ in range(3):
        api.deliver()
    assert [len(content["invites"]) for _, content in api.homeservers.onbinds] == [1, 1]
    assert sorted(invites_told(api)) == sorted([first["token"], second["token"]])


def test_who_has_followed_the_link_is_not_invited_once_more_by_binding(api: Driver) -> None:
    api.invited(api.register())
    url = urlsplit(signurl_in(api.mailbox.newest.text))
    assert api.request("POST", f"{url.path}?{url.query}&mxid=%40bob%3Aother.test").status_code == 200
    bind_bob(api)
    assert invites_told(api) == []


def test_who_follows_the_link_while_their_homeserver_is_down_is_not_invited_once_more(api: Driver) -> None:
    api.invited(api.register())
    url = urlsplit(signurl_in(api.mailbox.newest.text))
    token = api.register(BOB)
    sid = api.validate(token, "bob@example.org")
    api.homeservers.down.add("other.test")
    api.bind(token, sid, BOB)
    api.deliver()
    assert api.request("POST", f"{url.path}?{url.query}&mxid=%40bob%3Aother.test").status_code == 200
    api.homeservers.down.clear()
    api.homeservers.onbinds.clear()
    api.clock.advance(60)
    api.deliver()
    assert invites_told(api) == []


def test_a_binding_that_is_gone_is_not_told_any_more(api: Driver) -> None:
    token = api.register(BOB)
    api.bind(token, api.validate(token, "bob@example.org"), BOB)
    api.signed_unbind("bob@example.org", BOB, "other.test")
    api.deliver()
    assert api.homeservers.onbinds == []


def test_an_invitation_revoked_before_the_homeserver_is_told_is_left_out(api: Driver) -> None:
    invite = api.invited(api.register())
    token = api.register(BOB)
    api.bind(token, api.validate(token, "bob@example.org"), BOB)
    api.signed_post("hs.test", REVOKE, {"token": invite["token"]})
    api.deliver()
    assert [content["invites"] for _, content in api.homeservers.onbinds] == [[]]


def test_a_homeserver_that_is_down_delays_no_other(api: Driver) -> None:
    bob, carol = api.register(BOB), api.register("@carol:hs.test")
    first, second = api.validate(bob, "bob@example.org"), api.validate(carol, "carol@example.org")
    api.homeservers.down.add("other.test")
    api.bind(bob, first, BOB)
    api.bind(carol, second, "@carol:hs.test")
    api.deliver()
    assert {destination for destination, _ in api.homeservers.onbinds} == {"other.test", "hs.test"}


def test_expired_invitations_are_over(launch: Launch) -> None:
    api = launch(invites={"lifetime_days": 2})
    invite = api.invited(api.register())
    secrets = secrets_in(api)
    api.clock.advance(2 * DAY_S)
    key = invite["public_keys"][1]["public_key"]
    assert api.get("/pubkey/ephemeral/isvalid", public_key=key).get_json() == {"valid": False}
    assert refusal(api.post("/sign-ed25519", {"mxid": BOB, **secrets}, api.register())) == (404, "M_UNRECOGNIZED")
    bind_bob(api)
    assert invites_told(api) == []


REVOKE = "/_matrix/identity/unstable/sydent_py/homeserver/revoke-invite"


def test_the_inviters_homeserver_revokes_an_invitation(api: Driver) -> None:
    invite = api.invited(api.register())
    assert api.signed_post("hs.test", REVOKE, {"token": invite["token"]}).get_json() == {}
    bind_bob(api)
    assert invites_told(api) == []
    assert api.signed_post("hs.test", REVOKE, {"token": invite["token"]}).status_code == 200


def test_an_invitation_revoked_before_its_mail_is_sent_sends_none(api: Driver) -> None:
    invite = api.store_invite(api.register()).get_json()
    api.signed_post("hs.test", REVOKE, {"token": invite["token"]})
    api.deliver()
    assert api.mailbox.mails == []


def test_another_homeserver_revokes_nothing_and_learns_nothing(api: Driver) -> None:
    invite = api.invited(api.register())
    assert api.signed_post("evil.test", REVOKE, {"token": invite["token"]}).get_json() == {}
    assert api.signed_post("evil.test", REVOKE, {"token": "none"}).get_json() == {}
    bind_bob(api)
    assert invites_told(api) == [invite["token"]]


def test_revoking_needs_a_homeservers_signature(api: Driver) -> None:
    token = api.register()
    assert refusal(api.request("POST", REVOKE, token, json={"token": "x"})) == (401, "M_UNAUTHORIZED")
    assert refusal(api.request("POST", REVOKE, json={"token": "x"})) == (401, "M_UNAUTHORIZED")


def test_the_ephemeral_key_signs_for_whoever_has_the_mail(api: Driver) -> None:
    token = api.register()
    invite = api.invited(token)
    signed = api.post("/sign-ed25519", {"mxid": BOB, **secrets_in(api)}, token).get_json()
    assert {name: signed[name] for name in ("mxid", "sender", "token")} == {
        "mxid": BOB,
        "sender": "@alice:hs.test",
        "token": invite["token"],
    }
    [key_id] = signed["signatures"]["id.test"]
    key = decode_verify_key_bytes(key_id, decode_base64(invite["public_keys"][1]["public_key"]))
    verify_signed_json(signed, "id.test", key)


def test_the_signurl_in_the_mail_works_with_no_token_and_no_body(api: Driver) -> None:
    invite = api.invited(api.register())
    url = urlsplit(signurl_in(api.mailbox.newest.text))
    assert f"{url.scheme}://{url.netloc}" == "https://id.test"
    answer = api.request("POST", f"{url.path}?{url.query}&mxid=%40bob%3Aother.test")
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert answer.get_json()["mxid"] == BOB
    assert answer.get_json()["token"] == invite["token"]


@pytest.fixture
def wrong_secrets(api: Driver) -> Iterator[dict[str, str]]:
    token = api.register()
    api.invited(token, "carol@example.org")
    other = secrets_in(api)
    api.invited(token)
    secrets = secrets_in(api)
    return iter(
        [
            {**secrets, "private_key": other["private_key"]},
            {**secrets, "token": other["token"]},
            {**secrets, "private_key": "nonsense"},
            {**secrets, "private_key": ""},
            {**secrets, "private_key": "\u00e9\u00e9"},
            {**secrets, "token": ""},
        ]
    )


def test_nobody_else_is_signed_for(api: Driver, wrong_secrets: Iterator[dict[str, str]]) -> None:
    token = api.register()
    path = "/_matrix/identity/unstable/sydent_py/invites/sign"
    for secrets in wrong_secrets:
        refusals = [
            refusal(api.post("/sign-ed25519", {"mxid": BOB, **secrets}, token)),
            refusal(api.request("POST", path, query_string={"mxid": BOB, **secrets})),
        ]
        assert refusals == [(404, "M_UNRECOGNIZED")] * 2


def test_a_key_nobody_was_given_is_not_valid(api: Driver) -> None:
    for key in ("", "nonsense", "\u00e9", "AAAA", "A" * 43):
        assert api.get("/pubkey/ephemeral/isvalid", public_key=key).get_json() == {"valid": False}


def rotate_key(directory) -> None:
    new = generate_signing_key("1")
    with (directory / "signing.key").open("w") as keys:
        write_signing_keys(keys, [new])
        keys.write(SIGNING_KEY)


def test_an_invitation_is_signed_with_the_key_it_names_also_after_a_rotation(launch: Launch, tmp_path) -> None:
    before = launch()
    old = before.invited(before.register())
    rotate_key(tmp_path)
    api = launch()
    new = api.invited(api.register(), room_id="!new:hs.test")
    assert new["public_key"] != old["public_key"]
    for invite in (old, new):
        assert api.get("/pubkey/isvalid", public_key=invite["public_key"]).get_json() == {"valid": True}
    bind_bob(api)
    told = [content["invites"] for _, content in api.homeservers.onbinds]
    signatures = {invite["token"]: invite["signed"] for [invite] in told}
    for invite, key_id in ((old, "ed25519:0"), (new, "ed25519:1")):
        signed = signatures[invite["token"]]
        assert list(signed["signatures"]["id.test"]) == [key_id]
        verify_signed_json(signed, "id.test", decode_verify_key_bytes(key_id, decode_base64(invite["public_key"])))


def test_an_invitation_whose_key_is_gone_waits_for_it(
    launch: Launch, tmp_path, database_url: str, capfd: pytest.CaptureFixture[str]
) -> None:
    before = launch()
    before.invited(before.register())
    with (tmp_path / "signing.key").open("w") as keys:
        write_signing_keys(keys, [generate_signing_key("1")])
    api = launch()
    installation.prepare(make_settings(tmp_path, database_url))
    assert "invites.key_is_gone" in "".join(capfd.readouterr())
    bind_bob(api)
    assert invites_told(api) == []


def test_requests_to_homeservers_are_signed_with_the_published_key(api: Driver) -> None:
    document = api.request("GET", "/_matrix/key/v2/server").get_json()
    assert document["server_name"] == "id.test"
    [(key_id, published)] = document["verify_keys"].items()
    verify_signed_json(document, "id.test", decode_verify_key_bytes(key_id, decode_base64(published["key"])))
    assert document["valid_until_ts"] > api.clock.now_ms()


def test_homeservers_find_the_server_by_its_public_url(launch: Launch) -> None:
    path = "/.well-known/matrix/server"
    assert launch().request("GET", path).get_json() == {"m.server": "id.test:443"}
    api = launch(server={"public_base_url": "https://[2001:db8::1]:8443/identity"})
    assert api.request("GET", path).get_json() == {"m.server": "[2001:db8::1]:8443"}
