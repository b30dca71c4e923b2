"""The guarded client against servers that lie, drip, flood and point inwards."""

import threading
import time
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sydent_py import __version__
from sydent_py.clock import Deadline, SystemClock
from sydent_py.federation.resolver import MAX_LOOKUPS
from sydent_py.federation.transport import MAX_BODY_BYTES, Destination, Reason, RequestFailed, Response, Transport
from tests.fakes.dns import FakeDns
from tests.fakes.homeserver import FakeHomeserver, Route, answer, drip, hang, raw, redirect
from tests.fakes.tls import CertificateAuthority
from tests.integration.federation.conftest import LOOPBACK
from tests.integration.federation.raw_server import drip_a_handshake, raw_server, speak_plain_http, stay_silent


def at(port: int, host: str = "hs.example", tls_name: str | None = None) -> list[Destination]:
    return [Destination(host, port, "hs.example", tls_name or host)]


@pytest.fixture
def get(transport: Transport, homeserver: FakeHomeserver, soon: Deadline):
    """Ask the homeserver for a path on which it does what a test says."""

    def get_route(route: Route, deadline: Deadline = soon) -> Response:
        homeserver.routes["/"] = route
        return transport.get(at(homeserver.port), "/", deadline)

    return get_route


def failure(run) -> Reason:
    with pytest.raises(RequestFailed) as caught:
        run()
    return caught.value.reason


class TestRequest:
    def test_it_names_the_server_and_asks_for_no_encoding(self, get, homeserver: FakeHomeserver) -> None:
        assert get(answer("{}")).body == b"{}"
        headers = dict(homeserver.requests[0][1])
        assert headers == {
            "Host": "hs.example",
            "User-Agent": f"sydent_py/{__version__}",
            "Accept": "application/json",
            "Accept-Encoding": "identity",
            "Connection": "close",
        }

    def test_a_body_and_more_headers_can_be_sent(
        self, transport: Transport, homeserver: FakeHomeserver, soon: Deadline
    ) -> None:
        homeserver.routes["PUT /"] = lambda handler: handler.send_json(201, {})
        headers = {"Content-Type": "application/json", "Authorization": "X-Matrix", "Host": "evil.example"}
        response = transport.request(at(homeserver.port), "PUT", "/", soon, body=b'{"a": 1}', headers=headers)
        assert response.status == 201
        received = homeserver.requests[0][1]
        assert received["Content-Length"] == "8"
        assert received["Authorization"] == "X-Matrix"
        assert received.get_all("Host") == ["hs.example"]

    def test_a_body_is_sent_once(self, transport: Transport, homeserver: FakeHomeserver, soon: Deadline) -> None:
        homeserver.routes["POST /"] = raw(b"")
        destinations = [*at(homeserver.port), *at(homeserver.port)]
        assert failure(lambda: transport.request(destinations, "POST", "/", soon, body=b"{}")) is Reason.UNREACHABLE
        assert len(homeserver.requests) == 1

    @pytest.mark.parametrize("value", ["a\r\nHost: evil.example", "a\n", "\u2028"])
    def test_a_header_that_would_be_two_is_never_sent(
        self, transport: Transport, homeserver: FakeHomeserver, soon: Deadline, value: str
    ) -> None:
        headers = {"Authorization": value}
        assert failure(lambda: transport.request(at(homeserver.port), "GET", "/", soon, headers=headers)) is Reason.MALFORMED
        assert homeserver.requests == []

    def test_the_host_header_is_the_destinations(
        self, transport: Transport, homeserver: FakeHomeserver, soon: Deadline
    ) -> None:
        transport.get([Destination("127.0.0.1", homeserver.port, "named.example:1234", "hs.example")], "/", soon)
        assert homeserver.requests[0][1].get_all("Host") == ["named.example:1234"]

    def test_cookies_are_not_kept(self, get, homeserver: FakeHomeserver) -> None:
        get(answer("{}", headers={"Set-Cookie": "a=b"}))
        get(answer("{}"))
        assert "Cookie" not in homeserver.requests[1][1]

    def test_proxies_of_the_environment_are_not_used(self, get, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, "http://127.0.0.1:1")
        assert get(answer("{}")).status == 200

    def test_redirects_are_not_followed(self, get, homeserver: FakeHomeserver) -> None:
        assert get(redirect("/elsewhere")).status == 302
        assert len(homeserver.requests) == 1


