"""Proving a phone number."""

import dataclasses
from concurrent.futures import ThreadPoolExecutor
from threading import BoundedSemaphore, Event, Semaphore
from typing import Any

import pytest
from sqlalchemy import text

from sydent_py.directory.peppers import lookup_hash
from sydent_py.messaging.sms import TextMessage
from sydent_py.validation import request_msisdn_token
from tests.conftest import Launch
from tests.driver import SECRET, Driver, refusal

MINUTE_S = 60
DAY_S = 86_400
GENEROUS = dict.fromkeys(("sms_per_number", "sms_per_account", "sms_per_network", "sms_per_prefix"), "1000/hour")


@pytest.fixture
def api(launch: Launch) -> Driver:
    return launch(sms={"allowed_countries": ["GB", "DE", "US"]}, limits=GENEROUS)


def wrong(code: str) -> str:
    return f"{(int(code) + 1) % 1_000_000:06}"


def sends(api: Driver) -> int:
    with api.services.database.begin() as db:
        return int(db.execute(text("SELECT count(*) FROM sms_sends")).scalar_one())


def test_a_number_is_proved_bound_found_and_unbound(api: Driver) -> None:
    token = api.register()
    answer = api.request_code(token, "07400 123456")
    assert answer.get_json() == {
        "success": True,
        "sid": answer.get_json()["sid"],
        "msisdn": "447400123456",
        "intl_fmt": "+44 7400 123456",
    }
    sid = answer.get_json()["sid"]
    assert api.handset.newest.to.digits == "447400123456"
    validated = {"sid": sid, "client_secret": SECRET}
    assert refusal(api.get("/3pid/getValidated3pid", token, **validated)) == (400, "M_SESSION_NOT_VALIDATED")
    assert api.submit_code(token, sid, api.handset.code()).get_json() == {"success": True}
    assert api.get("/3pid/getValidated3pid", token, **validated).get_json() == {
        "medium": "msisdn",
        "address": "447400123456",
        "validated_at": api.clock.now_ms(),
    }
    association = api.bind(token, sid).get_json()
    assert (association["medium"], association["address"]) == ("msisdn", "447400123456")
    pepper = api.pepper(token)
    key = lookup_hash("447400123456 msisdn", pepper)
    lookup = {"algorithm": "sha256", "pepper": pepper, "addresses": [key]}
    assert api.post("/lookup", lookup, token).get_json() == {"mappings": {key: "@alice:hs.test"}}
    unbind = {**validated, "mxid": "@alice:hs.test", "threepid": {"medium": "msisdn", "address": "447400123456"}}
    assert api.post("/3pid/unbind", unbind, token).get_json().keys() == {"unsigned"}
    assert api.post("/lookup", lookup, token).get_json() == {"mappings": {}}


@pytest.mark.parametrize("address", ["447400123456", "+447400123456", "+44 7400 123456", " 44 (0)7400-123456 "])
def test_a_number_is_unbound_in_any_unambiguous_spelling(api: Driver, address: str) -> None:
    token = api.register()
    sid = api.validate_phone(token)
    api.bind(token, sid)
    body = {"sid": sid, "client_secret": SECRET, "mxid": "@alice:hs.test"}
    answer = api.post("/3pid/unbind", {**body, "threepid": {"medium": "msisdn", "address": address}}, token)
    assert answer.get_json().keys() == {"unsigned"}
    with api.services.database.begin() as db:
        assert db.execute(text("SELECT count(*) FROM bindings")).scalar_one() == 0


@pytest.mark.parametrize("address", ["07400123456", "44740012345x", "++447400123456", "", "٤٤٧٤٠٠١٢٣٤٥٦"])
def test_a_number_without_its_country_code_is_no_address(api: Driver, address: str) -> None:
    token = api.register()
    sid = api.validate_phone(token)
    body = {"sid": sid, "client_secret": SECRET, "mxid": "@alice:hs.test"}
    answer = api.post("/3pid/unbind", {**body, "threepid": {"medium": "msisdn", "address": address}}, token)
    assert refusal(answer) == (400, "M_INVALID_PHONE_NUMBER")


