"""A cable to a server on loopback, which can be cut in several ways, and mended."""

import contextlib
import select
import socket
import struct
from collections.abc import Iterator
from threading import Condition, Thread
from types import TracebackType
from typing import Literal, Self

# A socket that is closed with it resets its connection.
AT_ONCE = struct.pack("ii", 1, 0)


class Cable:
    """Passes connections to ``port`` on, byte by byte, until it is cut.

    What is sent into silence arrives when that is over, as in a network that has lost everything for a while.
    """

    def __init__(self, port: int) -> None:
        self._port = port
        self._state: Literal["whole", "reset", "silent"] = "whole"
        self._answer_bytes: int | None = None
        self._changed = Condition()
        self._ends: list[socket.socket] = []
        self._threads: list[Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> Self:
        self._listening = Thread(target=self._listen)
        self._listening.start()
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _value: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._listener.shutdown(socket.SHUT_RD)
        self._listening.join()
        self._listener.close()
        self.reset()
        for thread in self._threads:
            thread.join()

    def mend(self) -> None:
        """Let everything through."""
        self._become("whole")

    def reset(self) -> None:
        """Reset all connections, those that are open and each new one."""
        self._become("reset")
        with self._changed:
            for end in self._ends:
                with contextlib.suppress(OSError):
                    end.shutdown(socket.SHUT_RD)  # wakes the thread that reads from it

    def silence(self) -> None:
        """Accept connections, and let nothing through on any."""
        self._become("silent")

    def tear_after(self, answer_bytes: int) -> None:
        """Let through so many bytes of answers on each new connection, and reset it then."""
        self.reset()
        self._become("whole", answer_bytes)

    def _become(self, state: Literal["whole", "reset", "silent"], answer_bytes: int | None = None) -> None:
        with self._changed:
            self._state, self._answer_bytes = state, answer_bytes
            self._changed.notify_all()

    def _listen(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                self._threads.append(Thread(target=self._serve, args=(near,)))
                self._threads[-1].start()

    def _serve(self, near: socket.socket) -> None:
        with near:
            try:
                with self._registered(near), self._dial() as far, self._registered(far):
                    self._pass_on(near, far)
            except OSError:
                near.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, AT_ONCE)

    def _dial(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self._port))

    @contextlib.contextmanager
    def _registered(self, end: socket.socket) -> Iterator[None]:
        with self._changed:
            self._require_whole()
            self._ends.append(end)
        try:
            yield
        finally:
            with self._changed:
                self._ends.remove(end)

    def _pass_on(self, near: socket.socket, far: socket.socket) -> None:
        left = self._answer_bytes
        while True:
            for end in select.select([near, far], [], [])[0]:
                data = end.recv(65536)
                with self._changed:
                    self._require_whole()
                if not data:
                    return
                if end is near:
                    far.sendall(data)
                else:
                    near.sendall(data[:left])
                    left = None if left is None else left - len(data)
            if left is not None and left <= 0:
                raise ConnectionResetError

    def _require_whole(self) -> None:
        """Wait while there is silence; ``ConnectionResetError`` where connections are reset."""
        self._changed.wait_for(lambda: self._state != "silent")
        if self._state == "reset":
            raise ConnectionResetError
