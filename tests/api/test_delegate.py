"""The endpoints through which our own homeserver has its text messages sent."""

from typing import Any

import pytest
from werkzeug.test import TestResponse

from tests.conftest import Launch
from tests.driver import SECRET, Driver, refusal

V1 = "/_matrix/identity/api/v1"
SMS = {"allowed_countries": ["GB"]}
ENABLED = {"enabled": True, "networks": ["10.1.0.0/16", "2001:db8::/64", "127.0.0.0/8"]}
HOMESERVER = "10.1.2.3"


@pytest.fixture
def api(launch: Launch) -> Driver:
    return launch(sms=SMS, homeserver_delegate=ENABLED)


def call(api: Driver, method: str, path: str, sender: str = HOMESERVER, **options: Any) -> TestResponse:
    return api.request(method, V1 + path, environ_base={"REMOTE_ADDR": sender}, **options)


def request_code(api: Driver, sender: str = HOMESERVER, **options: Any) -> TestResponse:
    body = {"client_secret": SECRET, "country": "GB", "phone_number": "07400 123456", "send_attempt": 1}
    return call(api, "POST", "/validate/msisdn/requestToken", sender, json={**body, **options.pop("body", {})}, **options)


def submit(api: Driver, sid: str, code: str, sender: str = HOMESERVER) -> TestResponse:
    body = {"sid": sid, "client_secret": SECRET, "token": code}
    return call(api, "POST", "/validate/msisdn/submitToken", sender, json=body)


def validated(api: Driver, sid: str, sender: str = HOMESERVER) -> TestResponse:
    query = {"sid": sid, "client_secret": SECRET}
    return call(api, "GET", "/3pid/getValidated3pid", sender, query_string=query)


def test_a_homeserver_proves_a_number_without_a_token(api: Driver) -> None:
    answer = request_code(api, body={"next_link": "https://elsewhere.test/"}).get_json()
    assert (answer["success"], answer["msisdn"], answer["intl_fmt"]) == (True, "447400123456", "+44 7400 123456")
    assert refusal(validated(api, answer["sid"])) == (400, "M_SESSION_NOT_VALIDATED")
    assert refusal(submit(api, answer["sid"], "x")) == (400, "M_TOKEN_INCORRECT")
    assert submit(api, answer["sid"], api.handset.code()).get_json() == {"success": True}
    assert validated(api, answer["sid"]).get_json() == {
        "medium": "msisdn",
        "address": "447400123456",
        "validated_at": api.clock.now_ms(),
    }


def test_its_sessions_are_of_no_use_to_accounts(api: Driver) -> None:
    token = api.register()
    sid = request_code(api).get_json()["sid"]
    code = api.handset.code()
    page = {"sid": sid, "client_secret": SECRET, "token": code}
    assert refusal(api.submit_code(token, sid, code)) == (404, "M_NO_VALID_SESSION")
    answer = api.request("GET", "/_matrix/identity/v2/validate/msisdn/submitToken", query_string=page)
    assert answer.status_code == 404
    assert api.request("GET", "/_matrix/identity/v2/validate/email/submitToken", query_string=page).status_code == 404
    assert submit(api, sid, code).status_code == 200
    assert refusal(api.get("/3pid/getValidated3pid", token, sid=sid, client_secret=SECRET)) == (404, "M_NO_VALID_SESSION")
    assert refusal(api.bind(token, sid)) == (404, "M_NO_VALID_SESSION")
    unbind = {"sid": sid, "client_secret": SECRET, "mxid": "@alice:hs.test"}
    answer = api.post("/3pid/unbind", {**unbind, "threepid": {"medium": "msisdn", "address": "447400123456"}}, token)
    assert refusal(answer) == (404, "M_NO_VALID_SESSION")


def test_sessions_of_accounts_are_of_no_use_to_it(api: Driver) -> None:
    token = api.register()
    sid, code = api.start_phone(token)
    assert request_code(api).get_json()["sid"] != sid
    assert refusal(submit(api, sid, code)) == (404, "M_NO_VALID_SESSION")
    assert api.submit_code(token, sid, code).status_code == 200
    assert refusal(validated(api, sid)) == (404, "M_NO_VALID_SESSION")
    mailed = api.validate(token)
    assert refusal(validated(api, mailed)) == (404, "M_NO_VALID_SESSION")


