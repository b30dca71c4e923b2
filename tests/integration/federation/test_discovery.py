"""From a server name to destinations, with real delegation and real DNS records."""

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from dns.resolver import Resolver

from sydent_py.clock import Deadline, SystemClock
from sydent_py.federation.discovery import Discovery, system_resolver
from sydent_py.federation.transport import Destination, Reason, RequestFailed, Transport
from sydent_py.federation.well_known import WellKnown
from sydent_py.identifiers import ServerName
from tests.fakes.clock import FakeClock
from tests.fakes.dns import FakeDns
from tests.fakes.homeserver import WELL_KNOWN, FakeHomeserver, Route, answer, raw, redirect
from tests.fakes.tls import CertificateAuthority
from tests.integration.federation.raw_server import raw_server, stay_silent

Find = Callable[[str], list[Destination]]
NOT_DELEGATED = [Destination("hs.example", 8448, "hs.example", "hs.example")]
DELEGATED = [Destination("matrix.hs.example", 443, "matrix.hs.example:443", "matrix.hs.example")]


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def discovery(transport: Transport, clock: FakeClock, homeserver: FakeHomeserver, dns: FakeDns) -> Discovery:
    """The homeserver's port stands for 443, where ``.well-known`` is asked for."""
    return Discovery(WellKnown(transport, clock, homeserver.port), dns.resolver())


@pytest.fixture
def find(discovery: Discovery, soon: Deadline) -> Find:
    return lambda name: discovery.destinations(ServerName.parse(name), soon)


def srv(dns: FakeDns, name: str, *records: str) -> None:
    dns.records[name, "SRV"] = list(records)


class TestNamesThatSayItAll:
    @pytest.mark.parametrize(
        ("name", "destination"),
        [
            ("1.2.3.4", Destination("1.2.3.4", 8448, "1.2.3.4", "1.2.3.4")),
            ("1.2.3.4:80", Destination("1.2.3.4", 80, "1.2.3.4:80", "1.2.3.4")),
            ("[2001:db8::1]", Destination("2001:db8::1", 8448, "[2001:db8::1]", "2001:db8::1")),
            ("[2001:db8::1]:80", Destination("2001:db8::1", 80, "[2001:db8::1]:80", "2001:db8::1")),
            ("hs.example:8448", Destination("hs.example", 8448, "hs.example:8448", "hs.example")),
        ],
    )
    def test_an_ip_literal_or_a_port_is_final(
        self, find: Find, dns: FakeDns, homeserver: FakeHomeserver, name: str, destination: Destination
    ) -> None:
        homeserver.delegate_to("elsewhere.example")
        assert find(name) == [destination]
        assert homeserver.requests == []
        assert dns.queries == []


