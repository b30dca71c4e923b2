"""Fetches files from one server that whoever runs this program has named, over connections that stay open."""

import http.client
import re
import socket
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from sydent_py import __version__
from sydent_py.clock import Clock, Deadline
from sydent_py.errors import MatrixError
from sydent_py.federation.resolver import AddressLookup, AddressResolver, system_addresses
from sydent_py.federation.transport import (
    CONNECT_TIMEOUT_S,
    MAX_ADDRESSES,
    Reason,
    RequestFailed,
    client_context,
    countdown,
    reason_of,
    shut_down_at,
)
from sydent_py.strict_json import parse_object

# For one file, from the name's resolution to its last byte, with all attempts.
FILE_TIMEOUT_S = 30.0
# A connection that was left open may be closed by now, and a server that restarts is back in a moment.
PAUSES_S = (0.1, 1.0)
STATUSES_OF_A_MOMENT = frozenset({429, 502, 503, 504})
MAX_ERROR_BYTES = 16 * 1024
# Of what the server says about an error.
MAX_DETAIL = 200

_URL = re.compile(r"https?://[!-~]+")


# Made anew for each attempt: a signed request is believed once.
Headers = Callable[[], Mapping[str, str]]


@dataclass(frozen=True, slots=True)
class _Asked:
    method: str
    path: str
    body: bytes | None
    headers: Headers
    max_bytes: int


class Answered(RequestFailed):
    """The server answered, but not with the file; ``status`` is HTTP's, ``body`` its answer, and ``detail`` what that says in words."""

    def __init__(self, status: int, detail: str, body: bytes = b"") -> None:
        super().__init__(Reason.STATUS, detail)
        self.status = status
        self.body = body


class NotThere(Answered):
    """The server has no such file."""


@dataclass(frozen=True)
class BaseUrl:
    """Where a server's files are: ``text`` without a slash at its end, and what has to be known of it to ask."""

    text: str
    is_tls: bool
    host: str
    port: int
    host_header: str
    path: str

    @classmethod
    def parse(cls, text: str) -> "BaseUrl":
        """The URL in ``text``; ``ValueError`` with a message for whoever typed it."""
        if not _URL.fullmatch(text):
            raise ValueError("a URL begins with https:// or http://, and is in ASCII")
        url = urlsplit(text)
        if not url.hostname or url.username is not None or url.query or url.fragment:
            raise ValueError("the URL of a server has a host, and no user, query or fragment")
        is_tls, path = url.scheme == "https", url.path.rstrip("/")
        port = url.port or (443 if is_tls else 80)
        return cls(f"{url.scheme}://{url.netloc}{path}", is_tls, url.hostname, port, url.netloc, path)

    def __truediv__(self, path: str) -> "BaseUrl":
        """Where the files below ``path`` are."""
        return BaseUrl.parse(f"{self.text}/{path}")

    def __str__(self) -> str:
        return self.text


