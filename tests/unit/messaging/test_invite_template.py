"""The mail to somebody who is invited: what it says, and what a stranger's names cannot make it say."""

from pathlib import Path

import pytest

from sydent_py.identifiers import ThreePid, UserId
from sydent_py.messaging.email import Mail
from sydent_py.messaging.names import neutral
from sydent_py.messaging.templates import Templates
from tests.fakes.mailbox import link_in
from tests.unit.messaging.test_templates import Words, write

BOB = ThreePid.email("bob@example.com")
LINK = "https://app.example.org/#/room/!a:b?email=bob%40example.com&signurl=https%3A%2F%2Fid.example.org"
OPT_OUT = "https://id.example.org/opt-out?t=abc-_"
HOSTILE = [
    "<img/src=x>",
    "www.evil.example/claim",
    "https://evil.example",
    "bob@evil.example",
    "\"onclick='x'&amp;{{link}}{%set%}",
    "\r\n\r\nhttps://evil.example\r\n",
    "\u202eelpmaxe.live\u2066",
    "call +1 800 555 0100 now",
    "Z" + "\u0301" * 50,
]


def render(templates: Templates | None = None, **changes: object) -> Mail:
    context = {
        "server_name": "id.example.org",
        "sender": "@alice:example.org",
        "sender_name": "Alice",
        "room_name": "Walks",
        "room_alias": "#walks:example.org",
        "is_space": False,
        "address": BOB.address,
        "link": LINK,
        "opt_out_link": OPT_OUT,
        "valid_days": 90,
    }
    return (templates or Templates()).render("invite", None, BOB, **{**context, **changes})


def test_the_mail_says_who_invites_to_what_how_to_accept_how_long_and_how_to_get_no_more() -> None:
    mail = render()
    assert mail.to == BOB
    assert mail.subject == "Invitation to a Matrix room from @alice:example.org"
    words = Words(mail.html)
    for text in (mail.text, words.text):
        for part in (
            "@alice:example.org",
            "They call themselves: Alice",
            "invites you to this room:",
            "Walks",
            "#walks:example.org",
            "You need no account yet",
            "add this email address to it:",
            BOB.address,
            "valid for 90 days",
            "If you do not know this account, you can ignore this mail",
            "You get this mail because the account above invited this email address through id.example.org.",
            "Get no more invitations",
        ):
            assert part in text
    assert words.targets == {LINK, OPT_OUT}
    assert link_in(mail.text) == LINK
    assert f"Get no more invitations: {OPT_OUT}\n" in mail.text


def test_a_space_is_called_a_space() -> None:
    mail = render(is_space=True)
    assert mail.subject == "Invitation to a Matrix space from @alice:example.org"
    for text in (mail.text, Words(mail.html).text):
        assert "invites you to this space:" in text
        assert "room" not in text.replace(LINK, "")


def test_without_names_the_mail_still_reads_well() -> None:
    mail = render(sender_name="", room_name="", room_alias="", valid_days=1)
    for text in (mail.text, Words(mail.html).text):
        assert "invites you to a room." in text
        assert "They call themselves" not in text
        assert "valid for 1 day." in text
    assert "\n\n\n" not in mail.text
    assert mail.text.startswith(
        "Hello,\n\nthe Matrix account\n\n    @alice:example.org\n\ninvites you to a room.\n\nMatrix is"
    )


@pytest.mark.parametrize(("name", "alias"), [("Walks", ""), ("", "#walks:example.org")])
def test_a_room_is_called_by_what_is_known_of_it(name: str, alias: str) -> None:
    mail = render(room_name=name, room_alias=alias)
    assert f"invites you to this room:\n\n    {name or alias}\n\nMatrix is" in mail.text
    assert (name or alias) in Words(mail.html).text


def test_the_names_stand_in_the_mail_and_not_in_its_subject() -> None:
    assert render(sender_name="Your bank", room_name="Sign in now").subject == render().subject


@pytest.mark.parametrize("field", ["sender_name", "room_name"])
@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_name_is_shown_and_does_nothing(name: str, field: str) -> None:
    check_inert(render(**{field: neutral(name, 80)}))


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_alias_is_shown_and_does_nothing(name: str) -> None:
    check_inert(render(room_alias=f"#{name}:example.org"))


@pytest.mark.parametrize("localpart", ["<img/src=x>", "www.evil.example/claim", "https//evil.example", "\"onclick='x'&amp;"])
def test_a_hostile_sender_is_shown_and_does_nothing(localpart: str) -> None:
    sender = UserId.parse(f"@{localpart}:example.org").text
    mail = render(sender=sender)
    check_inert(mail)
    assert sender in Words(mail.html).text, "in HTML it stands as it is"


def check_inert(mail: Mail) -> None:
    words = Words(mail.html)
    assert words.targets == {LINK, OPT_OUT}
    assert "img" not in words.tags
    assert link_in(mail.text) == LINK
    for text in (mail.text, mail.subject):
        for link in ("https://evil", "www.", "evil.example", "@evil", "800 555", "\u0301" * 4, "\u202e", "\u2066"):
            assert link not in text
    for hidden in ("\u0301" * 4, "\u202e", "\u2066"):
        assert hidden not in mail.html
    assert "\n" not in mail.subject


def test_no_name_is_within_reach_of_a_mail_clients_links() -> None:
    """Nothing inside an anchor is turned into a link, and an anchor without a target leads nowhere."""
    html = render().html
    for text in ("@alice:example.org", "Alice", "Walks", "#walks:example.org", BOB.address, "id.example.org"):
        assert f'<a style="color:inherit;text-decoration:none">{text}</a>' in html


def test_the_html_mail_loads_nothing() -> None:
    html = render().html
    assert not {"img", "script", "link", "iframe", "table"} & set(Words(html).tags)
    assert "url(" not in html
    assert "@import" not in html


def test_headers_go_with_the_mail() -> None:
    headers = {"List-Unsubscribe": f"<{OPT_OUT}>", "List-Unsubscribe-Post": "List-Unsubscribe=One-Click"}
    assert dict(render(headers=headers).headers) == headers
    assert dict(render().headers) == {}


def test_an_operator_replaces_the_words(tmp_path: Path) -> None:
    write(tmp_path, "invite/body.txt", "{{ sender }} {{ link }} {{ opt_out_link }}")
    mail = render(Templates(tmp_path))
    assert mail.text == f"@alice:example.org {LINK} {OPT_OUT}"
    assert mail.html == render().html