@pytest.mark.parametrize(
    ("typed", "country"),
    [
        ("07400 123456", "GB"),
        ("(07400) 123-456", "gb"),
        ("447400123456", "GB"),
        ("+44 7400 123456", "US"),
        ("+44 (0) 7400/123.456", ""),
        ("00447400123456", "DE"),
    ],
)
def test_numbers_as_people_type_them(api: Driver, typed: str, country: str) -> None:
    answer = api.request_code(api.register(), typed, country=country)
    assert answer.get_json()["msisdn"] == "447400123456", answer.text


@pytest.mark.parametrize(
    ("typed", "country", "errcode"),
    [
        ("", "GB", "M_INVALID_PHONE_NUMBER"),
        ("nonsense", "GB", "M_INVALID_PHONE_NUMBER"),
        ("+1 800 FLOWERS", "US", "M_INVALID_PHONE_NUMBER"),
        ("07400 123456 ext. 5", "GB", "M_INVALID_PHONE_NUMBER"),
        ("+447400123456;ext=5", "GB", "M_INVALID_PHONE_NUMBER"),
        ("tel:+447400123456", "GB", "M_INVALID_PHONE_NUMBER"),
        ("+447400123456,,1", "GB", "M_INVALID_PHONE_NUMBER"),
        ("+447400123456\n", "GB", "M_INVALID_PHONE_NUMBER"),
        ("０７４００ １２３４５６", "GB", "M_INVALID_PHONE_NUMBER"),
        ("٠٧٤٠٠١٢٣٤٥٦", "GB", "M_INVALID_PHONE_NUMBER"),
        ("60606", "GB", "M_INVALID_PHONE_NUMBER"),
        ("999", "GB", "M_INVALID_PHONE_NUMBER"),
        ("+999123456789", "GB", "M_INVALID_PHONE_NUMBER"),
        ("+44740012345678901234567890", "GB", "M_INVALID_PHONE_NUMBER"),
        ("07400 123456", "", "M_INVALID_PARAM"),
        ("07400 123456", "XX", "M_INVALID_PARAM"),
        ("07400 123456", "United Kingdom", "M_INVALID_PARAM"),
        ("+44 20 7946 0958", "GB", "M_DESTINATION_REJECTED"),  # a landline
        ("+44 70 1234 5678", "GB", "M_DESTINATION_REJECTED"),  # a "personal" number, dear to call
        ("+44 909 879 0000", "GB", "M_DESTINATION_REJECTED"),  # premium rate
        ("+1 800 356 9377", "US", "M_DESTINATION_REJECTED"),  # toll-free
        ("+44 7797 712345", "GB", "M_DESTINATION_REJECTED"),  # Jersey's, within the British plan
        ("+1 876 210 1234", "US", "M_DESTINATION_REJECTED"),  # Jamaica's, within the North American one
        ("+33 6 12 34 56 78", "FR", "M_DESTINATION_REJECTED"),
        ("+882 16 1234 5678", "GB", "M_DESTINATION_REJECTED"),  # a satellite's
    ],
)
def test_numbers_that_no_message_is_sent_to(api: Driver, typed: str, country: str, errcode: str) -> None:
    assert refusal(api.request_code(api.register(), typed, country=country)) == (400, errcode)
    assert api.handset.messages == []


def test_without_allowed_countries_every_number_is_refused(launch: Launch) -> None:
    api = launch()
    assert refusal(api.request_code(api.register())) == (400, "M_DESTINATION_REJECTED")


def test_a_message_is_sent_once_for_each_greater_attempt_with_a_new_code(api: Driver) -> None:
    token = api.register()
    sids = {api.request_code(token, attempt=attempt).get_json()["sid"] for attempt in (3, 3, 1, "2", "3")}
    assert (len(sids), len(api.handset.messages)) == (1, 1)
    old = api.handset.code()
    sid, new = api.start_phone(token, attempt=4)
    assert {sid} == sids
    if old != new:
        assert refusal(api.submit_code(token, sid, old)) == (400, "M_TOKEN_INCORRECT")
    assert api.submit_code(token, sid, new).status_code == 200


def test_identical_requests_at_once_send_one_message(api: Driver) -> None:
    token = api.register()
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: api.request_code(token), range(8)))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.get_json()["sid"] for answer in answers}) == 1
    assert len(api.handset.messages) == 1


def test_a_message_that_failed_may_be_asked_for_again_and_counts_as_none(api: Driver) -> None:
    token = api.register()
    api.handset.broken = True
    assert refusal(api.request_code(token)) == (400, "M_SEND_ERROR")
    assert sends(api) == 0
    api.handset.broken = False
    sid, code = api.start_phone(token)
    assert api.submit_code(token, sid, code).status_code == 200


