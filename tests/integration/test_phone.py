"""Phone numbers on the real thing: two gunicorn workers, the real Twilio library, a TLS server that speaks Twilio's API."""

import json
import re
import signal
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import urllib3

from tests.fakes.handset import code_in
from tests.fakes.homeserver import FakeHomeserver
from tests.fakes.tls import CertificateAuthority
from tests.fakes.twilio import ACCOUNT_SID, AUTH_TOKEN, FakeTwilio, error, sign
from tests.integration.conftest import IdentityServer

SECRET = "the.client=secret"
STATUS = "/_matrix/identity/unstable/sydent_py/sms/status"
V1 = "/_matrix/identity/api/v1"
UNLIMITED = dict.fromkeys(
    ("sms_per_number", "sms_per_account", "sms_per_network", "sms_per_homeserver", "sms_per_prefix", "sms_per_country"),
    "100000/hour",
)

pytestmark = pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS:UserWarning")


@pytest.fixture
def twilio(authority: CertificateAuthority) -> Iterator[FakeTwilio]:
    with FakeTwilio(authority) as twilio:
        yield twilio


@pytest.fixture
def with_sms(sections: dict[str, dict[str, Any]], twilio: FakeTwilio, tmp_path: Path) -> dict[str, dict[str, Any]]:
    """The configuration of a server that sends text messages."""
    (tmp_path / "twilio-token").write_text(AUTH_TOKEN)
    sms = {
        "provider": "twilio",
        "allowed_countries": ["GB", "DE"],
        "twilio_account_sid": ACCOUNT_SID,
        "twilio_auth_token_file": str(tmp_path / "twilio-token"),
        "twilio_from": "+447400000000",
        "twilio_base_url": twilio.base_url,
        "ca_file": sections["email"]["ca_file"],
        "conversion_grace": "0s",
    }
    return {**sections, "sms": sms, "limits": UNLIMITED}


def register(server: IdentityServer, homeserver: FakeHomeserver, localpart: str = "alice") -> str:
    status, answer = server.post("/account/register", homeserver.openid_token(localpart))
    assert status == 200, answer
    return str(answer["token"])


def request_code(server: IdentityServer, token: str, number: str = "07400 123456", **more: Any) -> tuple[int, Any]:
    body = {"client_secret": SECRET, "country": "GB", "phone_number": number, "send_attempt": 1, **more}
    return server.post("/validate/msisdn/requestToken", body, token)


def submit(server: IdentityServer, token: str, sid: str, code: str) -> tuple[int, Any]:
    return server.post("/validate/msisdn/submitToken", {"sid": sid, "client_secret": SECRET, "token": code}, token)


def run(server: IdentityServer, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [server.command, *arguments, "--config", server.config]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=server.directory)


def figures(server: IdentityServer) -> str:
    return server.request("GET", "/metrics").data.decode()


def test_a_number_is_proved_and_bound_and_reports_are_believed_when_signed(
    with_sms: dict[str, Any], tmp_path: Path, homeserver: FakeHomeserver, twilio: FakeTwilio
) -> None:
    with IdentityServer(tmp_path, with_sms) as server:
        token = register(server, homeserver)
        status, answer = request_code(server, token)
        assert (status, answer["msisdn"], answer["intl_fmt"]) == (200, "447400123456", "+44 7400 123456")
        sms = twilio.messages[-1]
        assert sms.to == "+447400123456"
        assert sms.body.endswith(f"\n\n@127.0.0.1 #{code_in(sms.body)}")
        assert twilio.report(sms, "sent") == 200
        assert twilio.report(sms, "delivered") == 200
        sid = answer["sid"]
        assert submit(server, token, sid, code_in(sms.body)) == (200, {"success": True})
        mxid = f"@alice:{homeserver.name}"
        status, association = server.post("/3pid/bind", {"sid": sid, "client_secret": SECRET, "mxid": mxid}, token)
        assert (status, association["address"]) == (200, "447400123456")

        forge(server, twilio, token)
        unreachable(server, twilio, token)
        assert "7400123" not in server.output.read_text()


