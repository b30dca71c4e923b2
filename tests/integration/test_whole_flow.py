"""The main job on the real thing: two gunicorn workers, a TLS homeserver, a mail server, SQLite and PostgreSQL."""

import html
import json
import re
import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import urllib3
from signedjson.key import decode_verify_key_base64
from signedjson.sign import verify_signed_json
from sqlalchemy import text

from sydent_py.database import Database
from sydent_py.directory.peppers import lookup_hash
from tests.driver import TERMS
from tests.fakes.homeserver import USERINFO, FakeHomeserver, hang
from tests.fakes.mailbox import link_in
from tests.fakes.smtp import Received, SmtpServer
from tests.integration.conftest import V2, IdentityServer

SECRET = "the.client=secret"
pytestmark = pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS:UserWarning")


def text_of(mail: Received) -> str:
    part = mail.message.get_body(("plain",))
    assert part is not None
    return str(part.get_content())


def lookup(server: IdentityServer, token: str, address: str) -> dict[str, str]:
    _, details = server.get("/hash_details", token)
    key = lookup_hash(f"{address} email", details["lookup_pepper"])
    body = {"algorithm": "sha256", "pepper": details["lookup_pepper"], "addresses": [key]}
    status, answer = server.post("/lookup", body, token)
    assert status == 200, answer
    mappings = answer["mappings"]
    return {address: mappings[key]} if key in mappings else {}


def register(server: IdentityServer, homeserver: FakeHomeserver, localpart: str) -> str:
    status, answer = server.post("/account/register", homeserver.openid_token(localpart))
    assert status == 200, answer
    return str(answer["token"])


def confirm(server: IdentityServer, mail: Received) -> None:
    """Open the link and press the button, as a browser does."""
    page = server.request("GET", link_in(text_of(mail)).removeprefix(server.base_url))
    assert page.status == 200
    text = page.data.decode()
    form = re.search(r'<form[^>]* action="([^"]*)"', text)
    assert form
    fields = dict(re.findall(r'<input type="hidden" name="([^"]*)" value="([^"]*)"', text))
    done = server.request("POST", html.unescape(form[1]), fields=fields, encode_multipart=False)
    assert done.status == 200


def request_token(server: IdentityServer, token: str, email: str, attempt: int = 1) -> tuple[int, Any]:
    body = {"client_secret": SECRET, "email": email, "send_attempt": attempt}
    return server.post("/validate/email/requestToken", body, token)


def bind(server: IdentityServer, token: str, sid: str, mxid: str) -> tuple[int, Any]:
    return server.post("/3pid/bind", {"sid": sid, "client_secret": SECRET, "mxid": mxid}, token)


def test_register_prove_bind_be_found_unbind(
    sections: dict[str, dict[str, Any]], tmp_path: Path, homeserver: FakeHomeserver, smtp: SmtpServer
) -> None:
    (tmp_path / "terms.toml").write_text(TERMS)
    with IdentityServer(tmp_path, {**sections, "terms": {"file": str(tmp_path / "terms.toml")}}) as server:
        alice, bob = register(server, homeserver, "alice"), register(server, homeserver, "bob")
        assert request_token(server, alice, "alice@example.org")[1]["errcode"] == "M_TERMS_NOT_SIGNED"
        for token in (alice, bob):
            policies = server.get("/terms")[1]["policies"]
            urls = [policies["privacy_policy"]["en"]["url"]]
            assert server.post("/terms", {"user_accepts": urls}, token) == (200, {})

        status, answer = request_token(server, alice, "Alice@EXAMPLE.org")
        assert status == 200, answer
        mail = smtp.newest
        assert (mail.recipients, mail.encrypted, mail.username) == (["alice@example.org"], True, "sydent")
        assert f"@alice:{homeserver.name}" in text_of(mail)
        sid = answer["sid"]
        session = {"sid": sid, "client_secret": SECRET}
        assert server.get("/3pid/getValidated3pid", alice, **session)[1]["errcode"] == "M_SESSION_NOT_VALIDATED"
        confirm(server, mail)
        assert server.get("/3pid/getValidated3pid", alice, **session)[1]["address"] == "alice@example.org"

        mxid = f"@alice:{homeserver.name}"
        status, association = bind(server, alice, sid, mxid)
        assert status == 200, association
        key_id = next(iter(association["signatures"]["id.test"]))
        public_key = server.get(f"/pubkey/{key_id}")[1]["public_key"]
        assert server.get("/pubkey/isvalid", public_key=public_key)[1] == {"valid": True}
        verify_signed_json(association, "id.test", decode_verify_key_base64("ed25519", key_id.partition(":")[2], public_key))

        assert lookup(server, bob, "alice@example.org") == {"alice@example.org": mxid}
        unbind = {**session, "mxid": mxid, "threepid": {"medium": "email", "address": "alice@example.org"}}
        status, removed = server.post("/3pid/unbind", unbind, alice)
        assert (status, removed.keys()) == (200, {"unsigned"})
        assert lookup(server, bob, "alice@example.org") == {}
        assert server.post("/account/logout", {}, alice) == (200, {})
        assert server.get("/account", alice)[1]["errcode"] == "M_UNAUTHORIZED"


