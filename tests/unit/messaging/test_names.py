import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sydent_py.messaging.names import neutral, unlinked

# What hides, what mail clients make links of, and what only looks like it.
PIECES = [*"./\\:@。．｡․＠-()+ \n\t…'\"<>[]~,;ü中ب1😀", "\u200b", "\u202e", "\u2066", "\u0301", "\ufe0f", "\u3164", "\ue000"]
PIECES += [
    "www.",
    "evil",
    "example",
    "https://",
    "mailto:",
    "ftp",
    "800",
    "555",
    "0100",
    "\U0001f1e9\U0001f1ea",
    "👩‍👩‍👧",
    "👍🏽",
]
NAMES = st.one_of(st.text(), st.lists(st.sampled_from(PIECES), max_size=40).map("".join))
# Wider than what any client takes for a link.
LINKS = re.compile(
    r"www[.。．｡․]\S|[^\s.][.。．｡․][^\W_]|\S[@＠]|[@＠]\S|//|\\\\|[a-z][a-z0-9+-]*:[^\s:()\d]"
    r"|\d(?:[\s().\[\]/~\u2010-\u2015\u2212-]{0,4}\d){6,}",
    re.IGNORECASE,
)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("Alice", "Alice"),
        ("St. Mary's: Tuesdays, 10:30 :)", "St. Mary's: Tuesdays, 10:30 :)"),
        ("Wait... what? TCP/IP & C++ @ home", "Wait... what? TCP/IP & C++ @ home"),
        ("Größe 中文 שלום हिन्दी ไทย", "Größe 中文 שלום हिन्दी ไทย"),
        ("👍🏽 🇩🇪 1️⃣ ❤️", "👍🏽 🇩🇪 1️⃣ ❤️"),
        ("Cafe\u0301", "Café"),
        ("Node.js v1.2", "Node·js v1·2"),
        ("www.evil.example", "www·evil·example"),
        ("WWW..evil", "WWW·evil"),
        ("evil.example/x?y=z", "evil·example/x?y=z"),
        ("https://evil.example/x", "https: /evil·example/x"),
        ("https://localhost", "https: /localhost"),
        ("HTTPS:\\\\evil.example", "HTTPS: /evil·example"),
        ("//evil.example", "/evil·example"),
        ("\\\\evil\\share", "/evil\\share"),
        ("evil。example．com", "evil·example·com"),
        ("evil.。example", "evil··example"),
        ("evil\u200b.\u2060example", "evil·example"),
        ("😀.ws", "😀·ws"),
        ("web3:evil", "web3: evil"),
        ("192.0.2.1:8080", "192·0·2·1:8080"),
        ("a@b.c", "a(at)b·c"),
        ("mailto:a＠b.c", "mailto: a(at)b·c"),
        ("@user:evil.example", "(at)user: evil·example"),
        ("#room:evil.example", "#room: evil·example"),
        ("+1 (800) 555-0100", "+1 · 800 · 555·0100"),
        ("call 18005550100", "call 1800·5550·100"),
        ("tel:+1.800.555.0100", "tel: +1·800·555·0100"),
        ("٠٨٠٠٥٥٥٠١٠٠", "٠٨٠٠·٥٥٥٠·١٠٠"),
        ("Season 2025/26, 1,234 guests", "Season 2025/26, 1,234 guests"),
    ],
)
def test_a_name_can_be_read_and_not_clicked(name: str, shown: str) -> None:
    assert neutral(name, 80) == shown


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("Alice\r\n\r\nBcc: x\0\x7f", "Alice Bcc: x"),
        (" \t a \u00a0\u2003\u2028 b \u3000", "a b"),
        ("\u202eecila\u2066\u200f", "ecila"),
        ("a\u200b\u200d\ufeff\u00ad\u2060\U000e0041b", "ab"),
        ("a\ud800\ue000\U000f0000\uffff\U000e0100b", "ab"),
        ("\u3164\u2800\u115f", ""),
        ("\u200b\u202e", ""),
        ("\u0301\u0301", ""),
        ("", ""),
        ("Z\u0300\u0301\u0302\u0303\u0304\u0305a", "Z\u0300\u0301\u0302a"),
        ("\u0301a \u0301b", "a b"),
    ],
)
def test_nothing_hides_in_a_name(name: str, shown: str) -> None:
    assert neutral(name, 80) == shown


@pytest.mark.parametrize(
    ("name", "most", "shown"),
    [
        ("abcdef", 6, "abcdef"),
        ("abcdefg", 6, "abcde…"),
        ("abc, defgh", 5, "abc,…"),
        ("abc: defgh", 5, "abc…"),
        ("abcdz\u0302\u0323\u0332fgh", 6, "abcd…"),
        ("abcd👍🏽fgh", 6, "abcd…"),
        ("ab🇩🇪🇫🇷🇮🇹", 5, "ab🇩🇪…"),
        ("ab🇩🇪🇫🇷🇮🇹", 6, "ab🇩🇪…"),
        ("abc", 1, "…"),
        ("x" * 2_000_000, 80, "x" * 79 + "…"),
    ],
)
def test_a_long_name_ends_between_two_characters(name: str, most: int, shown: str) -> None:
    assert neutral(name, most) == shown


@given(NAMES, st.integers(1, 100))
def test_whatever_the_name_it_is_one_short_visible_line(name: str, most: int) -> None:
    shown = neutral(name, most)
    assert len(shown) <= most
    assert shown == shown.strip()
    assert "  " not in shown
    assert not {unicodedata.category(character) for character in shown} & {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
    marks = "".join("m" if unicodedata.category(character).startswith("M") else "-" for character in shown)
    assert not marks.startswith("m")
    assert "mmmm" not in marks


@given(NAMES, st.integers(1, 100))
def test_whatever_the_name_nothing_in_it_is_a_link(name: str, most: int) -> None:
    assert LINKS.search(neutral(name, most)) is None


@pytest.mark.parametrize("matrix_id", ["@alice:example.org", "#walks:example.org:8448", "@john.doe=40x.org:[2001:db8::1]"])
def test_a_matrix_id_stands_in_plain_text_as_it_is(matrix_id: str) -> None:
    assert unlinked(matrix_id) == matrix_id


@pytest.mark.parametrize(
    ("matrix_id", "shown"),
    [
        ("@www.evil.example/claim:evil.example", "(at)www·evil·example/claim: evil·example"),
        ("@www.evil.example:evil.example", "(at)www·evil·example: evil·example"),
        ("@//evil.example:example.org", "(at)/evil·example: example·org"),
        ("#\u202eroom\n:example.org", "#room :example·org"),
        ("", ""),
    ],
)
def test_a_matrix_id_that_holds_more_than_a_servers_name_is_made_harmless(matrix_id: str, shown: str) -> None:
    assert unlinked(matrix_id) == shown


@given(st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters=":"), min_size=1, max_size=240))
def test_a_matrix_id_is_never_cut(localpart: str) -> None:
    assert "…" not in unlinked(f"@{localpart}:example.org")
