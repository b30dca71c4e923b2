"""The real Twilio library against a server that speaks Twilio's REST API over TLS."""

import logging
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from twilio.request_validator import RequestValidator

from sydent_py.errors import DestinationRejected, MatrixError, SendError
from sydent_py.messaging import twilio
from sydent_py.messaging.sms import Pager, TextMessage
from sydent_py.phone_numbers import PhoneNumber
from sydent_py.sealing import Sealer
from sydent_py.settings import ConfigurationError
from sydent_py.sms_settings import Sms
from tests.fakes.tls import CertificateAuthority
from tests.fakes.twilio import ACCOUNT_SID, AUTH_TOKEN, FakeTwilio, error, hang, hang_up, say, sign

SERVICE = "MG" + "1" * 32


@pytest.fixture
def fake(authority: CertificateAuthority) -> Iterator[FakeTwilio]:
    with FakeTwilio(authority) as fake:
        yield fake


@pytest.fixture
def settings(fake: FakeTwilio, authority: CertificateAuthority, tmp_path: Path) -> dict[str, Any]:
    (tmp_path / "token").write_text(f"{AUTH_TOKEN}\n")
    return {
        "provider": "twilio",
        "allowed_countries": ["GB", "DE", "US"],
        "twilio_account_sid": ACCOUNT_SID,
        "twilio_auth_token_file": tmp_path / "token",
        "twilio_from": "+447400000000",
        "twilio_base_url": fake.base_url,
        "ca_file": authority.write_root(tmp_path / "ca.pem"),
    }


def build(settings: dict[str, Any]) -> Pager:
    return twilio.build(Sms(**settings), "https://id.test", Sealer(b"k" * 32))


def message(number: str = "+447400123456", body: str = "123456 ist Ihr Code für id.test.") -> TextMessage:
    return TextMessage(PhoneNumber.parse(number), body, "the-ref")


def test_a_message_is_handed_over_once_with_all_it_needs(fake: FakeTwilio, settings: dict[str, Any]) -> None:
    build(settings).send(message())
    [taken] = fake.messages
    assert taken.fields == {
        "To": "+447400123456",
        "From": "+447400000000",
        "Body": "123456 ist Ihr Code für id.test.",
        "ValidityPeriod": "900",
        "StatusCallback": "https://id.test/_matrix/identity/unstable/sydent_py/sms/status?ref=the-ref",
    }
    assert len(fake.requests) == 1


@pytest.mark.parametrize(
    ("number", "name", "sender"),
    [
        ("+447400123456", "From", "MyBrand"),
        ("+4915123456789", "MessagingServiceSid", SERVICE),
        ("+12015550123", "From", "+447400000000"),
    ],
)
def test_each_country_has_its_sender(
    fake: FakeTwilio, settings: dict[str, Any], number: str, name: str, sender: str
) -> None:
    build({**settings, "senders": {"GB": "MyBrand", "DE": SERVICE}}).send(message(number))
    fields = fake.messages[0].fields
    assert fields[name] == sender
    assert len({"From", "MessagingServiceSid"} & set(fields)) == 1


@pytest.mark.parametrize(
    ("answer", "refusal", "said"),
    [
        (error(21211, "The 'To' number is not a valid phone number:"), SendError, "cannot receive"),
        (error(21614, "'To' number is not a valid mobile number:"), SendError, "cannot receive"),
        (error(30006, "Landline or unreachable carrier:"), SendError, "cannot receive"),
        (error(21610, "Attempt to send to unsubscribed recipient"), SendError, "START"),
        (error(21408, "Permission to send an SMS has not been enabled for the region"), DestinationRejected, "no text"),
        (error(20003, "Authenticate", 401), SendError, "try again"),
        (error(20429, "Too Many Requests", 429), SendError, "try again"),
        (error(20500, "Internal server error", 500), SendError, "try again"),
        (say(502, b"<html>Bad Gateway</html>"), SendError, "try again"),
        (say(503, b""), SendError, "try again"),
        (say(201, b"<html>fine</html>"), SendError, "try again"),
        (say(201, b"[]", "application/json"), SendError, "try again"),
        (say(400, b'{"type":"x","title":"t","status":400,"code":21211}', "application/json"), SendError, "try again"),
        (say(307, b"", Location="https://localhost:1/elsewhere"), SendError, "try again"),
        (say(201, b"x" * 1_000_000), SendError, "try again"),
        (hang_up, SendError, "try again"),
    ],
)
def test_every_failure_is_a_clear_refusal_that_names_no_number(  # noqa: PLR0917 - pytest calls by name
    fake: FakeTwilio,
    settings: dict[str, Any],
    answer: Any,
    refusal: type[MatrixError],
    said: str,
    capfd: pytest.CaptureFixture[str],
) -> None:
    fake.answer = answer
    pager = build(settings)
    with pytest.raises(refusal, match=said) as caught:
        pager.send(message())
    assert caught.value.status == 400
    output = "".join(capfd.readouterr())
    assert "sms.not_sent" in output
    assert "7400123" not in output + str(caught.value)
    fake.answer = None
    pager.send(message())


