"""What monitoring reads, and who may read it."""

import pytest
from prometheus_client.parser import text_string_to_metric_families

import sydent_py
from tests.conftest import Launch
from tests.driver import Driver, refusal

HOUR_S = 3600
SMS = {"allowed_countries": ["GB", "DE"], "conversion_min_sends": 2}


def figures(api: Driver) -> dict[tuple[str, ...], float]:
    answer = api.request("GET", "/metrics")
    assert answer.status_code == 200
    assert answer.mimetype == "text/plain"
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def test_text_messages_and_breakers_are_counted_in_the_database(launch: Launch) -> None:
    api = launch(sms=SMS, limits={"sms_overall": "50/day"})
    token = api.register()
    api.validate_phone(token, "+4915123456789", client_secret="other")
    for index in range(2):
        api.request_code(token, f"+44740012345{index}")
    api.services.sms.traffic.report(api.handset.newest.ref, "undelivered", 30006)
    api.clock.advance(HOUR_S)
    api.request_code(token, "+447400123458")
    another = launch(sms=SMS, limits={"sms_overall": "50/day"})
    another.clock.advance(HOUR_S)
    for server in (api, another):
        assert {
            name: value for name, value in figures(server).items() if "outbox" not in name[0] and "log" not in name[0]
        } == {
            ("sydent_py_build_info", sydent_py.__version__): 1,
            ("sydent_py_keys_differing_users",): 0,
            ("sydent_py_sms_sent_total", "DE"): 1,
            ("sydent_py_sms_sent_total", "GB"): 2,
            ("sydent_py_sms_converted_total", "DE"): 1,
            ("sydent_py_sms_converted_total", "GB"): 0,
            ("sydent_py_sms_undelivered_total", "DE"): 0,
            ("sydent_py_sms_undelivered_total", "GB"): 1,
            ("sydent_py_sms_breakers", "GB", "country", "open"): 1,
            ("sydent_py_sms_breakers", "GB", "prefix", "open"): 1,
            ("sydent_py_sms_budget_left", "50 per 1 day"): 47,
        }


def test_figures_name_nobody(launch: Launch) -> None:
    api = launch(sms={**SMS, "conversion_min_sends": 1})
    token = api.register()
    api.request_code(token, "+447400123456")
    api.clock.advance(HOUR_S)
    api.request_code(token, "+447400123457")
    assert "7400" not in api.request("GET", "/metrics").text


@pytest.mark.parametrize(
    ("sender", "headers"),
    [
        ("198.51.100.1", {}),
        ("10.0.0.1", {}),
        ("", {}),
        ("127.0.0.1", {"X-Forwarded-For": "127.0.0.1"}),
        ("127.0.0.1", {"X-Forwarded-For": ""}),
        ("127.0.0.1", {"Forwarded": "for=127.0.0.1"}),
        ("127.0.0.1", {"X-Real-IP": "127.0.0.1"}),
        ("127.0.0.1", {"Via": "1.1 caddy"}),
        ("198.51.100.1", {"X-Forwarded-For": "127.0.0.1"}),
    ],
)
def test_whoever_is_elsewhere_or_came_through_a_proxy_finds_nothing(
    api: Driver, sender: str, headers: dict[str, str]
) -> None:
    answer = api.request("GET", "/metrics", environ_base={"REMOTE_ADDR": sender}, headers=headers)
    assert refusal(answer) == (404, "M_UNRECOGNIZED")


@pytest.mark.parametrize("sender", ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"])
def test_programs_on_this_machine_may_read(api: Driver, sender: str) -> None:
    assert api.request("GET", "/metrics", environ_base={"REMOTE_ADDR": sender}).status_code == 200


def test_what_waits_to_be_delivered_is_counted(api: Driver) -> None:
    api.store_invite(api.register())
    api.clock.advance(90)
    seen = figures(api)
    assert seen["sydent_py_outbox_messages", "invite_mail"] == 1
    assert seen["sydent_py_outbox_oldest_seconds", "invite_mail"] == 90
    assert seen["sydent_py_outbox_messages", "onbind"] == seen["sydent_py_outbox_oldest_seconds", "onbind"] == 0


def test_what_waits_for_its_place_in_the_log_is_shown_with_its_age(api: Driver) -> None:
    api.bound()
    api.clock.advance(30)
    shown = figures(api)
    assert shown["sydent_py_log_entries",] == 0
    assert (shown["sydent_py_log_pending_entries",], shown["sydent_py_log_oldest_pending_seconds",]) == (1, 30)
    api.sequence()
    shown = figures(api)
    assert shown["sydent_py_log_entries",] == 1
    assert (shown["sydent_py_log_pending_entries",], shown["sydent_py_log_oldest_pending_seconds",]) == (0, 0)
    assert shown["sydent_py_log_checkpoint_timestamp_seconds",] == api.clock.now_ms() / 1000
