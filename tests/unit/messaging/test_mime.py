from email import message_from_bytes, policy
from email.message import EmailMessage

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sydent_py.messaging.mime import compose

WORDS = st.text(st.characters(exclude_categories=["Cs"]))


def parsed(content: bytes) -> EmailMessage:
    message = message_from_bytes(content, policy=policy.default)
    assert not message.defects
    return message


@given(text=WORDS, html=WORDS)
def test_whatever_the_words_are_they_arrive_and_the_lines_are_short(text: str, html: str) -> None:
    content = compose({"Subject": "x"}, text, html)
    for part, words in zip(parsed(content).iter_parts(), (text, html), strict=True):
        expected = words.replace("\r\n", "\n").replace("\r", "\n").replace("\n", "\r\n")
        assert part.get_payload(decode=True) == expected.encode()
    assert max(len(line) for line in content.split(b"\r\n")) <= 76
    assert b"\n" not in content.replace(b"\r\n", b"")
    assert b"\r" not in content.replace(b"\r\n", b"")


@pytest.mark.parametrize("subject", ["Confirm", "Bestätige 🐈 " + "ü" * 200, "long " * 300 + "end", "=?utf-8?q?no?= ü"])
def test_a_subject_arrives_as_it_was(subject: str) -> None:
    content = compose({"Subject": subject}, "", "")
    assert parsed(content)["Subject"] == subject
    assert max(len(line) for line in content.split(b"\r\n")) <= 998


@pytest.mark.parametrize("value", ["a\r\nBcc: b@example.org", "a\nb", "a\rb", "a\0"])
def test_a_header_cannot_start_another(value: str) -> None:
    with pytest.raises(ValueError, match="Subject"):
        compose({"Subject": value}, "", "")
    with pytest.raises(ValueError, match="control"):
        compose({value: "x"}, "", "")