def test_what_was_acknowledged_survives_kill_9(server: IdentityServer, homeserver: FakeHomeserver, smtp: SmtpServer) -> None:
    alice = register(server, homeserver, "alice")
    mxid = f"@alice:{homeserver.name}"
    sid = request_token(server, alice, "alice@example.org")[1]["sid"]
    server.stop(signal.SIGKILL)
    server.start()
    confirm(server, smtp.newest)
    server.stop(signal.SIGKILL)
    server.start()
    assert bind(server, alice, sid, mxid)[0] == 200
    server.stop(signal.SIGKILL)
    server.start()
    assert lookup(server, alice, "alice@example.org") == {"alice@example.org": mxid}


def test_workers_killed_in_the_middle_leave_whole_bindings(
    server: IdentityServer, homeserver: FakeHomeserver, smtp: SmtpServer
) -> None:
    """Bind many addresses while the server is killed again and again: each is bound and found, or not bound at all."""
    token = register(server, homeserver, "alice")
    mxid = f"@alice:{homeserver.name}"
    sids = {}
    for number in range(12):
        address = f"{number}@example.org"
        status, answer = request_token(server, token, address)
        assert status == 200, answer
        confirm(server, smtp.newest)
        sids[address] = answer["sid"]

    def try_to_bind(address: str) -> bool:
        try:
            return bind(server, token, sids[address], mxid)[0] == 200
        except Exception:  # noqa: BLE001 - the server was killed under the request, whatever that looks like
            return False

    acknowledged: set[str] = set()
    for batch in (list(sids)[:6], list(sids)[6:]):
        with ThreadPoolExecutor(6) as pool:
            answers = [(address, pool.submit(try_to_bind, address)) for address in batch]
            server.stop(signal.SIGKILL)
            acknowledged |= {address for address, answer in answers if answer.result()}
        server.start()
    for address, sid in sids.items():
        found = bool(lookup(server, token, address))
        assert found or address not in acknowledged
        if not found:
            assert bind(server, token, sid, mxid)[0] == 200
            assert lookup(server, token, address)


def test_identical_requests_to_two_workers_send_one_mail(
    server: IdentityServer, homeserver: FakeHomeserver, smtp: SmtpServer
) -> None:
    token = register(server, homeserver, "alice")
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: request_token(server, token, "alice@example.org"), range(16)))
    assert {status for status, _ in answers} == {200}
    assert len({answer["sid"] for _, answer in answers}) == 1
    assert len(smtp.received) == 1


def test_parallel_guesses_at_two_workers_are_counted(
    server: IdentityServer, homeserver: FakeHomeserver, smtp: SmtpServer
) -> None:
    token = register(server, homeserver, "alice")
    sid = request_token(server, token, "alice@example.org")[1]["sid"]
    right = link_in(text_of(smtp.newest)).rpartition("token=")[2]

    def guess(attempt: str) -> int:
        return server.post("/validate/email/submitToken", {"sid": sid, "client_secret": SECRET, "token": attempt}, token)[0]

    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(guess, ["wrong"] * 16)) == {400}
    assert guess(right) == 400


