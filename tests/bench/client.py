"""A client that costs next to nothing: prebuilt requests over kept connections, every answer checked afterwards."""

import re
import selectors
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

from tests.bench.cpu import cpu_s
from tests.bench.work import Plan, queries

TIMEOUT_S = 60.0
RECEIVE_BYTES = 1 << 18
_LENGTH = re.compile(rb"\r\nContent-Length: *(\d+)\r\n", re.IGNORECASE)
_END_OF_HEAD = b"\r\n\r\n"


class WrongAnswer(Exception):
    """The server said something else than what is in the database."""


@dataclass(frozen=True)
class Load:
    """One round: how long it took, how long each request took, and what it cost the server."""

    elapsed_s: float
    latencies_s: list[float]
    server_cpu_s: float
    backend_cpu_s: float


@dataclass
class Exchange:
    """A kept connection, and the request that is under way on it."""

    connection: socket.socket
    index: int = 0
    sent_at_s: float = 0.0
    received: bytearray = field(default_factory=bytearray)

    def send(self, index: int, request: bytes) -> None:
        self.index = index
        self.received.clear()
        self.sent_at_s = time.perf_counter()
        self.connection.sendall(request)

    def is_complete(self) -> bool:
        """Read what is there: whether the answer is complete."""
        data = self.connection.recv(RECEIVE_BYTES)
        if not data:
            raise ConnectionResetError("The server hung up.")
        self.received += data
        head = self.received.find(_END_OF_HEAD)
        if head < 0:
            return False
        length = _LENGTH.search(self.received, 0, head + 2)
        if length is None:
            raise WrongAnswer("An answer without Content-Length.")
        return len(self.received) >= head + len(_END_OF_HEAD) + int(length[1])


def drive(plan: Plan, port: int, connections: int, servers: Sequence[int], backends: Sequence[int]) -> Load:
    """Send all requests of ``plan``, ``connections`` at a time; the CPU time of both groups of processes meanwhile.

    Raises ``WrongAnswer``.
    """
    requests = plan.requests()
    answers: list[bytes] = [b""] * len(requests)
    with ExitStack() as stack, selectors.DefaultSelector() as selector:
        for _ in range(connections):
            connection = socket.create_connection(("127.0.0.1", port), TIMEOUT_S)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            stack.callback(connection.close)
            selector.register(connection, selectors.EVENT_READ, Exchange(connection))
        # The first request of a connection also pays for accepting it.
        _exchange(selector, [(0, requests[0])] * connections, answers)
        before_s = cpu_s(servers), cpu_s(backends)
        started_s = time.perf_counter()
        latencies_s = _exchange(selector, list(enumerate(requests)), answers)
        elapsed_s = time.perf_counter() - started_s
        load = Load(elapsed_s, latencies_s, cpu_s(servers) - before_s[0], cpu_s(backends) - before_s[1])
    check(plan, answers)
    return load


def _exchange(selector: selectors.BaseSelector, requests: Sequence[tuple[int, bytes]], answers: list[bytes]) -> list[float]:
    """Send ``requests``, the next one wherever an answer has come; how long each took."""
    latencies_s: list[float] = []
    remaining = iter(requests)
    for key in list(selector.get_map().values()):
        _send_next(key.data, remaining)
    while len(latencies_s) < len(requests):
        ready = selector.select(TIMEOUT_S)
        if not ready:
            raise TimeoutError("The server does not answer.")
        for key, _ in ready:
            exchange: Exchange = key.data
            if exchange.is_complete():
                latencies_s.append(time.perf_counter() - exchange.sent_at_s)
                answers[exchange.index] = bytes(exchange.received)
                _send_next(exchange, remaining)
    return latencies_s


def _send_next(exchange: Exchange, remaining: Iterator[tuple[int, bytes]]) -> None:
    following = next(remaining, None)
    if following is not None:
        exchange.send(*following)


def check(plan: Plan, answers: Sequence[bytes]) -> None:
    """``WrongAnswer`` unless every answer is 200 and says what is in the database."""
    for query, answer in zip(queries(plan), answers, strict=True):
        head, _, body = answer.partition(_END_OF_HEAD)
        if not head.startswith(b"HTTP/1.1 200 ") or not plan.answer_is_right(query, body):
            raise WrongAnswer(f"{plan.work.name}: {answer[:200]!r}")
