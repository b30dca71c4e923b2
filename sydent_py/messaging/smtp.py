"""An SMTP session that verifies its server, keeps to one deadline and tells nobody else the password."""

import contextlib
import io
import smtplib
import socket
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

import flask_mail

from sydent_py.clock import Clock, Deadline
from sydent_py.settings import ConfigurationError

# More than every reply of a mail server together; a stranger in the middle must not fill the memory before TLS starts.
_MAX_REPLIES_BYTES = 64 * 1024
_QUIT_S = 1.0

_REASONS: tuple[tuple[type[Exception], str], ...] = (
    (ssl.SSLCertVerificationError, "certificate"),
    (ssl.SSLError, "tls"),
    (smtplib.SMTPAuthenticationError, "login"),
    (smtplib.SMTPNotSupportedError, "not_offered"),
    (smtplib.SMTPRecipientsRefused, "recipient_refused"),
    (smtplib.SMTPSenderRefused, "sender_refused"),
    (smtplib.SMTPResponseException, "refused"),
    (smtplib.SMTPServerDisconnected, "disconnected"),
    (TimeoutError, "timeout"),
    (socket.gaierror, "unknown_host"),
    (OSError, "connection"),
)


@dataclass(frozen=True)
class Relay:
    """The mail server that every mail is handed to, and how.

    ``security`` is ``starttls`` (refused unless offered and verified), ``tls`` (from the first byte) or ``none``.
    ``own_name`` is what this side calls itself. One wait lasts at most ``timeout_s``, a whole mail at most
    ``deadline_s``; only the system's resolver keeps its own time.
    """

    host: str
    port: int
    security: Literal["none", "starttls", "tls"]
    tls: ssl.SSLContext = field(repr=False)
    username: str = ""
    password: str = field(default="", repr=False)
    own_name: str = "localhost"
    timeout_s: float = 10.0
    deadline_s: float = 20.0


def verifying_context(ca_file: Path | None, key: str = "email.ca_file") -> ssl.SSLContext:
    """A TLS client that trusts the system's roots and those in ``ca_file``; building one takes 20 ms.

    Raises ``ConfigurationError``, naming the ``key`` it came from, if the file holds no certificate.
    """
    context = ssl.create_default_context()
    if ca_file is not None:
        try:
            context.load_verify_locations(cafile=ca_file)
        except OSError as error:
            raise ConfigurationError(f"{key}: {ca_file} holds no certificate that can be read: {error}") from error
    return context


def reason_of(error: Exception) -> dict[str, str | int]:
    """Why a mail was not sent, fit for a log: a class, and the reply code where the server gave one, but not its words."""
    # smtplib reports a read that timed out as a lost connection.
    cause = error.__context__ if isinstance(error.__context__, TimeoutError) else error
    reason: dict[str, str | int] = {"reason": next((name for kind, name in _REASONS if isinstance(cause, kind)), "protocol")}
    if isinstance(error, smtplib.SMTPResponseException):
        reason["smtp_code"] = error.smtp_code
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        reason["smtp_code"] = next(code for code, _ in error.recipients.values())
    return reason


class Letter(flask_mail.Message):
    """One composed mail to one address.

    Flask-Mail's constructor is not called: its ``make_msgid()`` asks the DNS for this machine's name, for as long as the
    resolver likes, and its message would need an application context and go out as unencoded 8-bit text.
    """

    def __init__(self, sender: str, to: str, content: bytes) -> None:
        self.sender = sender
        self.recipients = [to]
        self._content = content

    def as_bytes(self) -> bytes:
        """The mail as it goes over the wire."""
        return self._content


