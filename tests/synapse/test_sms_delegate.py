"""A real homeserver that has its text messages sent by us (``account_threepid_delegates.msisdn``)."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.fakes.handset import code_in
from tests.fakes.tls import CertificateAuthority
from tests.fakes.twilio import ACCOUNT_SID, AUTH_TOKEN, FakeTwilio, error
from tests.integration.conftest import IdentityServer
from tests.synapse.homeserver import PYTHON, Synapse

SECRET = "the.client=secret"
NUMBER = {"country": "GB", "phone_number": "07400 123456"}


class DelegatingSynapse(Synapse):
    """A Synapse that asks ``delegate`` to prove phone numbers."""

    def __init__(self, directory: Path, authority: CertificateAuthority, delegate: IdentityServer) -> None:
        self._delegate = delegate.base_url
        super().__init__(directory, authority, mail_port=1)

    def _configuration(self) -> dict[str, Any]:
        return {**super()._configuration(), "account_threepid_delegates": {"msisdn": self._delegate}}


@pytest.fixture(scope="module")
def own_authority() -> CertificateAuthority:
    return CertificateAuthority()


@pytest.fixture(scope="module")
def twilio(own_authority: CertificateAuthority) -> Iterator[FakeTwilio]:
    with FakeTwilio(own_authority) as twilio:
        yield twilio


@pytest.fixture(scope="module")
def delegate(
    own_authority: CertificateAuthority, twilio: FakeTwilio, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[IdentityServer]:
    directory = tmp_path_factory.mktemp("delegate")
    sms = {
        "provider": "twilio",
        "allowed_countries": ["GB"],
        "twilio_account_sid": ACCOUNT_SID,
        "twilio_auth_token": AUTH_TOKEN,
        "twilio_from": "MyBrand",
        "twilio_base_url": twilio.base_url,
        "ca_file": str(own_authority.write_root(directory / "ca.pem")),
    }
    with IdentityServer(directory, {"sms": sms, "homeserver_delegate": {"enabled": True}}) as server:
        yield server


@pytest.fixture(scope="module")
def synapse(
    own_authority: CertificateAuthority, delegate: IdentityServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Any]:
    if not PYTHON.exists():
        pytest.skip(f"NO REAL HOMESERVER IS TESTED: {PYTHON} is not there; `make test` installs Synapse")
    synapse = DelegatingSynapse(tmp_path_factory.mktemp("synapse"), own_authority, delegate)
    synapse.launch()
    try:
        synapse.wait_until_up()
        yield synapse
    finally:
        synapse.kill()


def request_code(person: Any, **more: Any) -> tuple[int, Any]:
    body = {"client_secret": SECRET, "send_attempt": 1, **NUMBER, **more}
    return person.request("POST", "/account/3pid/msisdn/requestToken", body)


def submit(synapse: Any, submit_url: str, sid: str, code: str) -> tuple[int, Any]:
    body = {"client_secret": SECRET, "sid": sid, "token": code}
    return synapse.request("POST", urlsplit(submit_url).path, body=body)


def add(person: Any, sid: str) -> tuple[int, Any]:
    """Add the number to the account, with the password where it is asked for."""
    body = {"client_secret": SECRET, "sid": sid}
    status, answer = person.request("POST", "/account/3pid/add", body)
    assert status == 401, answer
    password = {"type": "m.login.password", "identifier": {"type": "m.id.user", "user": person.user_id}}
    auth = {**password, "password": person.password, "session": answer["session"]}
    return person.request("POST", "/account/3pid/add", {**body, "auth": auth})


def test_a_person_adds_a_phone_number_through_us(synapse: Any, delegate: IdentityServer, twilio: FakeTwilio) -> None:
    person = synapse.register("phone")
    status, answer = request_code(person)
    assert (status, answer["msisdn"], answer["intl_fmt"]) == (200, "447400123456", "+44 7400 123456")
    code = code_in(twilio.messages[-1].body)
    wrong = f"{(int(code) + 1) % 1_000_000:06}"
    assert submit(synapse, answer["submit_url"], answer["sid"], wrong)[0] == 400
    assert add(person, answer["sid"])[0] == 400
    assert submit(synapse, answer["submit_url"], answer["sid"], code) == (200, {"success": True})
    assert add(person, answer["sid"]) == (200, {})
    [threepid] = person.do("GET", "/account/3pid")["threepids"]
    assert (threepid["medium"], threepid["address"]) == ("msisdn", "447400123456")
    assert "7400123" not in delegate.output.read_text()


def test_our_refusals_reach_the_client_in_our_words(synapse: Any, twilio: FakeTwilio) -> None:
    person = synapse.register("refused")
    status, answer = request_code(person, country="FR", phone_number="06 12 34 56 78")
    assert (status, answer["errcode"]) == (400, "M_DESTINATION_REJECTED")
    twilio.answer = error(21610, "Attempt to send to unsubscribed recipient")
    status, answer = request_code(person, phone_number="07400 123457")
    twilio.answer = None
    assert (status, answer["errcode"]) == (400, "M_SEND_ERROR")
    assert "START" in answer["error"]
