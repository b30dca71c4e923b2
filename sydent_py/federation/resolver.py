"""The addresses of a name, from a resolver that may be slow and cannot be interrupted."""

import socket
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from threading import BoundedSemaphore, Thread

from sydent_py.clock import Deadline

# The system's resolver may take half a minute over a name whose DNS server is silent. Those that ask give up after ten
# seconds; no more than these many lookups are left behind.
MAX_LOOKUPS = 64

AddressResolver = Callable[[str], Sequence[str]]


def system_addresses(host: str) -> list[str]:
    """The addresses the system's resolver has for ``host``, each once, in its order of preference; ``OSError`` for none."""
    answers = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in answers))


class AddressLookup:
    """Asks ``addresses`` in a thread of its own, which is left behind at the deadline and never delays an exit."""

    def __init__(self, addresses: AddressResolver) -> None:
        self._addresses = addresses
        self._lookups = BoundedSemaphore(MAX_LOOKUPS)

    def __call__(self, host: str, deadline: Deadline) -> Sequence[str]:
        """What there is for ``host``; ``OSError`` or ``ValueError``, and ``TimeoutError`` at the deadline."""
        if not self._lookups.acquire(timeout=deadline.remaining_s()):
            raise TimeoutError
        answer: Future[Sequence[str]] = Future()

        def look_up() -> None:
            try:
                answer.set_result(self._addresses(host))
            except (OSError, ValueError) as error:
                answer.set_exception(error)
            finally:
                self._lookups.release()

        Thread(target=look_up, name="resolver", daemon=True).start()
        return answer.result(timeout=deadline.remaining_s())