@pytest.mark.parametrize("sender", ["10.2.0.1", "198.51.100.1", "2001:db8:0:1::1", "::ffff:10.2.0.1"])
def test_other_networks_are_refused(api: Driver, sender: str) -> None:
    sid = request_code(api).get_json()["sid"]
    assert refusal(request_code(api, sender)) == (403, "M_FORBIDDEN")
    assert refusal(submit(api, sid, api.handset.code(), sender)) == (403, "M_FORBIDDEN")
    assert refusal(validated(api, sid, sender)) == (403, "M_FORBIDDEN")
    assert len(api.handset.messages) == 1


@pytest.mark.parametrize("sender", ["10.1.255.255", "2001:db8::1", "::ffff:10.1.2.3", "127.0.0.1"])
def test_its_networks_are_served(api: Driver, sender: str) -> None:
    assert request_code(api, sender).status_code == 200


@pytest.mark.parametrize(
    ("sender", "headers", "status"),
    [
        ("127.0.0.1", {"X-Forwarded-For": "10.1.2.3"}, 200),  # our own proxy says so
        ("127.0.0.1", {"X-Forwarded-For": "198.51.100.1"}, 403),
        ("127.0.0.1", {"X-Forwarded-For": "10.1.2.3, 198.51.100.1"}, 403),  # a stranger says so
        ("127.0.0.1", {"X-Forwarded-For": "127.0.0.1, 198.51.100.1"}, 403),
        ("127.0.0.1", {"X-Forwarded-For": "nonsense"}, 403),
        ("127.0.0.1", {"X-Forwarded-For": "198.51.100.1, nonsense"}, 403),
        ("127.0.0.1", {"X-Forwarded-For": "unknown, 127.0.0.1"}, 403),
        ("127.0.0.1", {"X-Forwarded-For": "10.1.2.3:4711"}, 403),
        ("127.0.0.1", {"X-Forwarded-For": ", 198.51.100.1"}, 403),
        ("127.0.0.1", {"X-Forwarded-For": "198.51.100.1,"}, 403),
        ("198.51.100.1", {"X-Forwarded-For": "10.1.2.3"}, 403),  # not our proxy
        ("10.1.2.3", {"X-Forwarded-For": "198.51.100.1"}, 200),  # the homeserver itself, whoever asked it
        ("127.0.0.1", {"Forwarded": "for=198.51.100.1"}, 403),  # a proxy that says it in words we do not read
        ("127.0.0.1", {"Via": "1.1 proxy"}, 403),
        ("127.0.0.1", {"X-Real-IP": "198.51.100.1"}, 403),
        ("", {}, 200),  # our own proxy, over a unix socket
        ("", {"X-Forwarded-For": "198.51.100.1"}, 403),
    ],
)
def test_who_is_behind_a_proxy_is_what_counts(api: Driver, sender: str, headers: dict[str, str], status: int) -> None:
    assert request_code(api, sender, headers=headers).status_code == status


@pytest.mark.parametrize(
    "path", ["", "/", "/lookup", "/bulk_lookup", "/3pid/bind", "/validate/email/requestToken", "/validate/email/submitToken", "/pubkey/ed25519:0"]
)  # fmt: skip
def test_everything_else_under_v1_is_unknown(api: Driver, path: str) -> None:
    for method in ("GET", "POST"):
        assert refusal(call(api, method, path)) == (404, "M_UNRECOGNIZED")


def test_where_it_is_not_enabled_it_is_unknown(launch: Launch) -> None:
    api = launch(sms=SMS)
    assert refusal(request_code(api, "127.0.0.1")) == (404, "M_UNRECOGNIZED")
    assert refusal(submit(api, "x", "y", "127.0.0.1")) == (404, "M_UNRECOGNIZED")
    assert refusal(validated(api, "x", "127.0.0.1")) == (404, "M_UNRECOGNIZED")
    assert refusal(call(api, "GET", "/validate/msisdn/requestToken", "127.0.0.1")) == (404, "M_UNRECOGNIZED")


def test_its_messages_have_budgets_and_no_account_or_network(launch: Launch) -> None:
    limits = {"sms_per_homeserver": "2/day", "sms_per_account": "1/day", "sms_per_network": "1/day"}
    api = launch(sms=SMS, homeserver_delegate=ENABLED, limits=limits)
    numbers = ["+447400123456", "+447400133456", "+447400143456"]
    assert [request_code(api, body={"phone_number": number}).status_code for number in numbers] == [200, 200, 429]
    assert api.request_code(api.register(), "+447400153456").status_code == 200


def test_hostile_numbers_are_refused_here_too(api: Driver) -> None:
    for number in ("+1 800 FLOWERS", "+447400123456;ext=1", "０７４００１２３４５６", "60606"):
        assert refusal(request_code(api, body={"phone_number": number})) == (400, "M_INVALID_PHONE_NUMBER")
