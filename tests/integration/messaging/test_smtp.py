import contextlib
import smtplib
import ssl
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import pytest
import structlog
import trustme

from sydent_py.clock import SystemClock
from sydent_py.errors import EmailSendError
from sydent_py.identifiers import ThreePid
from sydent_py.messaging.email import Mail, SmtpMailer
from sydent_py.messaging.smtp import Relay
from sydent_py.messaging.templates import Templates
from sydent_py.sealing import Sealer
from tests.fakes import smtp
from tests.fakes.mailbox import link_in
from tests.fakes.smtp import Caller, RudeServer, SmtpServer

pytestmark = [
    # aiosmtpd warns that it asks for passwords without TLS, which is what one of these servers is for.
    pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS:UserWarning"),
]

SEALER = Sealer(bytes(32))
CLOCK = SystemClock()
ALICE = ThreePid.email("alice@example.org")
LINK = "https://id.example.org/confirm?sid=abc&token=" + "x" * 43
LOGIN = ("sydent", "open sesame")


@pytest.fixture(scope="module")
def ca() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def trusting(ca: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    ca.configure_trust(context)
    return context


def served(ca: trustme.CA, name: str = "127.0.0.1") -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert(name).configure_cert(context)
    return context


def encrypting(security: str, context: ssl.SSLContext) -> SmtpServer:
    return SmtpServer(tls=context) if security == "tls" else SmtpServer(starttls=context)


def mailer(server: SmtpServer | RudeServer, tls: ssl.SSLContext, security: str = "none", **changes: object) -> SmtpMailer:
    relay = Relay(server.host, server.port, security, tls, own_name="example.org")
    return SmtpMailer(replace(relay, **changes), ("Identität, Ltd.", "noreply@example.org"), CLOCK, SEALER)


def mail(to: ThreePid = ALICE) -> Mail:
    return Templates().render(
        "verify_email",
        None,
        to,
        server_name="id.example.org",
        user_id="@alice:example.org",
        address=to.address,
        link=LINK,
        valid_hours=24,
    )


@contextlib.contextmanager
def not_sent(reason: str, within_s: float = 5, smtp_code: int | None = None) -> Iterator[None]:
    """The mail fails in time, and the log says why and nothing else."""
    before_s = CLOCK.monotonic_s()
    with structlog.testing.capture_logs() as logs, pytest.raises(EmailSendError):
        yield
    assert CLOCK.monotonic_s() - before_s < within_s
    expected = {
        "event": "email.not_sent",
        "log_level": "warning",
        "reason": reason,
        "address": SEALER.pseudonym(ALICE.address),
    }
    assert logs == [expected | ({} if smtp_code is None else {"smtp_code": smtp_code})]


def test_a_mail_arrives_whole(trusting: ssl.SSLContext) -> None:
    with SmtpServer() as server, structlog.testing.capture_logs() as logs:
        mailer(server, trusting).send(mail())
    received = server.newest
    assert (received.sender, received.recipients) == ("noreply@example.org", ["alice@example.org"])
    message = received.message
    assert message["From"].addresses[0].display_name == "Identität, Ltd."
    assert message["From"].addresses[0].addr_spec == "noreply@example.org"
    assert [address.addr_spec for address in message["To"].addresses] == ["alice@example.org"]
    assert message["Subject"] == "Confirm your email address for id.example.org"
    assert (
        abs((parsedate_to_datetime(message["Date"]) - datetime.fromtimestamp(CLOCK.now_ms() / 1000, UTC)).total_seconds())
        < 10
    )
    assert message["Message-ID"].startswith("<")
    assert message["Message-ID"].endswith("@example.org>")
    assert message["Auto-Submitted"] == "auto-generated"
    assert message["X-Auto-Response-Suppress"] == "All"
    assert not [name for name in message if name.startswith("List-")]
    assert logs[0]["message_id"] == message["Message-ID"]
    assert "alice" not in str(logs)


def test_both_parts_arrive_and_survive_any_mail_server(trusting: ssl.SSLContext) -> None:
    words = replace(mail(), text=f"Grüße 🐈 {'lang ' * 300}\n.\nFrom here\n\n{LINK}\n", subject="Bestätige 🐈 " + "ü" * 100)
    with SmtpServer() as server:
        mailer(server, trusting).send(words)
    message = server.newest.message
    assert message.get_content_type() == "multipart/alternative"
    plain, html = message.iter_parts()
    assert (plain.get_content_type(), html.get_content_type()) == ("text/plain", "text/html")
    assert plain.get_content().replace("\r\n", "\n") == words.text
    assert html.get_content().replace("\r\n", "\n") == words.html
    assert link_in(plain.get_content()) == LINK
    assert message["Subject"] == words.subject
    assert server.newest.raw.isascii()
    assert max(len(line) for line in server.newest.raw.split(b"\r\n")) <= 78
    assert b"\n" not in server.newest.raw.replace(b"\r\n", b"")


def test_every_mail_has_its_own_message_id(trusting: ssl.SSLContext) -> None:
    with SmtpServer() as server:
        for _ in range(2):
            mailer(server, trusting).send(mail())
    first, second = (received.message["Message-ID"] for received in server.received)
    assert first != second


def test_further_headers_arrive_unbroken(trusting: ssl.SSLContext) -> None:
    url = f"<https://id.example.org/stop?token={'x' * 100}>"
    headers = {"List-Unsubscribe": url, "List-Unsubscribe-Post": "List-Unsubscribe=One-Click"}
    with SmtpServer() as server:
        mailer(server, trusting).send(replace(mail(), headers=headers))
    assert f"List-Unsubscribe: {url}\r\n".encode() in server.newest.raw
    assert server.newest.message["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"


@pytest.mark.parametrize(
    "address", ["o'brien+x@xn--strae-oqa.de", "{a|b}!#$%&*/=?^_`~-x@example.org", f"{'a' * 64}@{'b.' * 90}org"]
)
def test_the_envelope_names_exactly_one_address_as_it_is(trusting: ssl.SSLContext, address: str) -> None:
    to = ThreePid.email(address)
    with SmtpServer() as server:
        mailer(server, trusting).send(mail(to))
    assert server.newest.recipients == [to.address] == [address]
    assert [parsed.addr_spec for parsed in server.newest.message["To"].addresses] == [address]


def test_starttls_with_a_trusted_certificate(ca: trustme.CA, trusting: ssl.SSLContext) -> None:
    with SmtpServer(starttls=served(ca)) as server:
        mailer(server, trusting, "starttls").send(mail())
    assert server.newest.encrypted


def test_starttls_logs_in_after_encrypting(ca: trustme.CA, trusting: ssl.SSLContext) -> None:
    with SmtpServer(starttls=served(ca), login=LOGIN) as server:
        mailer(server, trusting, "starttls", username=LOGIN[0], password=LOGIN[1]).send(mail())
    assert (server.newest.encrypted, server.newest.username) == (True, "sydent")


def test_a_wrong_password_is_not_sent_mail(ca: trustme.CA, trusting: ssl.SSLContext) -> None:
    with SmtpServer(starttls=served(ca), login=LOGIN) as server:
        with not_sent("login", smtp_code=535):
            mailer(server, trusting, "starttls", username=LOGIN[0], password="wrong").send(mail())
        assert not server.received


def test_a_plain_server_on_loopback_can_ask_for_a_password(trusting: ssl.SSLContext) -> None:
    with SmtpServer(login=LOGIN) as server:
        mailer(server, trusting, username=LOGIN[0], password=LOGIN[1]).send(mail())
    assert server.newest.username == "sydent"


def test_implicit_tls_with_a_trusted_certificate(ca: trustme.CA, trusting: ssl.SSLContext) -> None:
    with SmtpServer(tls=served(ca)) as server:
        mailer(server, trusting, "tls").send(mail())
    assert server.newest.encrypted


@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_a_certificate_of_an_unknown_authority_is_refused(trusting: ssl.SSLContext, security: str) -> None:
    with encrypting(security, served(trustme.CA())) as server:
        with not_sent("certificate"):
            mailer(server, trusting, security).send(mail())
        assert not server.received


@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_a_certificate_for_another_name_is_refused(ca: trustme.CA, trusting: ssl.SSLContext, security: str) -> None:
    with encrypting(security, served(ca, "mail.example.com")) as server:
        with not_sent("certificate"):
            mailer(server, trusting, security).send(mail())
        assert not server.received


def test_a_host_name_is_what_the_certificate_is_for(ca: trustme.CA, trusting: ssl.SSLContext) -> None:
    with SmtpServer(starttls=served(ca, "localhost")) as server:
        mailer(server, trusting, "starttls", host="localhost").send(mail())
    assert server.newest.encrypted


@pytest.mark.parametrize(
    ("behaviour", "reason", "smtp_code"),
    [(smtp.strips_starttls, "not_offered", None), (smtp.refuses_starttls, "refused", 454)],
)
def test_without_starttls_neither_password_nor_mail_leaves(
    trusting: ssl.SSLContext, behaviour: Callable[[Caller], None], reason: str, smtp_code: int | None
) -> None:
    with RudeServer(behaviour) as server, not_sent(reason, smtp_code=smtp_code):
        mailer(server, trusting, "starttls", username=LOGIN[0], password=LOGIN[1]).send(mail())
    assert {line.split()[0].upper() for line in server.heard.splitlines()} <= {b"EHLO", b"STARTTLS"}
    assert b"alice" not in server.heard


def test_a_password_that_nobody_asks_for_is_not_sent_mail(trusting: ssl.SSLContext) -> None:
    with RudeServer(Caller.converse) as server, not_sent("not_offered"):
        mailer(server, trusting, username=LOGIN[0], password=LOGIN[1]).send(mail())


def test_speaking_tls_to_a_plain_server_fails(trusting: ssl.SSLContext) -> None:
    with SmtpServer() as server, not_sent("tls"):
        mailer(server, trusting, "tls").send(mail())


@pytest.mark.parametrize(
    ("behaviour", "reason", "smtp_code"),
    [
        (smtp.drops_after_data, "disconnected", None),
        (smtp.refuses_recipient, "recipient_refused", 550),
        (smtp.refuses_everyone, "refused", 554),
        (smtp.floods, "disconnected", None),
    ],
)
def test_a_refusal_is_not_sent_mail(
    trusting: ssl.SSLContext, behaviour: Callable[[Caller], None], reason: str, smtp_code: int | None
) -> None:
    with RudeServer(behaviour) as server, not_sent(reason, smtp_code=smtp_code):
        mailer(server, trusting).send(mail())


@pytest.mark.parametrize("behaviour", [smtp.hangs, smtp.hangs_after_data])
def test_a_silent_server_is_given_up(trusting: ssl.SSLContext, behaviour: Callable[[Caller], None]) -> None:
    with RudeServer(behaviour) as server, not_sent("timeout", within_s=1.5):
        mailer(server, trusting, timeout_s=0.3).send(mail())


@pytest.mark.parametrize(
    ("behaviour", "security"),
    [(smtp.drips_banner, "none"), (smtp.drips_after_data, "none"), (smtp.drips_handshake, "starttls")],
)
def test_a_dripping_server_is_given_up_at_the_deadline(
    trusting: ssl.SSLContext, behaviour: Callable[[Caller], None], security: str
) -> None:
    with RudeServer(behaviour) as server, not_sent("timeout", within_s=2):
        mailer(server, trusting, security, timeout_s=5.0, deadline_s=0.6).send(mail())


@pytest.mark.parametrize("behaviour", [smtp.hangs_at_quit, smtp.hangs_up_at_quit])
def test_what_happens_after_the_mail_is_taken_changes_nothing(
    trusting: ssl.SSLContext, behaviour: Callable[[Caller], None]
) -> None:
    before_s = CLOCK.monotonic_s()
    with RudeServer(behaviour) as server:
        mailer(server, trusting).send(mail())
    assert CLOCK.monotonic_s() - before_s < 3
    assert b"QUIT" in server.heard.upper()


def test_a_server_that_is_not_there(trusting: ssl.SSLContext) -> None:
    with SmtpServer() as server:
        pass
    with not_sent("connection"):
        mailer(server, trusting).send(mail())


@pytest.mark.parametrize(("host", "reason"), [("smtp..example", "protocol"), ("a" * 70 + ".example", "protocol")])
def test_a_host_that_is_no_name(trusting: ssl.SSLContext, host: str, reason: str) -> None:
    with SmtpServer() as server, not_sent(reason):
        mailer(server, trusting, host=host).send(mail())


def test_the_servers_words_are_the_cause_and_not_the_message(trusting: ssl.SSLContext) -> None:
    with RudeServer(smtp.refuses_recipient) as server, pytest.raises(EmailSendError) as refusal:
        mailer(server, trusting).send(mail())
    assert isinstance(refusal.value.__cause__, smtplib.SMTPRecipientsRefused)
    assert refusal.value.to_json() == {"errcode": "M_EMAIL_SEND_ERROR", "error": EmailSendError.default_message}