class Remote:
    """Asks one server for files, from as many threads as there are.

    Whatever it sends, an answer costs no more than ``max_bytes`` of memory and ``timeout_s``. No redirects, no proxies, no
    cookies, no content codings. ``ca_file`` holds roots that are trusted beside the system's; ``OSError`` where it cannot be used.

    Not for servers that strangers name: it connects to any address. See ``transport``.
    """

    def __init__(
        self,
        url: BaseUrl,
        clock: Clock,
        *,
        ca_file: Path | None = None,
        timeout_s: float = FILE_TIMEOUT_S,
        addresses: AddressResolver = system_addresses,
    ) -> None:
        self.url = url
        self.timeout_s = timeout_s
        self._clock = clock
        self._context = client_context(ca_file) if url.is_tls else None
        self._look_up = AddressLookup(addresses)
        self._idle: deque[http.client.HTTPConnection] = deque()

    def get(self, path: str, max_bytes: int, headers: Headers = dict) -> bytes:
        """The file at ``path`` below the URL; ``NotThere``, ``Answered``, ``RequestFailed``."""
        return self._request(_Asked("GET", path, None, headers, max_bytes))

    def post(self, path: str, body: bytes, max_bytes: int, headers: Headers = dict) -> bytes:
        """The answer to ``body``, which has to bear being sent again; raises as ``get`` does."""
        return self._request(_Asked("POST", path, body, headers, max_bytes))

    def _request(self, asked: _Asked) -> bytes:
        deadline = Deadline.after(self._clock, self.timeout_s)
        for pause_s in PAUSES_S:
            try:
                return self._attempt(asked, deadline)
            except RequestFailed as failure:
                if not _may_pass(failure) or deadline.remaining_s() <= pause_s:
                    raise
            self.close()
            self._clock.sleep_s(pause_s)
        return self._attempt(asked, deadline)

    def close(self) -> None:
        """Close the connections that are open and not in use."""
        while self._idle:
            self._idle.pop().close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _value: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.close()

    def _attempt(self, asked: _Asked, deadline: Deadline) -> bytes:
        connection = self._idle_connection() or self._new_connection(deadline)
        is_reusable = False
        try:
            # The answer may own the socket alone, and holds on to it until it is closed.
            with shut_down_at(deadline, connection.sock), self._ask(connection, asked) as answer:
                body = _read(answer, asked.max_bytes if answer.status == http.client.OK else MAX_ERROR_BYTES)
                is_complete = answer.isclosed()
            is_reusable = is_complete and not answer.will_close
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise _failed(error) from error
        finally:
            if is_reusable:
                self._idle.append(connection)
            else:
                connection.close()
        if answer.status != http.client.OK:
            raise _refusal(answer, body)
        return body

    def _ask(self, connection: http.client.HTTPConnection, asked: _Asked) -> http.client.HTTPResponse:
        headers = {
            "Host": self.url.host_header,
            "User-Agent": f"sydent_py/{__version__}",
            "Accept-Encoding": "identity",
            **asked.headers(),
        }
        connection.request(asked.method, f"{self.url.path}/{asked.path}", body=asked.body, headers=headers)
        return connection.getresponse()

    def _idle_connection(self) -> http.client.HTTPConnection | None:
        try:
            return self._idle.pop()
        except IndexError:
            return None

    def _new_connection(self, deadline: Deadline) -> http.client.HTTPConnection:
        failure = RequestFailed(Reason.UNRESOLVABLE, "no addresses")
        for left, address in countdown(self._resolve(deadline)[:MAX_ADDRESSES]):
            share_s = min(CONNECT_TIMEOUT_S, deadline.remaining_s()) / left
            try:
                return self._dial(address, max(share_s, 0.001))
            except OSError as error:
                failure = _failed(error)
        raise failure

    def _resolve(self, deadline: Deadline) -> list[str]:
        try:
            return list(self._look_up(self.url.host, deadline))
        except TimeoutError as error:
            raise RequestFailed(Reason.TIMEOUT, "resolving the name") from error
        except (OSError, ValueError) as error:
            raise RequestFailed(Reason.UNRESOLVABLE, _words(error)) from error

    def _dial(self, address: str, timeout_s: float) -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection(self.url.host, self.url.port)
        connection.auto_open = 0  # it would dial without our timeouts
        connection.sock = socket.create_connection((address, self.url.port), timeout_s)
        if self._context is not None:
            connection.sock = self._context.wrap_socket(connection.sock, server_hostname=self.url.host)
        return connection


def _read(answer: http.client.HTTPResponse, max_bytes: int) -> bytes:
    if answer.headers.get("Content-Encoding", "identity").strip().lower() not in {"", "identity"}:
        raise RequestFailed(Reason.MALFORMED, "an encoded body, though none was accepted")
    body = answer.read(max_bytes + 1)
    if len(body) > max_bytes:
        raise RequestFailed(Reason.TOO_LARGE, f"more than {max_bytes:,} bytes")
    if answer.length:
        # http.client says nothing when a connection ends before the body does.
        raise RequestFailed(Reason.UNREACHABLE, "the connection was closed in the middle")
    return body


def _refusal(answer: http.client.HTTPResponse, body: bytes) -> Answered:
    """What the server says: in the words of a Matrix error, or of the HTTP status; and where it sends us instead."""
    detail, location = answer.reason, answer.headers.get("Location")
    try:
        detail = str(parse_object(body)["error"])
    except (MatrixError, KeyError):
        if location is not None:
            detail = f"{detail}, see {location}"
    refusal = NotThere if answer.status == http.client.NOT_FOUND else Answered
    return refusal(answer.status, detail[:MAX_DETAIL], body)


def _failed(error: Exception) -> RequestFailed:
    reason = reason_of(error)
    return RequestFailed(reason, "no answer in time" if reason is Reason.TIMEOUT else _words(error))


def _words(error: Exception) -> str:
    """What an exception says, without its numbers."""
    words = getattr(error, "verify_message", None) or getattr(error, "strerror", None) or str(error)
    return str(words)[:MAX_DETAIL] or type(error).__name__


def _may_pass(failure: RequestFailed) -> bool:
    """Whether the same request may be answered in a moment."""
    status = failure.status if isinstance(failure, Answered) else None
    return failure.reason is Reason.UNREACHABLE or status in STATUSES_OF_A_MOMENT