def test_budgets_are_shared_by_all_workers_and_survive_a_restart(
    sections: dict[str, dict[str, Any]], tmp_path: Path, homeserver: FakeHomeserver
) -> None:
    with IdentityServer(tmp_path, {**sections, "limits": {"email_per_account": "3/day"}}) as server:
        token = register(server, homeserver, "alice")
        statuses = [request_token(server, token, f"{number}@example.org")[0] for number in range(6)]
        assert statuses == [200, 200, 200, 429, 429, 429]
        assert server.stop() == 0
        server.start()
        assert request_token(server, token, "again@example.org")[0] == 429


def test_a_mail_server_that_is_down_is_told_and_may_be_retried(
    server: IdentityServer, homeserver: FakeHomeserver, smtp: SmtpServer
) -> None:
    token = register(server, homeserver, "alice")
    smtp.refuse = "451 later"
    status, answer = request_token(server, token, "alice@example.org")
    assert (status, answer["errcode"]) == (400, "M_EMAIL_SEND_ERROR")
    smtp.refuse = None
    assert request_token(server, token, "alice@example.org")[0] == 200
    assert len(smtp.received) == 1
    said = server.output.read_text()
    assert "email.not_sent" in said
    for secret in ("alice@example.org", "example.org", token, link_in(text_of(smtp.newest)), "hunter2"):
        assert secret not in said


def test_what_has_run_out_is_deleted_while_the_server_runs(
    sections: dict[str, dict[str, Any]], tmp_path: Path, homeserver: FakeHomeserver
) -> None:
    def counters() -> set[str]:
        database = Database(sections["database"]["url"], pool_size=1)
        with database.begin() as db:
            keys = set(db.execute(text("SELECT key FROM rate_limits")).scalars())
        database.close()
        return keys

    with IdentityServer(tmp_path, sections) as server:
        register(server, homeserver, "alice")
        server.stop()
        database = Database(sections["database"]["url"], pool_size=1)
        with database.begin() as db:
            db.execute(text("INSERT INTO rate_limits (key, used, expires_at_ms) VALUES ('old', 1, 1)"))
        database.close()
        assert len(counters()) == 2
        server.start()
        deadline = time.monotonic() + 20
        while "old" in counters():
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert len(counters()) == 1


def test_registration_asks_the_homeserver_it_names(server: IdentityServer, homeserver: FakeHomeserver) -> None:
    token = homeserver.openid_token("alice")
    homeserver.tokens[token["access_token"]] = "@alice:elsewhere.test"
    status, answer = server.post("/account/register", token)
    assert (status, answer["errcode"]) == (401, "M_UNAUTHORIZED")
    status, answer = server.post("/account/register", {**token, "access_token": "forged"})
    assert (status, answer["errcode"]) == (401, "M_UNAUTHORIZED")


def test_homeservers_that_cannot_be_asked_look_alike(server: IdentityServer, homeserver: FakeHomeserver) -> None:
    names = [
        "10.0.0.1",
        "[::ffff:10.0.0.1]:8448",
        "127.0.0.1:1",
        "nowhere.invalid",
        "169.254.169.254",
        f"127.0.0.2:{homeserver.port}",
    ]
    token = homeserver.openid_token("alice")
    answers = [server.post("/account/register", {**token, "matrix_server_name": name}) for name in names]
    assert {status for status, _ in answers} == {502}
    assert len({json.dumps(answer) for _, answer in answers}) == 1
    assert answers[0][1]["errcode"] == "M_UNKNOWN"


def test_homeservers_that_never_answer_hold_nobody_else_up(server: IdentityServer, homeserver: FakeHomeserver) -> None:
    homeserver.routes[USERINFO] = hang
    token = homeserver.openid_token("alice")
    with ThreadPoolExecutor(16) as pool:
        answers = [pool.submit(server.post, "/account/register", token) for _ in range(16)]
        assert server.get("", timeout=urllib3.Timeout(5)) == (200, {})
        statuses = sorted(answer.result()[0] for answer in answers)
    assert set(statuses) == {429, 502}
    assert statuses.count(502) <= 4  # two workers, two of four threads each


@pytest.fixture
def plain(tmp_path: Path) -> Any:
    """A server whose database is of no interest."""
    with IdentityServer(tmp_path, {}) as server:
        yield server