def test_a_code_may_be_typed_with_spaces(api: Driver) -> None:
    token = api.register()
    sid, code = api.start_phone(token)
    assert api.submit_code(token, sid, f"{code[:3]} {code[3:]}").status_code == 200


def test_a_code_lives_fifteen_minutes_and_its_session_longer(api: Driver) -> None:
    token = api.register()
    sid, code = api.start_phone(token)
    api.clock.advance(15 * MINUTE_S)
    assert refusal(api.submit_code(token, sid, code)) == (400, "M_SESSION_EXPIRED")
    again, code = api.start_phone(token, attempt=2)
    assert again == sid
    api.clock.advance(14 * MINUTE_S)
    assert api.submit_code(token, sid, code).status_code == 200


def test_five_wrong_codes_end_a_session_and_a_new_message_does_not_revive_it(api: Driver) -> None:
    token = api.register()
    sid, code = api.start_phone(token)
    for _ in range(3):
        assert refusal(api.submit_code(token, sid, wrong(code))) == (400, "M_TOKEN_INCORRECT")
    again, code = api.start_phone(token, attempt=2)
    assert again == sid
    for _ in range(2):
        assert refusal(api.submit_code(token, sid, wrong(code))) == (400, "M_TOKEN_INCORRECT")
    assert refusal(api.submit_code(token, sid, code)) == (400, "M_TOKEN_INCORRECT")
    fresh, code = api.start_phone(token, attempt=3)
    assert fresh != sid
    assert refusal(api.submit_code(token, sid, code))[1] in {"M_NO_VALID_SESSION", "M_TOKEN_INCORRECT"}
    assert api.submit_code(token, fresh, code).status_code == 200


def test_five_codes_and_no_more_are_compared_however_many_arrive_at_once(api: Driver) -> None:
    token = api.register()
    sid, code = api.start_phone(token)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: api.submit_code(token, sid, wrong(code)), range(16)))
    said = [answer.get_json()["error"] for answer in answers]
    assert sum("Too many" not in words for words in said) == 5
    assert refusal(api.submit_code(token, sid, code)) == (400, "M_TOKEN_INCORRECT")


@pytest.mark.parametrize("limits_enabled", [True, False])
def test_twenty_codes_a_day_are_compared_for_a_number_across_sessions(launch: Launch, limits_enabled: bool) -> None:  # noqa: FBT001
    api = launch(sms={"allowed_countries": ["GB"]}, limits={**GENEROUS, "enabled": limits_enabled})
    tokens = [api.register(f"@user{number}:hs.test") for number in range(6)]
    sessions = [(token, *api.start_phone(token)) for token in tokens]
    guesses = [(token, sid, wrong(code)) for token, sid, code in sessions for _ in range(5)]
    with ThreadPoolExecutor(8) as pool:
        answers = [answer.status_code for answer in pool.map(lambda guess: api.submit_code(*guess), guesses)]
    assert (answers.count(400), answers.count(429)) == (20, 10)
    token = api.register("@late:hs.test")
    sid, code = api.start_phone(token)
    assert refusal(api.submit_code(token, sid, code)) == (429, "M_LIMIT_EXCEEDED")
    api.clock.advance(DAY_S)
    sid, code = api.start_phone(token, attempt=2)
    assert api.submit_code(token, sid, code).status_code == 200


def test_guesses_at_one_number_leave_another_alone(launch: Launch) -> None:
    api = launch(sms={"allowed_countries": ["GB"]}, limits={"sms_guesses_per_number": "1/day"})
    token = api.register()
    sid, code = api.start_phone(token)
    api.submit_code(token, sid, wrong(code))
    assert api.submit_code(token, sid, code).status_code == 429
    api.validate_phone(token, "+447400123457")


def test_a_session_is_of_its_account_and_secret(api: Driver) -> None:
    token, other = api.register(), api.register("@mallory:hs.test")
    sid, code = api.start_phone(token)
    assert refusal(api.submit_code(other, sid, code)) == (404, "M_NO_VALID_SESSION")
    assert refusal(api.submit_code(token, sid, code, secret="other")) == (404, "M_NO_VALID_SESSION")
    assert refusal(api.submit_code(token, "none", code)) == (404, "M_NO_VALID_SESSION")
    assert api.submit_code(token, sid, code).status_code == 200