class TestAnswer:
    def test_http_1_0_without_length_or_type(self, get) -> None:
        assert get(raw(b'HTTP/1.0 200 OK\r\n\r\n{"sub": "@a:b"}')).body == b'{"sub": "@a:b"}'

    def test_the_largest_body(self, get) -> None:
        assert len(get(answer(b"x" * MAX_BODY_BYTES)).body) == MAX_BODY_BYTES

    @pytest.mark.parametrize(
        "route",
        [
            answer(b"x" * 51 * 1024),
            raw(b"HTTP/1.0 200 OK\r\n\r\n" + b"x" * 51 * 1024),
            raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"400\r\n" + b"x" * 1024 + b"\r\n" + b"c800\r\n" + b"x" * 51200),
            raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + (b"1;" + b"x" * 100 + b"\r\nx\r\n") * 2000),
            raw(b"HTTP/1.1 200 OK\r\n" + (b"A: " + b"x" * 2000 + b"\r\n") * 90 + b"\r\n{}"),
            raw(b"HTTP/1.1 100 Continue\r\n\r\n" * 10_000),
        ],
        ids=["length", "until close", "chunked", "chunk extensions", "headers", "interim answers"],
    )  # fmt: skip
    def test_too_much_is_refused(self, get, route: Route) -> None:
        assert failure(lambda: get(route)) is Reason.TOO_LARGE

    @pytest.mark.parametrize(
        "route",
        [
            raw(b"SSH-2.0-OpenSSH_9.6\r\n"),
            raw(b"HTTP/1.1 two hundred\r\n\r\n"),
            raw(b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 101 + b"\r\n"),
            raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n"),
            answer(b"\x1f\x8b", headers={"Content-Encoding": "gzip"}),
        ],
        ids=["no http", "no status", "too many headers", "no chunks", "encoded"],
    )
    def test_nonsense_is_refused(self, get, route: Route) -> None:
        assert failure(lambda: get(route)) is Reason.MALFORMED

    def test_a_connection_closed_without_an_answer(self, get) -> None:
        assert failure(lambda: get(raw(b""))) is Reason.UNREACHABLE


class TestCertificate:
    def test_one_for_another_name_is_refused(self, transport: Transport, homeserver: FakeHomeserver, soon: Deadline) -> None:
        destinations = at(homeserver.port, tls_name="other.example")
        assert failure(lambda: transport.get(destinations, "/", soon)) is Reason.TLS
        assert homeserver.requests == []

    def test_the_dialled_host_does_not_matter(
        self, transport: Transport, homeserver: FakeHomeserver, soon: Deadline
    ) -> None:
        assert transport.get(at(homeserver.port, host="127.0.0.1", tls_name="hs.example"), "/", soon).status == 404

    def test_an_ip_literal_needs_its_address_in_the_certificate(
        self, transport: Transport, authority: CertificateAuthority, homeserver: FakeHomeserver, soon: Deadline
    ) -> None:
        assert transport.get(at(homeserver.port, host="127.0.0.1"), "/", soon).status == 404
        with FakeHomeserver(authority, certificate_for=("hs.example",)) as nameless:
            assert failure(lambda: transport.get(at(nameless.port, host="127.0.0.1"), "/", soon)) is Reason.TLS

    def test_one_of_an_unknown_authority_is_refused(self, transport: Transport, soon: Deadline) -> None:
        with FakeHomeserver(CertificateAuthority(), certificate_for=("hs.example",)) as stranger:
            assert failure(lambda: transport.get(at(stranger.port), "/", soon)) is Reason.TLS

    def test_extra_roots_are_needed_for_a_private_authority(
        self, dns: FakeDns, homeserver: FakeHomeserver, soon: Deadline
    ) -> None:
        without = Transport(allow_networks=LOOPBACK, addresses=dns.addresses)
        assert failure(lambda: without.get(at(homeserver.port), "/", soon)) is Reason.TLS

    def test_extra_roots_stand_beside_the_systems(
        self, ca_file: Path, dns: FakeDns, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, soon: Deadline
    ) -> None:
        system = CertificateAuthority()
        monkeypatch.setenv("SSL_CERT_FILE", str(system.write_root(tmp_path / "system.pem")))
        transport = Transport(allow_networks=LOOPBACK, ca_file=ca_file, addresses=dns.addresses)
        with FakeHomeserver(system, certificate_for=("hs.example",)) as public:
            assert transport.get(at(public.port), "/", soon).status == 404

    def test_a_server_without_tls(self, transport: Transport, soon: Deadline) -> None:
        with raw_server(speak_plain_http) as port:
            assert failure(lambda: transport.get(at(port), "/", soon)) is Reason.TLS


