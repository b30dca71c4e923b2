"""Delivering what waits: once, in turn, and again after whatever went wrong."""

import threading
from typing import Any

from sqlalchemy import text

from sydent_py.identifiers import UserId
from sydent_py.outbox.deliver import CLAIM_MS, Deliver, TryLater, Undeliverable
from sydent_py.outbox.outbox import Outbox
from tests.driver import Driver

ALICE = UserId.parse("@alice:hs.test")
DAY_MS = 86_400_000


class Receiver:
    """What arrives; ``failure`` is raised instead of taking a message."""

    def __init__(self) -> None:
        self.messages: list[str] = []
        self.failure: Exception | None = None

    def __call__(self, content: dict[str, Any], _destination: str, _attempts: int) -> None:
        if self.failure is not None:
            raise self.failure
        self.messages.append(content["message"])


def put(api: Driver, message: str, destination: str = "hs.test") -> None:
    services = api.services
    outbox = Outbox(services.deliveries.onbind.sealer, services.clock)
    with services.database.begin() as db:
        outbox.put(db, "onbind", {"message": message}, destination=destination, user=ALICE)


def worker(api: Driver, receiver: Any) -> Deliver:
    """A delivery of its own, as another process has it."""
    onbind = api.services.deliveries.onbind
    return Deliver("onbind", receiver, 7 * DAY_MS, onbind.database, onbind.sealer, onbind.clock)


def run(delivery: Deliver) -> None:
    delivery()
    delivery.finish(10)


def waiting(api: Driver) -> int:
    with api.services.database.begin() as db:
        return int(db.execute(text("SELECT count(*) FROM outbox")).scalar_one())


def test_what_is_delivered_is_gone(api: Driver) -> None:
    receiver = Receiver()
    put(api, "one")
    for _ in range(3):
        run(worker(api, receiver))
    assert receiver.messages == ["one"]
    assert waiting(api) == 0


def test_messages_to_one_destination_arrive_in_their_order(api: Driver) -> None:
    receiver = Receiver()
    for number in range(5):
        put(api, str(number))
    delivery = worker(api, receiver)
    for _ in range(5):
        run(delivery)
    assert receiver.messages == ["0", "1", "2", "3", "4"]


def test_two_workers_do_not_deliver_a_message_at_once(api: Driver) -> None:
    entered, leave, receiver = threading.Event(), threading.Event(), Receiver()

    def slow(content: dict[str, Any], destination: str, attempts: int) -> None:
        entered.set()
        assert leave.wait(10)
        receiver(content, destination, attempts)

    put(api, "one")
    first, second = worker(api, slow), worker(api, receiver)
    first()
    assert entered.wait(10)
    run(second)
    assert receiver.messages == []
    leave.set()
    first.finish(10)
    assert receiver.messages == ["one"]


def test_what_a_killed_worker_had_begun_is_delivered_again(api: Driver) -> None:
    receiver = Receiver()
    put(api, "one")
    assert len(worker(api, receiver)._claim(8)) == 1  # and then the process is killed
    run(worker(api, receiver))
    assert receiver.messages == []
    api.clock.advance(CLAIM_MS / 1000)
    run(worker(api, receiver))
    assert receiver.messages == ["one"]


def test_a_hanging_destination_takes_one_thread_however_much_waits_for_it(api: Driver) -> None:
    leave, receiver = threading.Event(), Receiver()

    def send(content: dict[str, Any], destination: str, attempts: int) -> None:
        if destination == "hanging.test":
            assert leave.wait(10)
        receiver(content, destination, attempts)

    for number in range(100):
        put(api, f"hanging {number}", "hanging.test")
    put(api, "prompt")
    delivery = worker(api, send)
    delivery()
    delivery()
    for _ in range(100):
        if receiver.messages:
            break
        threading.Event().wait(0.05)
    assert receiver.messages == ["prompt"]
    leave.set()
    delivery.finish(10)


def test_a_destination_that_is_down_is_asked_for_one_message_and_not_for_all(api: Driver) -> None:
    receiver = Receiver()
    receiver.failure = TryLater("unreachable", unreachable=True)
    tried: list[str] = []

    def send(content: dict[str, Any], destination: str, attempts: int) -> None:
        tried.append(content["message"])
        receiver(content, destination, attempts)

    for number in range(10):
        put(api, str(number))
    delivery = worker(api, send)
    for _ in range(5):
        run(delivery)
    assert tried == ["0"]
    receiver.failure = None
    api.clock.advance(3)
    for _ in range(10):
        run(delivery)
    assert sorted(receiver.messages) == sorted(str(number) for number in range(10))


def test_what_waits_longest_goes_first_whatever_its_destination_is_called(api: Driver) -> None:
    receiver = Receiver()
    put(api, "first", "zzz.test")
    api.clock.advance(1)
    for number in range(20):
        put(api, "later", f"a{number}.test")
    run(worker(api, receiver))
    assert "first" in receiver.messages


def test_a_message_that_fails_does_not_hold_up_the_next(api: Driver) -> None:
    def send(content: dict[str, Any], _destination: str, _attempts: int) -> None:
        if content["message"] == "bad":
            raise TryLater("503", unreachable=False)
        receiver.messages.append(content["message"])

    receiver = Receiver()
    put(api, "bad")
    put(api, "good")
    delivery = worker(api, send)
    run(delivery)
    run(delivery)
    assert receiver.messages == ["good"]
    assert waiting(api) == 1


def test_a_message_that_fails_again_and_again_holds_up_no_other_by_its_age(api: Driver) -> None:
    def send(content: dict[str, Any], _destination: str, _attempts: int) -> None:
        if content["message"] == "bad":
            raise TryLater("503", unreachable=False)
        receiver.messages.append(content["message"])

    receiver = Receiver()
    delivery = worker(api, send)
    put(api, "bad")
    run(delivery)
    api.clock.advance(3)
    put(api, "good")
    run(delivery)
    assert receiver.messages == ["good"]


def test_what_nobody_foresaw_is_tried_again_and_names_nothing(api: Driver, capfd) -> None:
    receiver = Receiver()
    receiver.failure = KeyError("signal")
    put(api, "one")
    run(worker(api, receiver))
    assert "outbox.failed" in "".join(capfd.readouterr())
    receiver.failure = None
    api.clock.advance(3)
    run(worker(api, receiver))
    assert receiver.messages == ["one"]


def test_a_final_refusal_ends_it(api: Driver) -> None:
    receiver = Receiver()
    receiver.failure = Undeliverable("403")
    put(api, "one")
    run(worker(api, receiver))
    assert waiting(api) == 0


def test_a_message_sealed_with_another_key_is_kept(api: Driver) -> None:
    put(api, "one")
    with api.services.database.begin() as db:
        db.execute(text("UPDATE outbox SET content = :broken"), {"broken": b"\x01" + bytes(60)})
    run(worker(api, Receiver()))
    assert waiting(api) == 1