class Connection(flask_mail.Connection):
    """Flask-Mail's connection, verified and bounded in time.

    Flask-Mail 0.10 itself checks no certificate, sets no timeout, parses recipients anew and needs an application.
    """

    def __init__(self, relay: Relay, clock: Clock) -> None:
        super().__init__(flask_mail.Mail())
        self._relay = relay
        self._clock = clock

    def configure_host(self) -> smtplib.SMTP:
        """A session that is encrypted and logged in as the configuration asks; ``OSError`` or ``ValueError`` if not."""
        relay = self._relay
        with contextlib.ExitStack() as undo:
            session = _Session(relay, Deadline.after(self._clock, relay.deadline_s))
            undo.callback(session.close)
            if relay.security == "starttls":
                session.starttls(context=relay.tls)
            if relay.username:
                session.login(relay.username, relay.password)
            undo.pop_all()
        return session

    def send(self, message: flask_mail.Message, envelope_from: str | tuple[str, str] | None = None) -> None:  # noqa: ARG002 - the library's signature
        """Hand ``message`` over to its recipients exactly as they are written."""
        assert isinstance(self.host, _Session)
        assert isinstance(message.sender, str)
        self.host.sendmail(message.sender, [str(address) for address in message.recipients], message.as_bytes())

    def __exit__(
        self, exc_type: type[BaseException] | None, exc_value: BaseException | None, tb: TracebackType | None
    ) -> None:
        """Say goodbye, briefly: the mail is accepted or refused by now, and nothing that happens here changes that."""
        assert isinstance(self.host, _Session)
        with contextlib.closing(self.host), contextlib.suppress(OSError, ValueError):
            self.host.deadline = Deadline.after(self._clock, min(_QUIT_S, self.host.deadline.remaining_s()))
            self.host.quit()


class _Session(smtplib.SMTP):
    """smtplib's client, in which no wait outlasts the deadline, however slowly the bytes drip in."""

    def __init__(self, relay: Relay, deadline: Deadline) -> None:
        self._relay = relay
        self.deadline = deadline
        super().__init__(relay.host, relay.port, local_hostname=relay.own_name, timeout=relay.timeout_s)

    def wait_s(self) -> float:
        """Seconds that the next operation may take; ``TimeoutError`` when there are none left."""
        remaining_s = self.deadline.remaining_s()
        if remaining_s <= 0:
            raise TimeoutError("the deadline for this mail has passed")
        return min(self._relay.timeout_s, remaining_s)

    def _get_socket(self, host: str, port: int, timeout: float) -> socket.socket:  # noqa: ARG002 - the library's signature
        """Connect to the first address that answers; a dead one must not use up the time of all."""
        failure: OSError = ConnectionError("the mail server has no address")
        for *_, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            try:
                return self._secured(socket.create_connection((str(address[0]), port), self.wait_s()))
            except ssl.SSLError:
                raise
            except OSError as error:
                failure = error
        raise failure

    def _secured(self, plain: socket.socket) -> socket.socket:
        if self._relay.security != "tls":
            return plain
        with contextlib.ExitStack() as undo:
            undo.enter_context(plain)
            plain.settimeout(self.wait_s())
            return self._relay.tls.wrap_socket(plain, server_hostname=self._relay.host)

    def send(self, s: Any) -> None:
        """Send, within the time left."""
        if self.sock is not None:
            self.sock.settimeout(self.wait_s())
        super().send(s)

    def getreply(self) -> tuple[int, bytes]:
        """One reply; what follows it, a TLS handshake perhaps, starts with the time that is left then."""
        if self.file is None and self.sock is not None:
            self.file = io.BufferedReader(_Replies(self, self.sock))
        reply = super().getreply()
        if self.sock is not None:
            self.sock.settimeout(self.wait_s())
        return reply


class _Replies(io.RawIOBase):
    """The bytes a server sends, waited for within the time left and bounded in number."""

    def __init__(self, session: _Session, sock: socket.socket) -> None:
        self._session = session
        self._sock = sock
        self._left_bytes = _MAX_REPLIES_BYTES

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        self._sock.settimeout(self._session.wait_s())
        count = self._sock.recv_into(buffer)
        self._left_bytes -= count
        if self._left_bytes < 0:
            raise ConnectionAbortedError("the mail server says too much")
        return count