class TestAddress:
    @pytest.fixture
    def guarded(self, ca_file: Path, dns: FakeDns) -> Transport:
        return Transport(ca_file=ca_file, addresses=dns.addresses)

    @pytest.mark.parametrize(
        "records",
        [
            {"A": ["127.0.0.1"]},
            {"A": ["8.8.8.8", "127.0.0.1"]},
            {"A": ["127.0.0.1", "8.8.8.8"]},
            {"A": ["8.8.8.8"], "AAAA": ["::1"]},
            {"A": ["8.8.8.8"], "AAAA": ["::ffff:127.0.0.1"]},
            {"AAAA": ["64:ff9b::7f00:1"]},
        ],
    )
    def test_one_private_address_spoils_the_answer(
        self, guarded: Transport, dns: FakeDns, homeserver: FakeHomeserver, soon: Deadline, records: dict[str, list[str]]
    ) -> None:
        dns.records = {("hs.example", rdtype): texts for rdtype, texts in records.items()}
        assert failure(lambda: guarded.get(at(homeserver.port), "/", soon)) is Reason.BLOCKED
        assert homeserver.requests == []

    @pytest.mark.parametrize("host", ["127.0.0.1", "::1", "::ffff:127.0.0.1", "10.0.0.1", "169.254.169.254", "fe80::1%lo"])
    def test_private_ip_literals_are_refused(self, guarded: Transport, soon: Deadline, host: str) -> None:
        assert failure(lambda: guarded.get(at(443, host=host), "/", soon)) is Reason.BLOCKED

    @pytest.mark.parametrize("host", ["2130706433", "127.1", "0x7f000001", "0", "localhost"])
    def test_names_that_the_system_reads_as_loopback_are_refused(self, soon: Deadline, host: str) -> None:
        assert failure(lambda: Transport().get(at(443, host=host), "/", soon)) is Reason.BLOCKED

    def test_an_allowed_network_opens_only_itself(self, transport: Transport, soon: Deadline) -> None:
        assert failure(lambda: transport.get(at(443, host="127.0.0.2"), "/", soon)) is Reason.BLOCKED

    def test_the_checked_address_is_dialled_and_the_name_resolved_once(
        self, ca_file: Path, homeserver: FakeHomeserver, soon: Deadline
    ) -> None:
        asked: list[str] = []

        def rebinding(host: str) -> list[str]:
            asked.append(host)
            return ["127.0.0.1"] if len(asked) == 1 else ["127.0.0.2"]

        transport = Transport(allow_networks=LOOPBACK, ca_file=ca_file, addresses=rebinding)
        assert transport.get(at(homeserver.port), "/", soon).status == 404
        assert asked == ["hs.example"]

    def test_the_next_address_is_tried(self, ca_file: Path, homeserver: FakeHomeserver, soon: Deadline) -> None:
        networks = [*LOOPBACK, "127.0.0.2/32"]
        transport = Transport(allow_networks=[type(LOOPBACK[0])(network) for network in networks], ca_file=ca_file,
                              addresses=lambda _host: ["127.0.0.2", "127.0.0.1"])  # fmt: skip
        assert transport.get(at(homeserver.port), "/", soon).status == 404

    def test_the_next_destination_is_tried(
        self, transport: Transport, dns: FakeDns, homeserver: FakeHomeserver, soon: Deadline
    ) -> None:
        dns.records["private.example", "A"] = ["10.0.0.1"]
        destinations = [
            *at(homeserver.port, host="unknown.example"),
            *at(homeserver.port, host="private.example"),
            *at(closed_port()),
            *at(homeserver.port),
        ]
        assert transport.get(destinations, "/", soon).status == 404

    def test_unknown_names_and_closed_ports(self, transport: Transport, soon: Deadline) -> None:
        assert failure(lambda: transport.get(at(443, host="unknown.example"), "/", soon)) is Reason.UNRESOLVABLE
        assert failure(lambda: transport.get(at(closed_port()), "/", soon)) is Reason.UNREACHABLE
        assert failure(lambda: transport.get([], "/", soon)) is Reason.UNREACHABLE


