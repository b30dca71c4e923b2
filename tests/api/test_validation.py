"""Proving an email address."""

import dataclasses
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import text

from sydent_py.identifiers import ThreePid, UserId
from sydent_py.messaging.email import Mail
from sydent_py.validation.request_email_token import EmailTokenRequest
from tests.conftest import Launch
from tests.driver import SECRET, Driver, mailed_token, refusal

HOUR_S = 3600


@dataclasses.dataclass
class Broken:
    """A mailer that fails as no mailer should."""

    failure: type[BaseException]

    def send(self, _mail: Mail) -> None:
        raise self.failure


@pytest.mark.parametrize(
    ("typed", "canonical"),
    [
        ("Alice@Example.ORG", "alice@example.org"),
        ("Strauß@Example.com", "strauss@example.com"),
        ("a@straße.de", "a@xn--strae-oqa.de"),
        ("a@strasse.de", "a@strasse.de"),
        ("first.last+tag@sub.corp.test", "first.last+tag@sub.corp.test"),
        ("root@localhost", "root@localhost"),
    ],
)
def test_what_is_mailed_is_the_canonical_address(api: Driver, typed: str, canonical: str) -> None:
    token = api.register()
    sid = api.validate(token, typed)
    assert api.mailbox.newest.to.address == canonical
    assert api.get("/3pid/getValidated3pid", token, sid=sid, client_secret=SECRET).get_json() == {
        "medium": "email",
        "address": canonical,
        "validated_at": api.clock.now_ms(),
    }


@pytest.mark.parametrize(
    "address",
    [
        "",
        "alice",
        "alice@",
        "@example.org",
        "a@evil.com,<x@corp.com>",
        "a b@example.org",
        "a@example.org\r\nBcc: b@example.org",
        '"a b"@example.org',
        "a@[127.0.0.1]",
        "a@127.0.0.1",
        "a@2130706433",
        "jörg@example.org",
        "a@b@example.org",
        "a@example..org",
        "a@-example.org",
        f"{'a' * 65}@example.org",
        f"a@{'x.' * 130}org",
        "Alice <alice@example.org>",
        "a\u202e@example.org",
    ],
)
def test_addresses_that_mail_cannot_reach_are_refused(api: Driver, address: str) -> None:
    assert refusal(api.request_token(api.register(), address)) == (400, "M_INVALID_EMAIL")
    assert api.mailbox.mails == []


def test_a_mail_is_sent_once_for_each_greater_attempt(api: Driver) -> None:
    token = api.register()
    sids = {api.request_token(token, attempt=attempt).get_json()["sid"] for attempt in (3, 3, 1, "2", "3")}
    assert (len(sids), len(api.mailbox.mails)) == (1, 1)
    api.request_token(token, attempt="4")
    assert len(api.mailbox.mails) == 2


def test_attempt_zero_is_an_attempt(api: Driver) -> None:
    token = api.register()
    api.request_token(token, attempt=0)
    api.request_token(token, attempt=0)
    assert len(api.mailbox.mails) == 1


@pytest.mark.parametrize("attempt", [None, True, 1.5, "x", "", "-1", -1, [], "9" * 30, "9007199254740992"])
def test_other_attempts_are_refused(api: Driver, attempt: object) -> None:
    assert refusal(api.request_token(api.register(), attempt=attempt)) == (400, "M_INVALID_PARAM")


def test_identical_requests_at_once_send_one_mail(launch: Launch) -> None:
    api = launch(limits={"email_per_address": "1/hour"})
    token = api.register()
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: api.request_token(token), range(8)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.get_json()["sid"] for answer in answers}) == 1
    assert len(api.mailbox.mails) == 1


def test_a_mail_that_failed_may_be_asked_for_again(api: Driver) -> None:
    token = api.register()
    api.mailbox.broken = True
    assert refusal(api.request_token(token)) == (400, "M_EMAIL_SEND_ERROR")
    api.mailbox.broken = False
    sid, mailed = api.start(token)
    assert api.submit(token, sid, mailed).get_json() == {"success": True}


def test_a_sender_that_died_leaves_a_claim_that_lapses(api: Driver) -> None:
    token = api.register()
    sending = api.services.validation.request_email_token.sending
    dead = sending.claim(UserId.parse("@alice:hs.test"), ThreePid.email("alice@example.org"), SECRET, 1)
    assert dead.stands
    assert api.request_token(token).status_code == 200
    assert api.mailbox.mails == []
    api.clock.advance(61)
    sid, mailed = api.start(token)
    assert api.submit(token, sid, mailed).status_code == 200