def test_a_code_is_not_taken_where_guesses_are_not_counted(api: Driver) -> None:
    """The page behind a mailed link compares tokens of 256 bits, as often as anyone likes."""
    token = api.register()
    sid, code = api.start_phone(token)
    assert api.request("GET", f"/confirm?sid={sid}&token={code}").status_code == 404
    assert api.request("POST", "/confirm", data={"sid": sid, "token": code}).status_code == 404
    validated = api.get("/3pid/getValidated3pid", token, sid=sid, client_secret=SECRET)
    assert refusal(validated) == (400, "M_SESSION_NOT_VALIDATED")


@pytest.mark.parametrize("code", ["", "12345", "1234567", "１２３４５６", "x" * 255, "\ud7ff", "-12345", " " * 100])
def test_what_is_no_code_is_a_wrong_one(api: Driver, code: str) -> None:
    token = api.register()
    sid, _ = api.start_phone(token)
    assert refusal(api.submit_code(token, sid, code)) == (400, "M_TOKEN_INCORRECT")


@pytest.mark.parametrize(
    ("accepted", "said"),
    [
        ("de-AT,de;q=0.9,en;q=0.8", "Ihr Code"),
        ("fr", "votre code"),
        ("xx", "your code"),
        ("*", "your code"),
        ("", "your code"),
        ("pt-BR", "sua chave"),
    ],
)
def test_the_message_is_in_the_readers_language(api: Driver, accepted: str, said: str) -> None:
    api.start_phone(api.register(), headers={"Accept-Language": accepted})
    assert said in api.handset.newest.body


def test_the_message_names_the_service_and_ends_for_browsers(launch: Launch) -> None:
    sms = {"allowed_countries": ["GB"], "service_name": "Example", "webotp_host": "app.example.org", "language": "de"}
    api = launch(sms={**sms, "texts": {"de": "{service}: {code}"}})
    _, code = api.start_phone(api.register())
    assert api.handset.newest.body == f"Example: {code}\n\n@app.example.org #{code}"


def test_by_default_the_message_names_this_server(api: Driver) -> None:
    _, code = api.start_phone(api.register())
    assert api.handset.newest.body == f"{code} is your code for id.test. Tell it to nobody.\n\n@id.test #{code}"


def test_codes_differ(api: Driver) -> None:
    token = api.register()
    codes = {api.start_phone(token, attempt=attempt)[1] for attempt in range(20)}
    assert len(codes) > 15


def open_link(api: Driver, sid: str, code: str, **more: Any) -> Any:
    query = {"sid": sid, "client_secret": SECRET, "token": code, **more}
    return api.request("GET", "/_matrix/identity/v2/validate/msisdn/submitToken", query_string=query)


def test_the_specifications_own_link_shows_a_page(api: Driver) -> None:
    token = api.register()
    sid, code = api.start_phone(token)
    page = open_link(api, sid, wrong(code))
    assert (page.status_code, page.mimetype) == (400, "text/html")
    assert "447400" not in page.text.replace(" ", "")
    page = open_link(api, sid, code)
    assert (page.status_code, page.mimetype) == (200, "text/html")
    assert "phone number" in page.text
    assert "+44 7400 123456" in page.text
    assert page.headers["Referrer-Policy"] == "no-referrer"
    assert api.get("/3pid/getValidated3pid", token, sid=sid, client_secret=SECRET).status_code == 200


@pytest.mark.parametrize("missing", ["sid", "client_secret", "token"])
def test_a_link_that_is_cut_off_says_what_to_do(api: Driver, missing: str) -> None:
    query = {"sid": "x", "client_secret": "y", "token": "123456"}
    del query[missing]
    page = api.request("GET", "/_matrix/identity/v2/validate/msisdn/submitToken", query_string=query)
    assert (page.status_code, page.mimetype) == (400, "text/html")
    assert "Matrix app" in page.text


def test_the_specifications_own_link_counts_guesses_and_redirects(launch: Launch) -> None:
    api = launch(sms={"allowed_countries": ["GB"]}, validation={"next_link_origins": ["https://app.test"]})
    sid, code = api.start_phone(api.register(), next_link="https://app.test/done")
    answer = open_link(api, sid, code)
    assert (answer.status_code, answer.headers["Location"]) == (302, "https://app.test/done")
    for _ in range(5):
        open_link(api, sid, wrong(code))
    assert open_link(api, sid, code).status_code == 400