class TestDelegation:
    @pytest.mark.parametrize(
        ("delegated", "destination"),
        [
            ("1.2.3.4", Destination("1.2.3.4", 8448, "1.2.3.4", "1.2.3.4")),
            ("1.2.3.4:443", Destination("1.2.3.4", 443, "1.2.3.4:443", "1.2.3.4")),
            ("[2001:db8::1]", Destination("2001:db8::1", 8448, "[2001:db8::1]", "2001:db8::1")),
            ("m.example:443", Destination("m.example", 443, "m.example:443", "m.example")),
            ("m.example", Destination("m.example", 8448, "m.example", "m.example")),
        ],
    )
    def test_the_delegated_name_is_dialled_and_verified(
        self, find: Find, homeserver: FakeHomeserver, delegated: str, destination: Destination
    ) -> None:
        homeserver.delegate_to(delegated)
        assert find("hs.example") == [destination]

    def test_srv_records_of_the_delegated_name_count(self, find: Find, homeserver: FakeHomeserver, dns: FakeDns) -> None:
        homeserver.delegate_to("m.example")
        srv(dns, "_matrix-fed._tcp.m.example", "0 0 1234 node.example.")
        srv(dns, "_matrix-fed._tcp.hs.example", "0 0 9999 wrong.example.")
        assert find("hs.example") == [Destination("node.example", 1234, "m.example", "m.example")]

    def test_a_delegated_name_is_not_asked_to_delegate(self, find: Find, homeserver: FakeHomeserver, dns: FakeDns) -> None:
        dns.records["matrix.hs.example", "A"] = ["127.0.0.1"]
        homeserver.delegate_to("matrix.hs.example")
        assert find("hs.example")[0].host == "matrix.hs.example"
        assert len(homeserver.requests) == 1

    @pytest.mark.parametrize("content_type", ["text/html", "application/octet-stream", ""])
    def test_the_content_type_does_not_matter(self, find: Find, homeserver: FakeHomeserver, content_type: str) -> None:
        body = json.dumps({"m.server": "matrix.hs.example:443"})
        homeserver.routes[WELL_KNOWN] = answer(body, headers={"Content-Type": content_type})
        assert find("hs.example") == DELEGATED

    @pytest.mark.parametrize(
        "route",
        [
            answer('{"m.server": "elsewhere.example:443"}', status=404),
            answer('{"m.server": "elsewhere.example:443"}', status=500),
            answer("not json"),
            answer('["elsewhere.example:443"]'),
            answer("{}"),
            answer('{"m.server": 443}'),
            answer('{"m.server": "user@elsewhere.example"}'),
            answer('{"m.server": "2130706433"}'),
            answer('{"m.server": "elsewhere.example:443", "m.server": "second.example:443"}'),
            answer(json.dumps({"m.server": "elsewhere.example:443", "x": "x" * 51 * 1024})),
            raw(b"nonsense\r\n"),
            redirect(""),
            redirect("http://hs.example/"),
            redirect("//user@hs.example/"),
            redirect("https://[nonsense/"),
            redirect("https://127.1/"),
            redirect("/caf\xe9"),
        ],
    )
    def test_an_invalid_answer_delegates_to_nobody(
        self, find: Find, homeserver: FakeHomeserver, dns: FakeDns, route: Route
    ) -> None:
        homeserver.routes[WELL_KNOWN] = route
        srv(dns, "_matrix._tcp.hs.example", "0 0 1234 node.example.")
        assert find("hs.example") == [Destination("node.example", 1234, "hs.example", "hs.example")]

    def test_a_black_hole_leaves_time_for_the_next_steps(self, transport: Transport, dns: FakeDns) -> None:
        with raw_server(stay_silent) as port:
            discovery = Discovery(WellKnown(transport, SystemClock(), port), dns.resolver())
            deadline = Deadline.after(SystemClock(), 10)
            assert discovery.destinations(ServerName.parse("hs.example"), deadline) == NOT_DELEGATED
            assert deadline.remaining_s() > 6


