from html.parser import HTMLParser
from pathlib import Path

import pytest
from jinja2 import UndefinedError

from sydent_py.identifiers import ThreePid, UserId
from sydent_py.messaging.email import Mail
from sydent_py.messaging.templates import PACKAGE_DIR, PARTS, Templates
from sydent_py.settings import ConfigurationError
from tests.fakes.mailbox import Mailbox, link_in

ALICE = ThreePid.email("alice@example.org")
LINK = "https://id.example.org/confirm?sid=abc&token=-def_"


def render(templates: Templates, brand: str | None = None, **changes: object) -> Mail:
    context = {
        "server_name": "id.example.org",
        "user_id": "@alice:example.org",
        "address": ALICE.address,
        "link": LINK,
        "valid_hours": 24,
    }
    return templates.render("verify_email", brand, ALICE, **{**context, **changes})


def write(directory: Path, name: str, content: str) -> None:
    path = directory / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")


class Words(HTMLParser):
    """The visible words of a mail, the targets of its links, and its tags."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.text = ""
        self.targets: set[str] = set()
        self.tags: list[str] = []
        self._hidden = False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self._hidden = tag in {"style", "title"}
        self.targets |= {value or "" for name, value in attrs if name in {"href", "src"}}

    def handle_endtag(self, tag: str) -> None:  # noqa: ARG002
        self._hidden = False

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.text += data


def test_the_mail_says_who_asked_what_it_is_about_how_long_and_what_to_do_otherwise() -> None:
    mail = render(Templates())
    assert mail.to == ALICE
    assert mail.subject == "Confirm your email address for id.example.org"
    words = Words(mail.html)
    for text in (mail.text, words.text):
        for part in ("@alice:example.org", "alice@example.org", "id.example.org", LINK, "24 hours", "press the button"):
            assert part in text
        assert "If you did not ask for this, you can ignore this mail; nothing will change." in text
    assert words.targets == {LINK}
    assert link_in(mail.text) == LINK


def test_the_html_mail_loads_nothing() -> None:
    html = render(Templates()).html
    assert not {"img", "script", "link", "iframe", "table"} & set(Words(html).tags)
    assert "url(" not in html
    assert "@import" not in html


@pytest.mark.parametrize(
    "user_id",
    [
        "@<img/src=x>:example.org",
        "@www.evil.example/claim:evil.example",
        "@\"onclick='x'&amp;{{link}}:example.org",
    ],
)
def test_a_hostile_user_id_is_shown_and_does_nothing(user_id: str) -> None:
    mail = render(Templates(), user_id=UserId.parse(user_id).text)
    words = Words(mail.html)
    assert user_id in words.text
    assert words.targets == {LINK}
    assert "img" not in words.tags
    assert f'text-decoration:none">{user_id[:1]}' in mail.html, "inside an anchor without a target, no client makes a link"
    assert link_in(mail.text) == LINK
    assert "www." not in mail.text


def test_an_operator_replaces_one_file_and_keeps_the_others(tmp_path: Path) -> None:
    write(tmp_path, "verify_email/subject.txt", "Welcome to {{ server_name }}")
    mail = render(Templates(tmp_path))
    assert mail.subject == "Welcome to id.example.org"
    assert mail.text == render(Templates()).text


def test_a_brand_comes_before_the_operator_and_the_operator_before_the_package(tmp_path: Path) -> None:
    write(tmp_path, "verify_email/subject.txt", "operator subject")
    write(tmp_path, "verify_email/body.txt", "operator text {{ link }}")
    write(tmp_path, "acme/verify_email/body.txt", "acme text {{ link }}")
    templates = Templates(tmp_path)
    acme = render(templates, "acme")
    assert (acme.subject, acme.text) == ("operator subject", f"acme text {LINK}")
    assert acme.html == render(Templates()).html
    assert render(templates).text == f"operator text {LINK}"


def test_the_layout_of_html_mails_can_be_replaced_too(tmp_path: Path) -> None:
    write(tmp_path, "acme/layout.html", "<h6>ACME</h6>{% block content %}{% endblock %}")
    templates = Templates(tmp_path)
    assert render(templates, "acme").html.startswith("<h6>ACME</h6>")
    assert "ACME" not in render(templates).html


@pytest.mark.parametrize(
    "brand",
    ["", ".", "..", "../../etc", "acme/../acme", "/etc", "acme\0", "ACME", "acme/", "verify_email", "unknown", "é" * 9],
)
def test_a_brand_that_is_not_listed_gets_the_default(tmp_path: Path, brand: str) -> None:
    write(tmp_path, "own/acme/verify_email/subject.txt", "acme")
    write(tmp_path, "own/UPPER/verify_email/subject.txt", "no brand name")
    write(tmp_path, "verify_email/subject.txt", "outside")
    assert render(Templates(tmp_path / "own"), brand).subject == "Confirm your email address for id.example.org"


def test_a_brand_that_appears_after_the_start_is_unknown(tmp_path: Path) -> None:
    templates = Templates(tmp_path)
    write(tmp_path, "acme/verify_email/subject.txt", "acme")
    assert render(templates, "acme").subject == "Confirm your email address for id.example.org"


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("verify_email/body.txt", "{% if link %}", "Unexpected end of template"),
        ("verify_email/body.html", "{{ lnik }} {{ link }}", "'lnik' is undefined"),
        ("acme/verify_email/subject.txt", "{{ server_name | shout }}", "No filter named 'shout'"),
        ("acme/verify_email/body.html", '{% extends "missing.html" %}', "missing.html"),
        ("verify_email/body.txt", "{{ valid_hours / 0 }} {{ link }}", "division by zero"),
        ("verify_email/body.html", '{% include "verify_email/body.html" %}', "recursion"),
        ("verify_email/body.txt", "Thank you for your patience.", "does not show {{ link }}"),
        ("invite/body.txt", "{{ opt_out_link }}", "does not show {{ link }}"),
        ("invite/body.txt", "{{ link }}", "does not show {{ opt_out_link }}"),
        (
            "acme/invite/body.html",
            "{{ link }}{% if room_name %}{{ opt_out_link }}{% endif %}",
            "does not show {{ opt_out_link }}",
        ),
        ("invite/subject.txt", "{% if is_space %}{{ spcae }}{% endif %}", "'spcae' is undefined"),
        ("invite/subject.txt", "{{ sendr | unlinked }}", "'sendr' is undefined"),
    ],
)
def test_a_broken_template_is_refused_at_the_start_by_its_path(tmp_path: Path, name: str, content: str, reason: str) -> None:
    write(tmp_path, name, content)
    with pytest.raises(ConfigurationError) as refusal:
        Templates(tmp_path)
    assert str(tmp_path / name) in str(refusal.value)
    assert reason in str(refusal.value)


def test_a_template_that_is_not_utf8_is_refused_by_its_path(tmp_path: Path) -> None:
    write(tmp_path, "verify_email/body.txt", "")
    (tmp_path / "verify_email/body.txt").write_bytes("Bestätige {{ link }}".encode("latin-1"))
    with pytest.raises(ConfigurationError, match=r"verify_email/body\.txt"):
        Templates(tmp_path)


def test_a_syntax_error_in_a_shared_layout_names_the_layout(tmp_path: Path) -> None:
    write(tmp_path, "layout.html", "<p>\n{% block content %}")
    with pytest.raises(ConfigurationError, match=r"layout\.html, line 2"):
        Templates(tmp_path)


def test_a_directory_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="nowhere"):
        Templates(tmp_path / "nowhere")


def test_a_variable_that_is_not_given_is_an_error() -> None:
    with pytest.raises(UndefinedError):
        Templates().render("verify_email", None, ALICE, server_name="id.example.org")


def test_a_subject_is_one_printable_line(tmp_path: Path) -> None:
    write(tmp_path, "verify_email/subject.txt", "{{ user_id }}\n")
    mail = render(Templates(tmp_path), user_id="a\r\nBcc: x@example.org\x00\u2028\u202eb\ud800 \tc\x85")
    assert mail.subject == "a Bcc: x@example.org b c"


def test_every_kind_in_the_package_has_all_its_parts() -> None:
    kinds = [path for path in PACKAGE_DIR.iterdir() if path.is_dir()]
    mails = {"binding_displaced", "invite", "keys_differ", "keys_erased", "keys_reset", "remove_binding", "verify_email"}
    assert {kind.name for kind in kinds} == mails
    assert all((kind / part).is_file() for kind in kinds for part in PARTS)


def test_a_mailbox_finds_the_link() -> None:
    mailbox = Mailbox()
    mailbox.send(render(Templates()))
    assert mailbox.link() == LINK