def test_a_sender_whose_claim_has_lapsed_sends_nothing_and_breaks_nothing(api: Driver) -> None:
    token = api.register()
    use_case = api.services.validation.request_email_token
    request = EmailTokenRequest(SECRET, "alice@example.org", 1)
    alice, threepid = UserId.parse("@alice:hs.test"), ThreePid.email(request.email)
    slow = use_case.sending.claim(alice, threepid, SECRET, 1)
    api.clock.advance(61)
    sid, mailed = api.start(token)
    use_case._send(alice, threepid, request, "127.0.0.1", slow)
    assert len(api.mailbox.mails) == 1
    assert api.submit(token, sid, mailed).status_code == 200


@pytest.mark.parametrize("failure", [RuntimeError, KeyboardInterrupt])
def test_any_failure_gives_the_attempt_back(api: Driver, failure: type[BaseException]) -> None:
    token = api.register()
    broken = dataclasses.replace(api.services.validation.request_email_token, mailer=Broken(failure))
    with pytest.raises(failure):
        broken(UserId.parse("@alice:hs.test"), EmailTokenRequest(SECRET, "alice@example.org", 1), "127.0.0.1")
    sid, mailed = api.start(token)
    assert api.submit(token, sid, mailed).status_code == 200


def test_a_new_mail_makes_the_old_token_worthless(api: Driver) -> None:
    token = api.register()
    sid, old = api.start(token)
    _, new = api.start(token, attempt=2)
    assert refusal(api.submit(token, sid, old)) == (400, "M_TOKEN_INCORRECT")
    assert api.submit(token, sid, new).status_code == 200


def test_five_wrong_tokens_and_no_more(api: Driver) -> None:
    token = api.register()
    sid, mailed = api.start(token)
    for _ in range(5):
        assert refusal(api.submit(token, sid, "wrong")) == (400, "M_TOKEN_INCORRECT")
    assert refusal(api.submit(token, sid, mailed)) == (400, "M_TOKEN_INCORRECT")
    _, mailed = api.start(token, attempt=2)
    assert api.submit(token, sid, mailed).status_code == 200


def test_parallel_guesses_count_one_by_one(api: Driver) -> None:
    token = api.register()
    sid, mailed = api.start(token)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda guess: api.submit(token, sid, guess), ["wrong"] * 16))
    assert refusal(api.submit(token, sid, mailed)) == (400, "M_TOKEN_INCORRECT")


def test_submitting_the_right_token_again_is_no_guess(api: Driver) -> None:
    token = api.register()
    sid, mailed = api.start(token)
    for _ in range(8):
        assert api.submit(token, sid, mailed).status_code == 200


def test_unknown_sid_wrong_secret_and_foreign_session_look_alike(api: Driver) -> None:
    alice, mallory = api.register(), api.register("@mallory:hs.test")
    sid, mailed = api.start(alice)
    answers = [
        api.submit(alice, "unknown", mailed),
        api.submit(alice, sid, mailed, secret="other"),
        api.submit(mallory, sid, mailed),
        api.get("/3pid/getValidated3pid", mallory, sid=sid, client_secret=SECRET),
        api.bind(mallory, sid, "@mallory:hs.test"),
        api.unbind(mallory, sid),
    ]
    assert {refusal(answer) for answer in answers} == {(404, "M_NO_VALID_SESSION")}
    assert len({answer.data for answer in answers}) == 1


def test_a_session_that_was_not_validated_proves_nothing(api: Driver) -> None:
    token = api.register()
    sid, _ = api.start(token)
    assert refusal(api.get("/3pid/getValidated3pid", token, sid=sid, client_secret=SECRET)) == (
        400,
        "M_SESSION_NOT_VALIDATED",
    )
    assert refusal(api.bind(token, sid)) == (400, "M_SESSION_NOT_VALIDATED")
    assert refusal(api.unbind(token, sid)) == (400, "M_SESSION_NOT_VALIDATED")