def exchange(server: IdentityServer, wire: bytes) -> bytes:
    """Write bytes to the server's port and read until it hangs up."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=40) as connection:
        connection.sendall(wire)
        received = b""
        while chunk := connection.recv(65536):
            received += chunk
        return received


@pytest.mark.parametrize(
    ("wire", "status"),
    [
        (b"NONSENSE\r\n\r\n", 400),
        (b"GET / HTTP/9.9\r\n\r\n", 400),
        (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\nA: " + b"a" * 9000 + b"\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 200 + b"\r\n", 431),
        (b"GET / HTTP/1.1\r\nTransfer-Encoding: nonsense\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
    ],
)
def test_what_is_not_http_is_refused_in_matrixs_words(plain: IdentityServer, wire: bytes, status: int) -> None:
    head, _, body = exchange(plain, wire).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status)
    assert b"Access-Control-Allow-Origin: *" in head
    assert json.loads(body)["errcode"].startswith("M_")


@pytest.mark.parametrize("body", [b"zz\r\n\r\n", b"-1\r\n\r\n", b"2\r\n{}XX0\r\n\r\n", b"2;" + b"x" * 70_000])
def test_a_broken_chunked_body_is_refused_and_not_repeated_in_the_log(plain: IdentityServer, body: bytes) -> None:
    page = b"POST /confirm HTTP/1.1\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    assert exchange(plain, page + body).startswith(b"HTTP/1.1 400 ")
    wire = b"POST /_matrix/identity/v2/account/register HTTP/1.1\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    head, _, answer = exchange(plain, wire + body).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert json.loads(answer)["errcode"] == "M_INVALID_PARAM"
    assert "Traceback" not in plain.output.read_text()


@pytest.mark.parametrize("size", [70_000, 1_000_000])
def test_a_body_that_is_refused_unread_does_not_cost_the_next_request(plain: IdentityServer, size: int) -> None:
    one = urllib3.HTTPConnectionPool("127.0.0.1", plain.port, maxsize=1, retries=False)
    for _ in range(3):
        refused = one.request("POST", f"{V2}/lookup", body=b"x" * size, headers={"Authorization": "Bearer wrong"})
        assert refused.status == 401
        assert one.request("GET", V2).status == 200
    one.close()


def test_a_body_too_large_to_read_over_ends_the_connection_and_says_so(plain: IdentityServer) -> None:
    wire = b"POST /_matrix/identity/v2/account/register HTTP/1.1\r\nContent-Length: 100000000\r\n\r\n{"
    head, _, body = exchange(plain, wire).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 413 ")
    assert b"Connection: close" in head
    assert json.loads(body)["errcode"] == "M_TOO_LARGE"


@pytest.mark.parametrize("header", ["SCRIPT_NAME: /_matrix", "Script-Name: /_matrix", "X-Forwarded-Prefix: /_matrix"])
def test_no_header_changes_the_path(plain: IdentityServer, header: str) -> None:
    wire = f"GET /_matrix/health HTTP/1.1\r\nConnection: close\r\n{header}\r\n\r\n".encode()
    assert not exchange(plain, wire).startswith(b"HTTP/1.1 200 ")


def test_a_chunked_body_over_the_limit_is_413(plain: IdentityServer) -> None:
    chunk = b"10000\r\n" + b"x" * 65536 + b"\r\n"
    wire = b"POST /_matrix/identity/v2/account/register HTTP/1.1\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n"
    head, _, body = exchange(plain, wire + chunk * 17 + b"0\r\n\r\n").partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 413 ")
    assert json.loads(body)["errcode"] == "M_TOO_LARGE"


def test_a_body_that_never_comes_does_not_hold_the_server(plain: IdentityServer) -> None:
    wire = b"POST /_matrix/identity/v2/account/register HTTP/1.1\r\nContent-Length: 100\r\n\r\n{"
    senders = [socket.create_connection(("127.0.0.1", plain.port)) for _ in range(16)]
    for sender in senders:
        sender.sendall(wire)
    senders[0].settimeout(40)
    assert senders[0].recv(65536).startswith(b"HTTP/1.1 400 ")
    assert plain.get("")[0] == 200
    for sender in senders:
        sender.close()


def test_the_server_stops_cleanly_when_told(plain: IdentityServer) -> None:
    assert plain.get("")[0] == 200
    assert plain.stop(signal.SIGTERM) == 0
    assert "Traceback" not in plain.output.read_text()