def forge(server: IdentityServer, twilio: FakeTwilio, token: str) -> None:
    """A report that Twilio did not sign, or did not sign so, changes nothing."""
    assert request_code(server, token, "+447400123457")[0] == 200
    sms = twilio.messages[-1]
    url = sms.fields["StatusCallback"]
    failed = {"MessageStatus": "failed"}
    for tampering in (
        {"auth_token": "guessed"},
        {"auth_token": ""},
        {"fields": {"MessageStatus": "undelivered"}},
        {"fields": {"Extra": "x"}},
        {"url": url + "x"},
        {"url": url + "&ref=y"},
        {"headers": {}},
        {"headers": {"X-Twilio-Signature": ""}},
        {"headers": {"X-Twilio-Signature": "ü".encode().decode("latin-1")}},
        {"headers": {"X-Twilio-Signature": sign(url.replace("http:", "https:"), failed, AUTH_TOKEN)}},
    ):
        assert twilio.report(sms, "failed", 30003, **tampering) in {400, 403}, tampering
    assert server.request("GET", STATUS).status == 405
    assert server.request("POST", STATUS, body=b"{}").status == 403
    assert request_code(server, token, "+447400123457", send_attempt=2)[0] == 200


def unreachable(server: IdentityServer, twilio: FakeTwilio, token: str) -> None:
    """A report that a message did not arrive makes the next request say so, and costs nothing."""
    sms = twilio.messages[-1]
    assert [twilio.report(sms, "undelivered", 30006) for _ in range(2)] == [200, 200]
    before = len(twilio.messages)
    status, answer = request_code(server, token, "+447400123457", send_attempt=3)
    assert (status, answer["errcode"]) == (400, "M_SEND_ERROR")
    assert "did not arrive" in answer["error"]
    assert len(twilio.messages) == before
    assert 'sydent_py_sms_undelivered_total{country="GB"} 1.0' in figures(server)


def test_a_provider_that_fails_is_a_refusal_and_the_attempt_may_be_repeated(
    with_sms: dict[str, Any], tmp_path: Path, homeserver: FakeHomeserver, twilio: FakeTwilio
) -> None:
    with IdentityServer(tmp_path, with_sms) as server:
        token = register(server, homeserver)
        for answer in (error(21211, "Invalid 'To'"), error(20429, "Too Many Requests", 429), error(20500, "", 500)):
            twilio.answer = answer
            status, refusal = request_code(server, token)
            assert (status, refusal["errcode"]) == (400, "M_SEND_ERROR")
        twilio.answer = error(21408, "Permission to send an SMS has not been enabled")
        assert request_code(server, token)[1]["errcode"] == "M_DESTINATION_REJECTED"
        twilio.answer = None
        status, answer = request_code(server, token)
        assert status == 200
        assert submit(server, token, answer["sid"], code_in(twilio.messages[-1].body))[0] == 200


def test_guesses_are_counted_once_by_all_processes_and_survive_kill_9(
    with_sms: dict[str, Any], tmp_path: Path, homeserver: FakeHomeserver, twilio: FakeTwilio
) -> None:
    with IdentityServer(tmp_path, with_sms) as server:
        tokens = [register(server, homeserver, f"user{index}") for index in range(5)]
        sids = [request_code(server, token)[1]["sid"] for token in tokens]
        codes = [code_in(sms.body) for sms in twilio.messages]
        wrong = next(code for code in ("000000", "111111", "222222", "333333", "444444", "555555") if code not in codes)

        def guess(index: int) -> int:
            return submit(server, tokens[index], sids[index], wrong)[0]

        with ThreadPoolExecutor(8) as pool:
            first = list(pool.map(guess, [0] * 12 + [1] * 12))
        assert set(first) == {400}
        server.stop(signal.SIGKILL)
        server.start()
        assert submit(server, tokens[0], sids[0], codes[0])[1]["errcode"] == "M_TOKEN_INCORRECT"
        with ThreadPoolExecutor(8) as pool:
            second = list(pool.map(guess, [2, 3] * 5 + [4] * 5))
        assert (second.count(400), second.count(429)) == (10, 5)  # twenty in all, ten of them before the kill
        assert submit(server, tokens[4], sids[4], codes[4])[0] in {400, 429}


