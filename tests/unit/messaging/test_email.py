from pathlib import Path

import pytest
from pydantic import SecretStr

from sydent_py.errors import InvalidEmail
from sydent_py.identifiers import ThreePid
from sydent_py.messaging import email
from sydent_py.messaging.email import LogMailer, Mail, SmtpMailer
from sydent_py.sealing import Sealer
from sydent_py.settings import ConfigurationError, Email
from tests.fakes.clock import FakeClock

SEALER = Sealer(bytes(32))


def mail(address: str = "alice@example.org", medium: str = "email") -> Mail:
    return Mail(ThreePid(medium, address), "Subject", "Hello\n\nhttps://id.example.org/x\n", "<p>Hello</p>")


@pytest.mark.parametrize(
    "address",
    [
        "a@evil.com,<x@corp.com>",
        "a@straße.de",
        "<a@example.org>",
        "a@example.org;b@example.org",
        "a @example.org",
        "a@example.org\r\nRCPT TO:<b@example.org>",
        "a@example.org\n",
        "a\x00@example.org",
        '"a b"@example.org',
        "a(comment)@example.org",
        "a@b@example.org",
        "a@[127.0.0.1]",
        "@example.org",
        "alice",
        "",
    ],
)
def test_a_mail_goes_to_one_canonical_address_or_is_not_made(address: str) -> None:
    with pytest.raises(InvalidEmail):
        mail(address)


def test_a_phone_number_gets_no_mail() -> None:
    with pytest.raises(InvalidEmail):
        mail(medium="msisdn")


@pytest.mark.parametrize(
    "text", ["o'brien+tag@example.org", "{a|b}!#$%&*/=?^_`~-x@xn--strae-oqa.de", f"{'a' * 64}@{'b' * 60}.org"]
)
def test_every_address_that_can_be_validated_can_be_mailed(text: str) -> None:
    assert mail(ThreePid.email(text).address).to.address == text


def test_without_a_mail_server_mail_is_printed_and_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    mailer = email.build(Email(), FakeClock(), SEALER)
    assert isinstance(mailer, LogMailer)
    mailer.send(mail())
    printed = capsys.readouterr().err.splitlines()
    assert "MAIL IS NOT SENT: [email] smtp_host is empty" in printed
    assert "To:      alice@example.org" in printed
    assert "Subject: Subject" in printed
    assert "https://id.example.org/x" in printed


def test_the_settings_become_a_relay(tmp_path: Path) -> None:
    password_file = tmp_path / "password"
    password_file.write_text("geheim\n")
    settings = Email(smtp_host="[::1]", smtp_username="sydent", smtp_password_file=password_file)
    mailer = email.build(settings.model_copy(update={"sender": "Identität <id@mail.example.org>"}), FakeClock(), SEALER)
    assert isinstance(mailer, SmtpMailer)
    relay = mailer.relay
    assert (relay.host, relay.port, relay.security) == ("::1", 587, "starttls")
    assert (relay.username, relay.password, relay.own_name) == ("sydent", "geheim", "mail.example.org")
    assert mailer.sender == ("Identität", "id@mail.example.org")
    assert "geheim" not in repr(mailer)


def test_a_ca_file_without_a_certificate_stops_the_start(tmp_path: Path) -> None:
    for name, content in (("missing", None), ("empty", ""), ("text", "no certificate")):
        path = tmp_path / name
        if content is not None:
            path.write_text(content)
        with pytest.raises(ConfigurationError, match=rf"email\.ca_file.*{name}"):
            email.build(Email(smtp_host="mail.example.org", ca_file=path), FakeClock(), SEALER)


def test_a_password_that_cannot_be_sent_stops_the_start() -> None:
    settings = Email(smtp_host="mail.example.org", smtp_username="sydent", smtp_password=SecretStr("pässword"))
    with pytest.raises(ConfigurationError, match="smtp_password") as refusal:
        email.build(settings, FakeClock(), SEALER)
    assert "pässword" not in str(refusal.value)