def test_a_session_lives_24_hours_after_its_last_change(api: Driver) -> None:
    token = api.register()
    sid, mailed = api.start(token)
    api.clock.advance(24 * HOUR_S)
    assert api.submit(token, sid, mailed).status_code == 200
    api.clock.advance(24 * HOUR_S)
    assert api.get("/3pid/getValidated3pid", token, sid=sid, client_secret=SECRET).status_code == 200
    api.clock.advance(1)
    assert refusal(api.get("/3pid/getValidated3pid", token, sid=sid, client_secret=SECRET)) == (400, "M_SESSION_EXPIRED")
    assert refusal(api.submit(token, sid, mailed)) == (400, "M_SESSION_EXPIRED")
    assert refusal(api.bind(token, sid)) == (400, "M_SESSION_EXPIRED")


def test_submitting_again_does_not_prolong_a_session(api: Driver) -> None:
    token = api.register()
    sid, mailed = api.start(token)
    api.submit(token, sid, mailed)
    api.clock.advance(23 * HOUR_S)
    api.submit(token, sid, mailed)
    api.clock.advance(2 * HOUR_S)
    assert refusal(api.bind(token, sid)) == (400, "M_SESSION_EXPIRED")


def test_expired_and_spent_sessions_make_room_for_new_ones(api: Driver) -> None:
    token, bound_sid = api.bound()
    new_sid, _ = api.start(token)
    assert new_sid != bound_sid
    api.clock.advance(25 * HOUR_S)
    newer_sid, _ = api.start(token)
    assert newer_sid != new_sid


@pytest.mark.parametrize("secret", ["", "a" * 256, "sp ace", "ümlaut", "a/b", "a\n"])
def test_client_secrets_outside_the_grammar_are_refused(api: Driver, secret: str) -> None:
    answer = api.request_token(api.register(), client_secret=secret)
    assert refusal(answer) == (400, "M_INVALID_PARAM")


@pytest.mark.parametrize(
    "next_link",
    [
        "https://evil.test/",
        "https://app.test.evil.test/",
        "https://app.test@evil.test/",
        "//app.test/",
        "javascript:alert(1)",
        "http://app.test/",
        "https://app.test:444/",
        "https://app.test\\@evil.test/",
        "https://app.test/\r\nSet-Cookie: a=b",
        "https://[",
        "https://app.test/ü",
    ],
)
def test_next_links_elsewhere_are_refused(launch: Launch, next_link: str) -> None:
    api = launch(validation={"next_link_origins": ["https://app.test"]})
    assert refusal(api.request_token(api.register(), next_link=next_link)) == (400, "M_INVALID_PARAM")
    assert api.mailbox.mails == []


def test_forms_are_taken_where_the_specification_still_allows_them(api: Driver) -> None:
    token = api.register()
    start = {"client_secret": SECRET, "email": "alice@example.org", "send_attempt": "1"}
    answer = api.request("POST", "/_matrix/identity/v2/validate/email/requestToken", token, data=start)
    sid = answer.get_json()["sid"]
    submit = {"client_secret": SECRET, "sid": sid, "token": mailed_token(api.mailbox.link())}
    assert api.request("POST", "/_matrix/identity/v2/validate/email/submitToken", token, data=submit).status_code == 200
    bind = {"client_secret": SECRET, "sid": sid, "mxid": "@alice:hs.test"}
    assert api.request("POST", "/_matrix/identity/v2/3pid/bind", token, data=bind).status_code == 200


def test_json_is_json_whatever_the_content_type_says(api: Driver) -> None:
    body = b'{"client_secret":"s","email":"alice@example.org","send_attempt":1}'
    for content_type in ("application/x-www-form-urlencoded", "text/plain", "application/json; charset=utf-16"):
        path = "/_matrix/identity/v2/validate/email/requestToken"
        assert api.request("POST", path, api.register(), data=body, content_type=content_type).status_code == 200


def test_budgets_for_mail_are_spent_by_account_network_and_address(launch: Launch) -> None:
    api = launch(limits={"email_per_address": "2/hour", "email_per_account": "3/hour", "email_per_network": "100/hour"})
    alice, bob = api.register("@alice:hs.test"), api.register("@bob:hs.test")
    assert [api.request_token(alice, "x@example.org", n).status_code for n in (1, 2, 3)] == [200, 200, 429]
    refused = api.request_token(bob, "X@EXAMPLE.org", 1)
    assert refusal(refused) == (429, "M_LIMIT_EXCEEDED")
    assert 0 < refused.get_json()["retry_after_ms"] <= HOUR_S * 1000
    assert int(refused.headers["Retry-After"]) * 1000 >= refused.get_json()["retry_after_ms"]
    assert [api.request_token(bob, f"y{n}@example.org").status_code for n in range(3)] == [200, 200, 429]
    api.clock.advance(HOUR_S)
    assert api.request_token(bob, "x@example.org", 2).status_code == 200