class TestRedirects:
    def redirect_times(self, homeserver: FakeHomeserver, times: int) -> None:
        homeserver.routes[WELL_KNOWN] = redirect("/hop/1")
        for number in range(1, times):
            homeserver.routes[f"/hop/{number}"] = redirect(f"https://hs.example:{homeserver.port}/hop/{number + 1}?x=y#z")
        homeserver.routes[f"/hop/{times}"] = answer('{"m.server": "matrix.hs.example:443"}')

    @pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
    def test_five_are_followed(self, find: Find, homeserver: FakeHomeserver, status: int) -> None:
        self.redirect_times(homeserver, 5)
        homeserver.routes[WELL_KNOWN] = redirect("/hop/1", status)
        assert find("hs.example") == DELEGATED
        assert homeserver.requests[-1][0] == "/hop/5?x=y"

    def test_six_are_not(self, find: Find, homeserver: FakeHomeserver) -> None:
        self.redirect_times(homeserver, 6)
        assert find("hs.example") == NOT_DELEGATED
        assert len(homeserver.requests) == 6

    def test_a_loop_ends(self, find: Find, homeserver: FakeHomeserver) -> None:
        homeserver.routes[WELL_KNOWN] = redirect(WELL_KNOWN)
        assert find("hs.example") == NOT_DELEGATED
        assert len(homeserver.requests) == 6

    def test_one_that_leaves_https_is_not_followed(self, find: Find, homeserver: FakeHomeserver) -> None:
        homeserver.routes[WELL_KNOWN] = redirect(f"http://hs.example:{homeserver.port}/elsewhere")
        homeserver.routes["/elsewhere"] = answer('{"m.server": "matrix.hs.example:443"}')
        assert find("hs.example") == NOT_DELEGATED
        assert len(homeserver.requests) == 1

    def test_one_to_another_host_is_verified_for_that_host(
        self, find: Find, homeserver: FakeHomeserver, authority: CertificateAuthority, dns: FakeDns
    ) -> None:
        dns.records["cdn.example", "A"] = ["127.0.0.1"]
        with FakeHomeserver(authority, certificate_for=("cdn.example",)) as cdn:
            cdn.delegate_to("matrix.hs.example:443")
            homeserver.routes[WELL_KNOWN] = redirect(f"https://cdn.example:{cdn.port}{WELL_KNOWN}")
            assert find("hs.example") == DELEGATED
            assert cdn.requests[0][1]["Host"] == f"cdn.example:{cdn.port}"

    def test_one_to_a_private_address_is_not_followed(
        self, find: Find, homeserver: FakeHomeserver, authority: CertificateAuthority, dns: FakeDns
    ) -> None:
        dns.records["inside.example", "A"] = ["127.0.0.2"]
        with FakeHomeserver(authority, certificate_for=("inside.example", "127.0.0.2"), address="127.0.0.2") as inside:
            inside.delegate_to("matrix.hs.example:443")
            for host in ("inside.example", "127.0.0.2"):
                homeserver.routes[WELL_KNOWN] = redirect(f"https://{host}:{inside.port}{WELL_KNOWN}")
                assert find("hs.example") == NOT_DELEGATED
            assert inside.requests == []