def test_a_pumped_prefix_is_stopped_across_processes_restarts_and_until_the_operator_says_so(
    with_sms: dict[str, Any], tmp_path: Path, homeserver: FakeHomeserver, twilio: FakeTwilio
) -> None:
    with IdentityServer(tmp_path, with_sms) as server:
        token = register(server, homeserver)
        statuses = []
        for index in range(14):
            statuses.append(request_code(server, token, f"+447400123{index:03}")[0])
            if index == 5:
                server.stop(signal.SIGKILL)
                server.start()
        assert statuses == [200] * 10 + [400] * 4
        server.stop()
        server.start()
        assert request_code(server, token, "+447400123999")[1]["errcode"] == "M_DESTINATION_REJECTED"
        assert len(twilio.messages) == 10
        assert server.output.read_text().count("sms.breaker_opened") == 2  # of the country, and of the prefix
        assert 'sydent_py_sms_breakers{country="GB",scope="country",state="open"} 1.0' in figures(server)

        shown = json.loads(run(server, "sms", "status", "--json").stdout)
        assert [breaker["subject"] for breaker in shown["breakers"]] == ["GB", "+44740012xxxx"]
        assert shown["countries"][0]["sent"] == 10
        words = run(server, "sms", "status").stdout
        assert re.search(r"\+44740012xxxx +GB open, until ", words)
        assert re.search(r"GB +10 +0 +0 +0  0% entered", words)
        for subject in ("GB", "+44740012xxxx"):
            assert run(server, "sms", "reset-breaker", subject).returncode == 0
        done = run(server, "sms", "reset-breaker", "GB")
        assert (done.returncode, "No circuit breaker of GB is open" in done.stderr) == (1, True)
        assert request_code(server, token, "+447400123999")[0] == 200


def test_budgets_survive_kill_9(
    with_sms: dict[str, Any], tmp_path: Path, homeserver: FakeHomeserver, twilio: FakeTwilio
) -> None:
    with IdentityServer(tmp_path, {**with_sms, "limits": {**UNLIMITED, "sms_overall": "3/day"}}) as server:
        token = register(server, homeserver)
        assert [request_code(server, token, f"+44740012345{index}")[0] for index in range(2)] == [200, 200]
        server.stop(signal.SIGKILL)
        server.start()
        assert [request_code(server, token, f"+44740012346{index}")[0] for index in range(2)] == [200, 429]
        assert len(twilio.messages) == 3
        left = json.loads(run(server, "sms", "status", "--json").stdout)["budgets"][0]
        assert (left["budget"], left["left"]) == ("sms_overall", 0)


def test_our_homeserver_has_its_messages_sent_and_the_world_has_not(
    with_sms: dict[str, Any], tmp_path: Path, twilio: FakeTwilio
) -> None:
    with IdentityServer(tmp_path, {**with_sms, "homeserver_delegate": {"enabled": True}}) as server:
        body = {"client_secret": SECRET, "country": "GB", "phone_number": "07400123456", "send_attempt": 1}

        def post(path: str, body: dict[str, Any], **headers: str) -> urllib3.BaseHTTPResponse:
            content = json.dumps(body).encode()
            return urllib3.request("POST", server.base_url + V1 + path, body=content, headers=headers, timeout=30)

        assert post("/validate/msisdn/requestToken", body, **{"X-Forwarded-For": "198.51.100.7"}).status == 403
        assert post("/validate/email/requestToken", body).json()["errcode"] == "M_UNRECOGNIZED"
        sid = post("/validate/msisdn/requestToken", body).json()["sid"]
        code = code_in(twilio.messages[-1].body)
        done = post("/validate/msisdn/submitToken", {"sid": sid, "client_secret": SECRET, "token": code})
        assert done.json() == {"success": True}
        proof = urllib3.request(
            "GET", f"{server.base_url}{V1}/3pid/getValidated3pid", fields={"sid": sid, "client_secret": SECRET}, timeout=30
        )
        assert (proof.json()["medium"], proof.json()["address"]) == ("msisdn", "447400123456")
        assert len(twilio.messages) == 1


def test_metrics_are_for_this_machine_alone(with_sms: dict[str, Any], tmp_path: Path) -> None:
    with IdentityServer(tmp_path, with_sms) as server:
        assert "sydent_py_build_info" in figures(server)
        answer = urllib3.request("GET", f"{server.base_url}/metrics", headers={"X-Forwarded-For": "127.0.0.1"}, timeout=30)
        assert (answer.status, answer.json()["errcode"]) == (404, "M_UNRECOGNIZED")


def test_a_database_that_was_never_prepared_is_said_in_plain_words(tmp_path: Path) -> None:
    server = IdentityServer(tmp_path, {})
    assert run(server, "migrate").returncode == 0
    assert run(server, "sms", "status").returncode == 0
    (tmp_path / "data" / "sydent.db").unlink()
    done = run(server, "sms", "status", "--json")
    assert (done.returncode, "sydent-py migrate" in done.stderr, "Traceback" in done.stderr) == (1, True, False)