def test_a_next_link_elsewhere_is_refused(api: Driver) -> None:
    answer = api.request_code(api.register(), next_link="https://evil.test/")
    assert refusal(answer) == (400, "M_INVALID_PARAM")
    assert api.handset.messages == []


def test_a_number_is_readable_neither_in_the_database_nor_in_the_log(api: Driver, capfd: pytest.CaptureFixture[str]) -> None:
    token = api.register()
    sid, code = api.start_phone(token, "+447400123456")
    api.submit_code(token, sid, wrong(code))
    api.submit_code(token, sid, code)
    api.bind(token, sid)
    with api.services.database.begin() as db:
        for table in ("validation_sessions", "bindings", "sms_sends", "sms_breakers", "rate_limits", "log_pending"):
            dump = str(db.execute(text(f"SELECT * FROM {table}")).all())
            assert "7400123" not in dump
            assert code not in dump.replace(str(api.clock.now_ms()), ""), table
    assert "7400123" not in "".join(capfd.readouterr())


def test_the_codes_hash_is_keyed_and_of_its_session(api: Driver) -> None:
    """A million codes are tried in a second: without the key the hash tells nothing, and it fits no other session."""
    token, other = api.register(), api.register("@bob:hs.test")
    sid, code = api.start_phone(token)
    bobs, _ = api.start_phone(other, "+447400123457")
    with api.services.database.begin() as db:
        db.execute(
            text(
                "UPDATE validation_sessions SET token_hash = (SELECT token_hash FROM validation_sessions WHERE sid = :a) WHERE sid = :b"
            ),
            {"a": sid, "b": bobs},
        )
    assert refusal(api.submit_code(other, bobs, code)) == (400, "M_TOKEN_INCORRECT")


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
def test_without_storage_nothing_is_sent(api: Driver, tmp_path: Any) -> None:
    token = api.register()
    with api.services.database.begin() as db:
        db.execute(text("ALTER TABLE rate_limits RENAME TO gone"))
    assert refusal(api.request_code(token)) == (503, "M_UNKNOWN")
    with api.services.database.begin() as db:
        db.execute(text("ALTER TABLE gone RENAME TO rate_limits"))
        db.execute(text("ALTER TABLE sms_sends RENAME TO gone"))
    assert refusal(api.request_code(token)) == (503, "M_UNKNOWN")
    api.services.close()
    (tmp_path / "sydent.db").unlink()
    (tmp_path / "sydent.db").mkdir()
    assert refusal(api.request_code(token)) == (503, "M_UNKNOWN")
    assert api.handset.messages == []


class Hanging:
    """A pager that hands nothing over until it is let go."""

    def __init__(self) -> None:
        self.waiting, self.release = Semaphore(0), Event()

    def send(self, _message: TextMessage) -> None:
        self.waiting.release()
        assert self.release.wait(30)


def test_a_provider_that_hangs_keeps_few_threads(api: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(request_msisdn_token, "WAIT_FOR_SLOT_S", 0.1)
    hanging = Hanging()
    use_case = api.services.validation.request_msisdn_token
    slow = dataclasses.replace(use_case, pager=hanging, slots=BoundedSemaphore(1))
    object.__setattr__(api.services.validation, "request_msisdn_token", slow)
    token = api.register()
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(api.request_code, token)
        assert hanging.waiting.acquire(timeout=30)
        assert refusal(api.request_code(token, "+447400123457")) == (429, "M_LIMIT_EXCEEDED")
        hanging.release.set()
        assert first.result().status_code == 200
    assert api.request_code(token, "+447400123457").status_code == 200


def test_a_page_is_of_its_medium(api: Driver) -> None:
    token = api.register()
    sid, code = api.start_phone(token)
    mailed_sid, mailed = api.start(token)
    for medium, secrets in {"email": (sid, code), "msisdn": (mailed_sid, mailed)}.items():
        query = dict(zip(("sid", "token"), secrets, strict=True)) | {"client_secret": SECRET}
        page = api.request("GET", f"/_matrix/identity/v2/validate/{medium}/submitToken", query_string=query)
        assert page.status_code == 404
    assert open_link(api, sid, code).status_code == 200