class TestSrv:
    def test_the_new_service_comes_before_the_old_one(self, find: Find, dns: FakeDns) -> None:
        srv(dns, "_matrix._tcp.hs.example", "0 0 1 old.example.")
        assert [found.host for found in find("hs.example")] == ["old.example"]
        srv(dns, "_matrix-fed._tcp.hs.example", "0 0 2 new.example.")
        assert [found.host for found in find("hs.example")] == ["new.example"]

    def test_targets_are_dialled_as_the_server_itself(self, find: Find, dns: FakeDns) -> None:
        srv(dns, "_matrix-fed._tcp.hs.example", "0 0 1234 node.example.")
        assert find("hs.example") == [Destination("node.example", 1234, "hs.example", "hs.example")]

    def test_they_are_tried_by_priority_and_at_most_four(self, find: Find, dns: FakeDns) -> None:
        srv(dns, "_matrix-fed._tcp.hs.example", *(f"{priority} 0 1 p{priority}.example." for priority in (30, 5, 20, 1, 10)))
        assert [found.host for found in find("hs.example")] == ["p1.example", "p5.example", "p10.example", "p20.example"]

    def test_equal_ones_are_tried_by_weight(self, find: Find, dns: FakeDns) -> None:
        srv(dns, "_matrix-fed._tcp.hs.example", "1 1 1 light.example.", "1 60000 1 heavy.example.", "0 0 1 first.example.")
        orders = [[found.host for found in find("hs.example")] for _ in range(20)]
        assert {order[0] for order in orders} == {"first.example"}
        assert sum(order[1] == "heavy.example" for order in orders) > 15

    def test_a_dot_says_that_there_is_no_service(self, find: Find, dns: FakeDns) -> None:
        srv(dns, "_matrix-fed._tcp.hs.example", "0 0 0 .")
        with pytest.raises(RequestFailed) as caught:
            find("hs.example")
        assert caught.value.reason is Reason.UNREACHABLE

    def test_targets_that_a_resolver_may_take_for_an_address_are_left_out(self, find: Find, dns: FakeDns) -> None:
        records = ["0 0 1 127.1.", "0 0 1 2130706433.", "0 0 1 a\\@b.example.", "1 0 1 node.example."]
        srv(dns, "_matrix-fed._tcp.hs.example", *records)
        assert [found.host for found in find("hs.example")] == ["node.example"]

    def test_without_records_it_is_port_8448(self, find: Find, dns: FakeDns) -> None:
        assert find("hs.example") == NOT_DELEGATED
        assert [query for query in dns.queries if query[1] == "SRV"] == [
            ("_matrix-fed._tcp.hs.example", "SRV"),
            ("_matrix._tcp.hs.example", "SRV"),
        ]

    @pytest.mark.parametrize("configuration", [None, "", "nonsense"])
    def test_without_name_servers_there_are_no_records(
        self, discovery: Discovery, soon: Deadline, tmp_path: Path, configuration: str | None
    ) -> None:
        if configuration is not None:
            (tmp_path / "resolv.conf").write_text(configuration)
        without = Discovery(discovery.well_known, system_resolver(str(tmp_path / "resolv.conf")))
        started_s = time.monotonic()
        assert without.destinations(ServerName.parse("hs.example"), soon) == NOT_DELEGATED
        assert time.monotonic() - started_s < 1

    def test_a_name_too_long_for_a_record_has_none(self, find: Find) -> None:
        name = ".".join(["a" * 60] * 4)
        assert find(name) == [Destination(name, 8448, name, name)]

    def test_a_silent_name_server_has_none(self, discovery: Discovery) -> None:
        silent = Resolver(configure=False)
        with raw_server(stay_silent) as port:
            silent.nameservers, silent.port = ["127.0.0.1"], port
            deadline = Deadline.after(SystemClock(), 10)
            found = Discovery(discovery.well_known, silent).destinations(ServerName.parse("hs.example"), deadline)
        assert found == NOT_DELEGATED
        assert deadline.remaining_s() > 6


class TestMemory:
    def test_a_delegation_is_remembered_for_a_day(self, find: Find, homeserver: FakeHomeserver, clock: FakeClock) -> None:
        homeserver.delegate_to("matrix.hs.example:443")
        assert find("hs.example") == find("HS.example") == DELEGATED
        clock.advance(24 * 3600 - 1)
        assert find("hs.example") == DELEGATED
        assert len(homeserver.requests) == 1
        clock.advance(1)
        del homeserver.routes[WELL_KNOWN]
        assert find("hs.example") == NOT_DELEGATED
        assert len(homeserver.requests) == 2

    def test_the_server_may_say_for_how_long(self, find: Find, homeserver: FakeHomeserver, clock: FakeClock) -> None:
        body = '{"m.server": "matrix.hs.example:443"}'
        homeserver.routes[WELL_KNOWN] = answer(body, headers={"Cache-Control": "max-age=600"})
        assert find("hs.example") == DELEGATED
        clock.advance(599)
        assert find("hs.example") == DELEGATED
        assert len(homeserver.requests) == 1
        clock.advance(1)
        assert find("hs.example") == DELEGATED
        assert len(homeserver.requests) == 2

    def test_failures_are_remembered_longer_and_longer(
        self, find: Find, homeserver: FakeHomeserver, clock: FakeClock
    ) -> None:
        for minutes in (1, 2, 4, 8, 16, 32, 60, 60):
            asked = len(homeserver.requests)
            assert find("hs.example") == NOT_DELEGATED
            assert len(homeserver.requests) == asked + 1
            clock.advance(minutes * 60 - 1)
            assert find("hs.example") == NOT_DELEGATED
            assert len(homeserver.requests) == asked + 1
            clock.advance(1)
        homeserver.delegate_to("matrix.hs.example:443")
        assert find("hs.example") == DELEGATED
