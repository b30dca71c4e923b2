"""Mail servers on loopback: a real one, and ones that behave badly."""

import asyncio
import socket
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from email import message_from_bytes, policy
from email.message import EmailMessage
from types import TracebackType
from typing import Any, Self

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session


@dataclass(frozen=True)
class Received:
    sender: str
    recipients: list[str]
    message: EmailMessage
    raw: bytes
    encrypted: bool
    username: str | None


class SmtpServer:
    """aiosmtpd on an ephemeral port, in a thread of its own.

    ``starttls`` offers STARTTLS and requires it, ``tls`` speaks TLS from the first byte, ``login`` is the user name and
    password it asks for, ``refuse`` is the reply to every recipient.
    """

    host = "127.0.0.1"

    def __init__(
        self,
        *,
        starttls: ssl.SSLContext | None = None,
        tls: ssl.SSLContext | None = None,
        login: tuple[str, str] | None = None,
        refuse: str | None = None,
    ) -> None:
        self.received: list[Received] = []
        self.port = 0
        self._starttls = starttls
        self._tls = tls
        self._login = login
        self.refuse = refuse
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._server = asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(10)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    @property
    def newest(self) -> Received:
        assert self.received, "no mail was received"
        return self.received[-1]

    async def _listen(self) -> asyncio.Server:
        return await self._loop.create_server(self._protocol, self.host, 0, ssl=self._tls)

    async def _close(self) -> None:
        self._server.close()
        sessions = asyncio.all_tasks() - {asyncio.current_task()}
        for session in sessions:
            session.cancel()
        await asyncio.gather(*sessions, return_exceptions=True)

    def _protocol(self) -> SMTP:
        return SMTP(
            _Hooks(self.received, self.refuse, always_encrypted=self._tls is not None),
            hostname="mail.example.org",
            tls_context=self._starttls,
            require_starttls=self._starttls is not None,
            auth_required=self._login is not None,
            auth_require_tls=self._starttls is not None,
            authenticator=self._authenticate,
            loop=self._loop,
        )

    def _authenticate(self, _server: SMTP, _session: Session, _envelope: Envelope, _mechanism: str, data: Any) -> AuthResult:
        assert isinstance(data, LoginPassword)
        given = (data.login.decode(), data.password.decode())
        return AuthResult(success=given == self._login, handled=False, auth_data=given[0])


class _Hooks:
    """What aiosmtpd calls; it evaluates every attribute of the object it is given, so there is nothing else here."""

    def __init__(self, received: list[Received], refuse: str | None, *, always_encrypted: bool) -> None:
        self._received = received
        self._refuse = refuse
        self._always_encrypted = always_encrypted

    async def handle_RCPT(  # noqa: N802
        self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        if self._refuse is not None:
            return self._refuse
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        raw = envelope.original_content
        assert raw is not None
        message = message_from_bytes(raw, policy=policy.default)
        encrypted = self._always_encrypted or session.ssl is not None
        self._received.append(
            Received(str(envelope.mail_from), list(envelope.rcpt_tos), message, raw, encrypted, session.auth_data)
        )
        return "250 OK"


class RudeServer:
    """Accepts connections and treats each as ``behaviour`` does; ``heard`` is everything that clients said to it."""

    host = "127.0.0.1"

    def __init__(self, behaviour: "Callable[[Caller], None]") -> None:
        self.heard = b""
        self._behaviour = behaviour
        self._listener = socket.create_server((self.host, 0))
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(10)

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                with connection, suppress(OSError):
                    connection.settimeout(10)
                    self._behaviour(Caller(self, connection))


class Caller:
    """One connection to a rude server, from the server's side."""

    def __init__(self, server: RudeServer, connection: socket.socket) -> None:
        self._server = server
        self._connection = connection
        self._lines = connection.makefile("rb")

    def say(self, text: str) -> None:
        self._connection.sendall(text.encode() + b"\r\n")

    def drip(self, byte: bytes, every_s: float = 0.02) -> None:
        """One byte after the other until the client hangs up."""
        while True:
            self._connection.sendall(byte)
            time.sleep(every_s)

    def hear(self) -> str:
        """The next line; ``ConnectionError`` once the client has hung up."""
        line = self._lines.readline()
        self._server.heard += line
        if not line:
            raise ConnectionError
        return line.decode().strip()

    def converse(self, until: str = "QUIT", **replies: str) -> None:
        """Play a plain mail server, with other replies to some verbs, until the client says ``until``."""
        usual = {"EHLO": "250 mail.example.org", "DATA": "354 go on", ".": "250 queued", "QUIT": "221 bye"}
        self.say(replies.pop("banner", "220 mail.example.org"))
        in_data = False
        while True:
            line = self.hear()
            verb = line.upper().split(" ")[0]
            if in_data and line != ".":
                continue
            in_data = verb == "DATA"
            if verb == until:
                return
            self.say(replies.get(verb, usual.get(verb, "250 OK")))


def hangs(caller: Caller) -> None:
    """Says nothing at all."""
    caller.hear()


def hangs_after_data(caller: Caller) -> None:
    caller.converse(until=".")
    caller.hear()


def hangs_at_quit(caller: Caller) -> None:
    caller.converse()
    caller.hear()


def hangs_up_at_quit(caller: Caller) -> None:
    caller.converse()


def drops_after_data(caller: Caller) -> None:
    caller.converse(until=".")


def drips_banner(caller: Caller) -> None:
    """A banner that never ends, byte by byte, so that no single wait is long."""
    caller.drip(b"2")


def drips_after_data(caller: Caller) -> None:
    caller.converse(until=".")
    caller.drip(b"2")


def floods(caller: Caller) -> None:
    """A banner of endless lines."""
    while True:
        caller.say("220-" + "x" * 400)


def strips_starttls(caller: Caller) -> None:
    """A stranger in the middle who takes STARTTLS out of the offer and leaves AUTH in, to read the password."""
    caller.converse(EHLO="250-mail.example.org\r\n250 AUTH PLAIN LOGIN")


def refuses_starttls(caller: Caller) -> None:
    caller.converse(EHLO="250-mail.example.org\r\n250-AUTH PLAIN\r\n250 STARTTLS", STARTTLS="454 TLS not available")


def drips_handshake(caller: Caller) -> None:
    caller.converse(until="STARTTLS", EHLO="250-mail.example.org\r\n250 STARTTLS")
    caller.say("220 go ahead")
    # The header of a TLS record of 16 KiB, and then its content, slowly.
    caller.drip(b"\x16\x03\x03\x40\x00")


def refuses_recipient(caller: Caller) -> None:
    caller.converse(RCPT="550 5.1.1 <secret-address@example.org> is unknown here")


def refuses_everyone(caller: Caller) -> None:
    caller.converse(banner="554 go away")
