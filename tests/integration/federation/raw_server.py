"""A TCP server without TLS, for what happens before a handshake is over."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

Behaviour = Callable[[socket.socket, threading.Event], None]


@contextmanager
def raw_server(behave: Behaviour) -> Iterator[int]:
    """The port of a server that does ``behave(connection, stopped)`` with one connection at a time."""
    stopped = threading.Event()
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(0.05)

    def serve() -> None:
        while not stopped.is_set():
            with suppress(TimeoutError):
                connection, _ = listener.accept()
                with connection, suppress(OSError):
                    behave(connection, stopped)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        stopped.set()
        thread.join()
        listener.close()


def stay_silent(_connection: socket.socket, stopped: threading.Event) -> None:
    stopped.wait()


def drip_a_handshake(connection: socket.socket, stopped: threading.Event) -> None:
    """The start of a TLS record of 16 KiB, then a byte of it at a time."""
    connection.sendall(b"\x16\x03\x03\x40\x00")
    while not stopped.wait(0.03):
        connection.sendall(b"\x02")


def speak_plain_http(connection: socket.socket, _stopped: threading.Event) -> None:
    connection.recv(4096)
    connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
