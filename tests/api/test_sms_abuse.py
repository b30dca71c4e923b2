"""Text messages that strangers make us pay for."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.conftest import Launch
from tests.driver import Driver, refusal

MINUTE_S = 60
HOUR_S = 3600
UNLIMITED = "100000/hour"
BUDGETS = ("number", "account", "network", "homeserver", "prefix", "country")
LIMITS = {**{f"sms_per_{name}": UNLIMITED for name in BUDGETS}, "sms_overall": UNLIMITED}
SMS = {"allowed_countries": ["GB", "DE"], "conversion_min_sends": 10, "conversion_floor": 0.3}


def number(index: int) -> str:
    """One of ten thousand numbers in a row."""
    return f"+44740012{index:04}"


def pump(api: Driver, token: str, numbers: range, secret: str = "pump") -> list[int]:
    """Ask for messages to numbers in a row, and enter no code: the statuses."""
    return [api.request_code(token, number(index), client_secret=secret).status_code for index in numbers]


@pytest.mark.parametrize("budget", BUDGETS)
def test_each_budget_holds_by_itself(launch: Launch, budget: str) -> None:
    api = launch(sms=SMS, limits={**LIMITS, f"sms_per_{budget}": "2/hour"})
    token = api.register()
    same = {"number": ["+447400123456"] * 3}.get(budget, [number(index) for index in range(3)])
    answers = [api.request_code(token, one, attempt=attempt) for attempt, one in enumerate(same)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert refusal(answers[-1]) == (429, "M_LIMIT_EXCEEDED")
    assert len(api.handset.messages) == 2
    api.clock.advance(HOUR_S)
    assert api.request_code(token, number(50)).status_code == 200


@pytest.mark.parametrize(
    ("budget", "other"),
    [
        ("number", {"number": "+447400129999"}),
        ("prefix", {"number": "+447400139999"}),
        ("country", {"number": "+4915123456789", "country": "DE"}),
        ("network", {"headers": {"X-Forwarded-For": "198.51.100.1"}}),
        ("account", {"token": "@bob:hs.test"}),
        ("homeserver", {"token": "@bob:other.test"}),
    ],
)
def test_a_budget_that_is_used_up_stops_nobody_else(launch: Launch, budget: str, other: dict[str, Any]) -> None:
    api = launch(sms=SMS, limits={**LIMITS, f"sms_per_{budget}": "1/hour"})
    token = api.register()
    assert api.request_code(token, "+447400120001").status_code == 200
    assert api.request_code(token, "+447400120001", attempt=2).status_code == 429
    request = {"number": "+447400120001", "attempt": 3, **other}
    token = api.register(request.pop("token")) if "token" in request else token
    assert api.request_code(token, **request).status_code == 200


def test_everything_together_has_a_budget(launch: Launch) -> None:
    api = launch(sms=SMS, limits={**LIMITS, "sms_overall": "3/day"})
    tokens = [api.register(f"@user{index}:hs{index}.test") for index in range(5)]
    statuses = [api.request_code(token, number(index)).status_code for index, token in enumerate(tokens)]
    assert statuses == [200, 200, 200, 429, 429]


def test_budgets_hold_under_many_requests_at_once(launch: Launch) -> None:
    api = launch(sms=SMS, limits={**LIMITS, "sms_per_prefix": "5/hour"})
    tokens = [api.register(f"@user{index}:hs.test") for index in range(4)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda index: api.request_code(tokens[index % 4], number(index)), range(16)))
    assert len(api.handset.messages) == 5


def test_a_refused_request_leaves_the_last_code_good(launch: Launch) -> None:
    api = launch(sms=SMS, limits={**LIMITS, "sms_per_number": "1/hour"})
    token = api.register()
    sid, code = api.start_phone(token)
    assert api.request_code(token, attempt=2).status_code == 429
    assert api.submit_code(token, sid, code).status_code == 200


@pytest.fixture
def api(launch: Launch) -> Driver:
    """No budget to speak of, so that the breakers alone hold."""
    return launch(sms=SMS, limits=LIMITS)


def test_pumping_a_prefix_opens_its_breaker_and_stops(api: Driver, capfd: pytest.CaptureFixture[str]) -> None:
    """Only codes that people had time to enter count; others in the country are not in the way."""
    token = api.register()
    for index in range(20):
        validate(api, token, f"+4475111{index:05}")
    assert pump(api, token, range(10)) == [200] * 10
    assert pump(api, token, range(10, 12)) == [200] * 2
    api.clock.advance(4 * MINUTE_S)
    answer = api.request_code(token, number(100))
    assert refusal(answer) == (400, "M_DESTINATION_REJECTED")
    assert pump(api, token, range(101, 140)) == [400] * 39
    validate(api, token, "+447511999999")
    logged = "".join(capfd.readouterr())
    assert logged.count("sms.breaker_opened") == 1
    assert "44740012" not in logged
    [breaker] = api.services.sms.status.report().breakers
    assert (breaker.subject, breaker.country, breaker.state) == ("+44740012xxxx", "GB", "open")


def test_pumping_a_country_opens_its_breaker_and_leaves_others_alone(api: Driver) -> None:
    token = api.register()
    for index in range(10):
        api.request_code(token, f"+4474{index:02}123456")
    api.clock.advance(4 * MINUTE_S)
    assert refusal(api.request_code(token, "+447511123456")) == (400, "M_DESTINATION_REJECTED")
    validate(api, token, "+4915123456789", country="DE")
    assert [state.subject for state in api.services.sms.status.report().breakers] == ["GB"]


def test_people_who_enter_their_codes_open_no_breaker(api: Driver) -> None:
    token = api.register()
    for index in range(40):
        if index % 3 == 0:
            validate(api, token, number(index))
        else:
            assert api.request_code(token, number(index)).status_code == 200
        api.clock.advance(MINUTE_S)
    assert api.services.sms.status.report().breakers == ()


def test_few_messages_open_no_breaker(api: Driver) -> None:
    token = api.register()
    pump(api, token, range(9))
    api.clock.advance(4 * MINUTE_S)
    assert pump(api, token, range(9, 10)) == [200]


def open_breaker(api: Driver, token: str) -> None:
    pump(api, token, range(10))
    api.clock.advance(4 * MINUTE_S)
    assert pump(api, token, range(10, 11)) == [400]


def validate(api: Driver, token: str, typed: str, **more: Any) -> None:
    api.validate_phone(token, typed, client_secret=f"s{typed.strip('+')}", **more)


def test_after_the_pause_a_few_go_out_on_trial_and_a_silent_trial_pauses_again(api: Driver) -> None:
    token = api.register()
    open_breaker(api, token)
    api.clock.advance(HOUR_S)
    assert pump(api, token, range(20, 30)) == [200] * 5 + [400] * 5
    api.clock.advance(4 * MINUTE_S)
    assert pump(api, token, range(30, 31)) == [400]
    api.clock.advance(30 * MINUTE_S)
    assert pump(api, token, range(31, 32)) == [400]
    api.clock.advance(HOUR_S)
    assert pump(api, token, range(40, 50)) == [200] * 5 + [400] * 5


def test_a_trial_is_of_so_many_messages_however_many_ask_at_once(api: Driver) -> None:
    token = api.register()
    open_breaker(api, token)
    api.clock.advance(HOUR_S)
    before = len(api.handset.messages)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda index: api.request_code(token, number(index)), range(20, 36)))
    assert len(api.handset.messages) - before == 5


def test_a_trial_whose_codes_are_entered_closes_the_breaker(api: Driver, capfd: pytest.CaptureFixture[str]) -> None:
    token = api.register()
    open_breaker(api, token)
    api.clock.advance(HOUR_S)
    validate(api, token, number(20))
    validate(api, token, number(21))
    assert pump(api, token, range(22, 31)) == [200] * 9
    assert api.services.sms.status.report().breakers == ()
    assert "sms.breaker_closed" in "".join(capfd.readouterr())


def test_an_operator_closes_a_breaker(api: Driver) -> None:
    token = api.register()
    open_breaker(api, token)
    breakers = api.services.sms.traffic.breakers
    subjects = [state.subject for state in api.services.sms.status.report().breakers]
    assert subjects == ["GB", "+44740012xxxx"]
    assert [breakers.reset(subject) for subject in subjects] == [True, True]
    assert [breakers.reset(subject) for subject in (*subjects, "FR", "nonsense", "")] == [False] * 5
    assert pump(api, token, range(20, 25)) == [200] * 5


def test_messages_that_nobody_took_open_no_breaker(api: Driver) -> None:
    token = api.register()
    api.handset.broken = True
    assert pump(api, token, range(20)) == [400] * 20
    api.handset.broken = False
    api.clock.advance(4 * MINUTE_S)
    assert pump(api, token, range(20, 21)) == [200]


def test_a_breaker_is_shared_by_all_processes_and_outlives_them(launch: Launch) -> None:
    api = launch(sms=SMS, limits=LIMITS)
    token = api.register()
    open_breaker(api, token)
    another = launch(sms=SMS, limits=LIMITS)
    another.clock.advance(5 * MINUTE_S)
    assert pump(another, token, range(20, 21)) == [400]


def test_a_number_that_the_last_message_did_not_reach_is_not_tried_again_at_once(api: Driver) -> None:
    token = api.register()
    api.start_phone(token)
    api.services.sms.traffic.report(api.handset.newest.ref, "undelivered", 30006)
    answer = api.request_code(token, attempt=2)
    assert refusal(answer) == (400, "M_SEND_ERROR")
    assert "did not arrive" in answer.get_json()["error"]
    assert api.request_code(token, "+447400123457").status_code == 200
    api.clock.advance(HOUR_S + 1)
    assert api.request_code(token, attempt=2).status_code == 200


def test_reports_are_counted_once_and_a_delivered_message_did_not_fail(api: Driver) -> None:
    token = api.register()
    api.start_phone(token)
    report = api.services.sms.traffic.report
    ref = api.handset.newest.ref
    for status in ("sent", "delivered", "undelivered", "delivered", "nonsense"):
        report(ref, status, None)
    report("unknown", "failed", 30003)
    [country] = api.services.sms.status.report().countries
    assert (country.sent, country.delivered, country.undelivered, country.converted) == (1, 1, 0, 0)
    assert api.request_code(token, attempt=2).status_code == 200
    for _ in range(2):
        report(api.handset.newest.ref, "failed", 30005)
    [total] = api.services.sms.status.totals()
    assert (total.sent, total.converted, total.undelivered) == (2, 0, 1)


def test_the_status_tells_budgets_and_conversion(launch: Launch) -> None:
    api = launch(sms=SMS, limits={**LIMITS, "sms_overall": "10/day", "sms_per_country": "5/hour; 8/day"})
    token = api.register()
    validate(api, token, number(1))
    pump(api, token, range(2, 4))
    report = api.services.sms.status.report().to_json()
    left = [(budget["budget"], budget["subject"], budget["left"]) for budget in report["budgets"]]
    assert left == [
        ("sms_overall", "", 7),
        ("sms_per_country", "GB", 2),
        ("sms_per_country", "GB", 5),
        ("sms_per_country", "DE", 5),
        ("sms_per_country", "DE", 8),
    ]
    [country] = report["countries"]
    assert country == {"country": "GB", "sent": 3, "converted": 1, "delivered": 0, "undelivered": 0, "conversion": 0.333}


def test_what_is_not_asked_about_any_more_is_forgotten_and_totals_are_not(api: Driver) -> None:
    token = api.register()
    validate(api, token, number(1))
    api.clock.advance(25 * HOUR_S)
    api.services.forget_expired()
    assert api.services.sms.status.report().countries == []
    [total] = api.services.sms.status.totals()
    assert (total.country, total.sent, total.converted) == ("GB", 1, 1)


def on_trial(api: Driver) -> str:
    """A country and a prefix whose pause is over: an access token."""
    token = api.register()
    open_breaker(api, token)
    api.clock.advance(HOUR_S)
    return token


def test_what_the_provider_refuses_uses_up_no_trial(api: Driver) -> None:
    token = on_trial(api)
    api.handset.broken = True
    for index in range(200, 207):
        assert refusal(api.request_code(token, number(index), client_secret="broken")) == (400, "M_SEND_ERROR")
    api.handset.broken = False
    assert api.request_code(token, number(300), client_secret="honest").status_code == 200


def test_a_trial_that_is_forgotten_begins_anew(api: Driver) -> None:
    token = on_trial(api)
    assert pump(api, token, range(400, 405), "trial") == [200] * 5
    api.clock.advance(50 * HOUR_S)
    api.services.forget_expired()
    assert api.request_code(api.register(), number(500), client_secret="late").status_code == 200


def test_one_entered_code_speaks_for_one_session_however_often_it_was_sent(api: Driver) -> None:
    token = on_trial(api)
    for attempt in range(3):
        sid = api.request_code(token, number(600), attempt=attempt, client_secret="resent").get_json()["sid"]
    api.submit_code(token, sid, api.handset.code(), "resent")
    [country, prefix] = api.services.sms.status.breakers()
    assert {country.state, prefix.state} == {"trial"}


def test_a_message_that_may_have_been_taken_is_counted(launch: Launch) -> None:
    api = launch(sms=SMS, limits=LIMITS)
    api.handset.answers = False
    assert refusal(api.request_code(api.register(), number(1))) == (400, "M_SEND_ERROR")
    [total] = api.services.sms.status.totals()
    assert (total.country, total.sent) == ("GB", 1)


def test_a_country_that_is_used_up_costs_no_number_its_share(launch: Launch) -> None:
    api = launch(sms=SMS, limits={**LIMITS, "sms_per_country": "1/hour", "sms_per_number": "2/day"})
    mallory, victim = api.register("@mallory:hs.test"), "+447400990001"
    assert api.request_code(mallory, number(1)).status_code == 200
    for attempt in range(5):
        assert api.request_code(mallory, victim, attempt=attempt).status_code == 429
    api.clock.advance(HOUR_S)
    assert api.request_code(api.register("@victim:hs.test"), victim).status_code == 200
