"""Which homeserver sent a request, and what it costs to find out."""

from typing import Any

import pytest

from sydent_py.errors import Forbidden, LimitExceeded, MatrixError, Unknown
from sydent_py.federation.authentication import AuthenticateHomeserver
from sydent_py.federation.patience import Slots, patience
from sydent_py.federation.server_keys import ASK_AGAIN_AFTER_FAILURE_S, ASK_AGAIN_S, ServerKeys
from sydent_py.federation.transport import Reason, RequestFailed
from sydent_py.federation.x_matrix import SignedRequest
from sydent_py.identifiers import ServerName
from tests.fakes.clock import FakeClock
from tests.fakes.homeservers import FakeHomeservers

URI = "/_matrix/identity/v2/3pid/unbind"
CONTENT = {"mxid": "@alice:hs.test", "threepid": {"medium": "email", "address": "alice@example.org"}}
NETWORK = "192.0.2.1"


class Server:
    """An identity server as far as it authenticates homeservers."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.homeservers = FakeHomeservers(self.clock)
        self.slots = Slots(2)
        self.spent: list[tuple[str, str]] = []
        self.budget = 1000
        self.authenticate = AuthenticateHomeserver(
            server_keys=ServerKeys(self.homeservers, self.clock),
            own_names=("id.test", "old.id.test"),
            spend=self._spend,
            clock=self.clock,
            slots=self.slots,
        )

    def receive(self, header: str) -> str:
        return self.authenticate(SignedRequest("POST", URI, CONTENT, header), NETWORK).origin.text

    def sign(self, origin: str = "hs.test", destination: str = "id.test", **options: Any) -> str:
        return self.homeservers.sign(origin, "POST", URI, CONTENT, destination, **options)

    def _spend(self, budget: str, subject: str) -> None:
        self.spent.append((budget, subject))
        if len(self.spent) > self.budget:
            raise LimitExceeded(1000)


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.mark.parametrize("options", [{}, {"member": "destination"}, {"names_destination": False}])
def test_the_homeserver_that_signed_is_named(server: Server, options: dict[str, Any]) -> None:
    assert server.receive(server.sign(**options)) == "hs.test"


def test_every_name_of_ours_and_every_origin_has_its_own_spelling(server: Server) -> None:
    assert server.receive(server.sign("hs.test:8448", "OLD.id.test:443")) == "hs.test:8448"
    assert server.receive(server.sign("[2001:db8::1]", "id.test/")) == "[2001:db8::1]"


@pytest.mark.parametrize("header", ["", "Bearer token", 'X-Matrix origin="hs.test"'])
def test_what_is_not_signed_is_forbidden_and_nobody_is_asked(server: Server, header: str) -> None:
    with pytest.raises(Forbidden):
        server.receive(header)
    assert (server.spent, server.homeservers.key_requests) == ([], [])


def test_what_is_addressed_to_another_server_is_forbidden_and_nobody_is_asked(server: Server) -> None:
    with pytest.raises(Forbidden, match=r"This one is: id\.test, old\.id\.test"):
        server.receive(server.sign(destination="other.test"))
    assert (server.spent, server.homeservers.key_requests) == ([], [])


def test_a_homeserver_cannot_sign_as_another(server: Server) -> None:
    with pytest.raises(Forbidden):
        server.receive(server.sign("evil.test").replace('origin="evil.test"', 'origin="hs.test"'))


def test_of_several_headers_those_for_us_count(server: Server) -> None:
    assert server.receive(server.sign(destination="other.test") + "," + server.sign()) == "hs.test"


def test_a_key_is_fetched_once(server: Server) -> None:
    for _ in range(3):
        server.receive(server.sign())
    assert server.homeservers.key_requests == ["hs.test"]
    assert server.spent == [("server_keys_per_network", NETWORK)]


def test_a_rotated_key_is_believed_as_soon_as_it_is_used(server: Server) -> None:
    server.receive(server.sign())
    before = server.sign()
    server.homeservers.rotate_key("hs.test")
    server.clock.advance(ASK_AGAIN_S)
    assert server.receive(before) == "hs.test"  # nothing told us yet
    assert server.receive(server.sign()) == "hs.test"
    server.clock.advance(ASK_AGAIN_S)
    with pytest.raises(Forbidden):
        server.receive(before)


def test_made_up_key_ids_do_not_make_us_hammer_anyone(server: Server) -> None:
    server.receive(server.sign())
    for number in range(50):
        with pytest.raises(Forbidden):
            server.receive(server.sign().replace("ed25519:k0", f"ed25519:made_up_{number}"))
    assert server.homeservers.key_requests == ["hs.test"]
    assert len(server.spent) == 1
    assert server.clock.slept_s == []


def test_a_homeserver_that_went_down_is_believed_with_the_keys_we_know(server: Server) -> None:
    header = server.sign()
    server.receive(header)
    server.homeservers.rotate_key("hs.test")
    server.homeservers.down.add("hs.test")
    server.clock.advance(ASK_AGAIN_S)
    with pytest.raises(Unknown):
        server.receive(server.sign())
    assert server.receive(header) == "hs.test"


@pytest.mark.parametrize(("origin", "told_after_s"), [("down.test", 1.0), ("slow.test", 11.0)])
def test_homeservers_that_cannot_be_asked_look_alike(server: Server, origin: str, told_after_s: float) -> None:
    answers = []
    for _ in range(2):
        started_s = server.clock.monotonic_s()
        with pytest.raises(Unknown) as failure:
            server.receive(server.sign(origin))
        answers.append((failure.value.status, failure.value.to_json()))
        assert server.clock.monotonic_s() - started_s == told_after_s
        server.clock.advance(ASK_AGAIN_AFTER_FAILURE_S)
    assert (
        answers
        == [(502, {"errcode": "M_UNKNOWN", "error": "The homeserver could not be asked. Please try again later."})] * 2
    )


def test_a_failure_that_is_remembered_takes_its_second_and_its_budget_too(server: Server) -> None:
    for _ in range(3):
        with pytest.raises(Unknown):
            server.receive(server.sign("down.test"))
    assert server.homeservers.key_requests == ["down.test"]
    assert server.clock.slept_s == [1.0, 1.0, 1.0]
    assert len(server.spent) == 3


def test_a_document_that_makes_no_sense_is_a_homeserver_that_cannot_be_asked(server: Server) -> None:
    server.homeservers.key_lifetime_ms = -1
    with pytest.raises(Unknown) as failure:
        server.receive(server.sign())
    assert failure.value.status == 502


def test_who_used_up_the_budget_makes_us_ask_nobody_and_known_keys_stay_free(server: Server) -> None:
    server.budget = 1
    server.receive(server.sign())
    with pytest.raises(LimitExceeded):
        server.receive(server.sign("other.test"))
    assert server.homeservers.key_requests == ["hs.test"]
    server.receive(server.sign())


def test_where_too_many_wait_already_only_known_keys_are_verified(server: Server) -> None:
    server.receive(server.sign())
    assert server.slots.take("elsewhere", 0)
    assert server.receive(server.sign()) == "hs.test"
    with pytest.raises(LimitExceeded) as refusal:
        server.receive(server.sign("other.test"))
    assert refusal.value.retry_after_ms == 2000
    server.slots.give_back("elsewhere")
    assert server.receive(server.sign("other.test")) == "other.test"


class TestPatience:
    @pytest.mark.parametrize(("took_s", "told_after_s"), [(0, 1), (0.3, 1), (1, 1), (1.001, 11), (10.9, 11), (11.2, 12)])
    @pytest.mark.parametrize("reason", [Reason.BLOCKED, Reason.TIMEOUT])
    def test_a_failure_is_told_at_two_moments_and_no_other(self, took_s: float, told_after_s: float, reason: Reason) -> None:
        clock, slots = FakeClock(), Slots(2)
        with pytest.raises(Unknown):
            fail(RequestFailed(reason), took_s, clock, slots)
        assert clock.monotonic_s() == pytest.approx(told_after_s)
        assert slots.take(NETWORK, 0)

    @pytest.mark.parametrize("error", [Forbidden(), RuntimeError()])
    def test_what_is_no_failure_to_ask_passes_at_once(self, error: Exception) -> None:
        clock, slots = FakeClock(), Slots(2)
        with pytest.raises((MatrixError, RuntimeError)) as passed:
            fail(error, 0.3, clock, slots)
        assert passed.value is error
        assert clock.slept_s == []
        assert slots.take(NETWORK, 0)


def fail(error: Exception, after_s: float, clock: FakeClock, slots: Slots) -> None:
    with patience(ServerName.parse("hs.test"), NETWORK, clock, slots):
        clock.advance(after_s)
        raise error


def test_one_network_takes_half_of_the_slots_and_leaves_the_rest() -> None:
    slots = Slots(8)
    assert [slots.take("one", 0) for _ in range(4)] == [True, True, False, False]
    assert [slots.take("another", 0), slots.take("a third", 0), slots.take("a fourth", 0)] == [True, True, False]
    slots.give_back("one")
    assert [slots.take("one", 0), slots.take("another", 0)] == [True, False]