class TestDeadline:
    @pytest.fixture
    def measured(self) -> Iterator[Deadline]:
        """Half a second, which must not be overrun."""
        started_s = time.monotonic()
        yield Deadline.after(SystemClock(), 0.5)
        assert time.monotonic() - started_s < 2

    @pytest.mark.parametrize(
        "route",
        [
            hang,
            drip(b"HTTP/1.1 200 OK\r\nA: "),
            drip(b"x", first=b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"),
            drip(b" ", first=b"HTTP/1.0 200 OK\r\n\r\n{}"),
            drip(b"HTTP/1.1 100 Continue\r\n\r\n"),
        ],
        ids=["silence", "headers", "body", "body that ends with the connection", "interim answers"],
    )
    def test_it_holds_while_reading(self, get, measured: Deadline, route: Route) -> None:
        assert failure(lambda: get(route, measured)) is Reason.TIMEOUT

    @pytest.mark.parametrize("behave", [stay_silent, drip_a_handshake])
    def test_it_holds_during_the_handshake(self, transport: Transport, measured: Deadline, behave) -> None:
        with raw_server(behave) as port:
            assert failure(lambda: transport.get(at(port), "/", measured)) is Reason.TIMEOUT

    def test_it_holds_against_a_slow_resolver(self, ca_file: Path, measured: Deadline) -> None:
        answered = threading.Event()
        transport = Transport(ca_file=ca_file, addresses=lambda _host: ["8.8.8.8"] * answered.wait(10))
        assert failure(lambda: transport.get(at(443), "/", measured)) is Reason.TIMEOUT
        answered.set()

    def test_a_silent_destination_leaves_time_for_the_next(
        self, transport: Transport, homeserver: FakeHomeserver, soon: Deadline
    ) -> None:
        with raw_server(stay_silent) as port:
            assert transport.get([*at(port), *at(homeserver.port)], "/", soon).status == 404

    def test_nothing_is_asked_after_it(self, transport: Transport, dns: FakeDns) -> None:
        passed = Deadline.after(SystemClock(), 0)
        assert failure(lambda: transport.get(at(443), "/", passed)) is Reason.TIMEOUT
        assert dns.queries == []


def test_slow_lookups_are_bounded() -> None:
    answered, asked = threading.Event(), []

    def slow(host: str) -> list[str]:
        asked.append(host)
        answered.wait(10)
        return []

    transport, deadline = Transport(addresses=slow), Deadline.after(SystemClock(), 1)
    with ThreadPoolExecutor(MAX_LOOKUPS + 5) as threads:
        requests = [threads.submit(transport.get, at(443), "/", deadline) for _ in range(MAX_LOOKUPS + 5)]
        assert {failure(request.result) for request in requests} == {Reason.TIMEOUT}
    answered.set()
    assert len(asked) == MAX_LOOKUPS


@pytest.mark.parametrize("route", [raw(b"nonsense\r\n"), raw(b"HTTP/1.1 200 OK\r\n:\r\n bad\x00\r\n\r\n" + b"x" * 60_000)])
@pytest.mark.parametrize("target", ["/?access_token=s3cret", "/?access_token=s3cret\n", "/?access_token=s3cret\xe9"])
def test_no_failure_and_no_log_tells_the_token(
    transport: Transport, homeserver: FakeHomeserver, caplog: pytest.LogCaptureFixture, *, route: Route, target: str
) -> None:
    homeserver.routes["/"] = route
    soon = Deadline.after(SystemClock(), 5)
    with caplog.at_level(0), pytest.raises(RequestFailed) as caught:
        transport.get(at(homeserver.port), target, soon)
    error: BaseException | None = caught.value
    while error is not None:
        assert "s3cret" not in "".join(traceback.format_exception_only(error))
        error = error.__cause__ or error.__context__
    assert "s3cret" not in caplog.text


def closed_port() -> int:
    with raw_server(stay_silent) as port:
        return port