def test_a_refused_attempt_may_be_made_again_later(launch: Launch) -> None:
    api = launch(limits={"email_per_network": "1/hour"})
    token = api.register()
    api.request_token(token, "first@example.org")
    assert api.request_token(token, "second@example.org").status_code == 429
    api.clock.advance(HOUR_S)
    sid, mailed = api.start(token, "second@example.org")
    assert api.submit(token, sid, mailed).status_code == 200


def test_budgets_hold_across_networks_named_by_a_trusted_proxy(launch: Launch) -> None:
    api = launch(limits={"email_per_network": "1/hour"})
    token = api.register()

    def ask(number: int, forwarded: str) -> int:
        body = {"client_secret": SECRET, "email": f"{number}@example.org", "send_attempt": 1}
        return api.post("/validate/email/requestToken", body, token, headers={"X-Forwarded-For": forwarded}).status_code

    assert ask(1, "198.51.100.1") == 200
    assert ask(2, "203.0.113.9, 198.51.100.1") == 429
    assert ask(3, "198.51.100.2") == 200
    assert ask(4, "2001:db8:1:1::5") == 200
    assert ask(5, "2001:db8:1:1:ffff::6") == 429
    assert ask(6, "nonsense") == 200
    assert ask(7, "more nonsense") == 429


@pytest.mark.parametrize("proxy", ["127.0.0.1", "::1", "::ffff:127.0.0.1"])
def test_a_trusted_proxy_is_believed_over_either_protocol(launch: Launch, proxy: str) -> None:
    api = launch(limits={"email_per_network": "1/hour"})
    token = api.register()

    def ask(number: int, sender: str, forwarded: str) -> int:
        body = {"client_secret": SECRET, "email": f"{number}@example.org", "send_attempt": 1}
        options = {"headers": {"X-Forwarded-For": forwarded}, "environ_base": {"REMOTE_ADDR": sender}}
        return api.post("/validate/email/requestToken", body, token, **options).status_code

    assert [ask(number, proxy, f"198.51.100.{number}") for number in range(3)] == [200] * 3
    assert [ask(number, "2001:db8::1", f"198.51.100.{number}") for number in range(10, 12)] == [200, 429]


def test_all_mail_together_has_a_budget(launch: Launch) -> None:
    api = launch(limits={"email_overall": "2/day"})
    users = [api.register(f"@user{number}:hs.test") for number in range(3)]
    answers = [api.request_token(token, f"{number}@example.org").status_code for number, token in enumerate(users)]
    assert answers == [200, 200, 429]


def test_a_proof_does_not_become_younger_by_asking_for_another_mail(api: Driver) -> None:
    token = api.register()
    sid = api.validate(token)
    api.clock.advance(23 * HOUR_S)
    assert api.request_token(token, attempt=2).status_code == 200
    api.clock.advance(2 * HOUR_S)
    assert refusal(api.bind(token, sid)) == (400, "M_SESSION_EXPIRED")


def test_a_refused_mail_leaves_the_last_link_alone(launch: Launch) -> None:
    api = launch(limits={"email_per_address": "1/hour"})
    token = api.register()
    sid, mailed = api.start(token)
    assert api.request_token(token, attempt=2).status_code == 429
    assert api.submit(token, sid, mailed).status_code == 200


def test_refused_requests_leave_no_session_behind(launch: Launch) -> None:
    api = launch(limits={"email_per_account": "1/hour"})
    token = api.register()
    answers = [api.request_token(token, f"{number}@example.org").status_code for number in range(5)]
    assert answers == [200, 429, 429, 429, 429]
    with api.services.database.begin() as db:
        assert db.execute(text("SELECT count(*) FROM validation_sessions")).scalar_one() == 1


def test_a_next_link_has_a_length(launch: Launch) -> None:
    api = launch(validation={"next_link_origins": ["https://app.test"]})
    answer = api.request_token(api.register(), next_link="https://app.test/" + "x" * 2048)
    assert refusal(answer) == (400, "M_INVALID_PARAM")


def test_an_address_has_a_length(api: Driver) -> None:
    assert refusal(api.request_token(api.register(), "İ" * 100_000 + "@example.org")) == (400, "M_INVALID_EMAIL")