def test_a_provider_that_says_nothing_is_not_waited_for(
    fake: FakeTwilio, settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(twilio, "READ_TIMEOUT_S", 0.5)
    fake.answer = hang
    before = time.monotonic()
    with pytest.raises(SendError):
        build(settings).send(message())
    assert time.monotonic() - before < 5


def test_a_claim_to_send_outlives_the_longest_wait() -> None:
    assert (twilio.CONNECT_TIMEOUT_S + twilio.READ_TIMEOUT_S) * 1000 < 60_000


def test_nobody_listening_is_a_refusal(settings: dict[str, Any]) -> None:
    with pytest.raises(SendError):
        build({**settings, "twilio_base_url": "https://localhost:1"}).send(message())


def test_a_server_that_cannot_prove_its_name_gets_no_secret(fake: FakeTwilio, settings: dict[str, Any]) -> None:
    with pytest.raises(SendError):
        build({**settings, "ca_file": None}).send(message())
    wrong_name = settings["twilio_base_url"].replace("localhost", "127.0.0.2")
    with pytest.raises(SendError):
        build({**settings, "twilio_base_url": wrong_name}).send(message())
    assert fake.requests == []


def test_neither_secrets_nor_proxies_come_from_the_environment(
    fake: FakeTwilio, settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setitem(os.environ, name, "http://127.0.0.1:1")
    monkeypatch.setitem(os.environ, "TWILIO_EDGE", "sydney")
    monkeypatch.setitem(os.environ, "TWILIO_REGION", "au1")
    build(settings).send(message())
    assert len(fake.messages) == 1


def test_the_library_writes_no_number_to_a_log(
    fake: FakeTwilio, settings: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    build(settings).send(message())
    assert len(fake.messages) == 1
    assert "7400123" not in caplog.text
    assert AUTH_TOKEN not in caplog.text


def test_threads_share_one_client(fake: FakeTwilio, settings: dict[str, Any]) -> None:
    pager = build(settings)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda index: pager.send(message(f"+4474001234{index:02}", f"{index}")), range(24)))
    assert {(sms.to, sms.body) for sms in fake.messages} == {(f"+4474001234{index:02}", f"{index}") for index in range(24)}


def test_without_a_public_url_no_report_is_asked_for(fake: FakeTwilio, settings: dict[str, Any]) -> None:
    own = Sms(**{**settings, "twilio_base_url": ""})
    assert twilio.callback_url(own, "http://127.0.0.1:8090") == ""
    assert twilio.callback_url(own, "https://id.test/path").startswith("https://id.test/path/_matrix/identity/unstable/")
    assert fake.requests == []


@pytest.mark.parametrize("content", ["", "\n"])
def test_an_empty_secret_stops_the_start(settings: dict[str, Any], content: str) -> None:
    settings["twilio_auth_token_file"].write_text(content)
    with pytest.raises(ConfigurationError, match=r"sms\.twilio_auth_token_file"):
        build(settings)


def test_our_fake_signs_as_the_library_does() -> None:
    url, fields = "https://id.test/status?ref=a%20b", {"B": "2", "A": "ü", "MessageStatus": "sent"}
    assert RequestValidator("secret").compute_signature(url, fields) == sign(url, fields, "secret")
