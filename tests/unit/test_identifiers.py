import pytest
from hypothesis import given
from hypothesis import strategies as st

from sydent_py import identifiers
from sydent_py.errors import InvalidEmail, InvalidParam
from sydent_py.identifiers import ServerName, ThreePid, UserId


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("example.org", "example.org", None),
        ("Example.ORG:8448", "Example.ORG", 8448),
        ("localhost", "localhost", None),
        ("1.2.3.4:80", "1.2.3.4", 80),
        ("[::1]", "[::1]", None),
        ("[2001:db8::1]:65535", "[2001:db8::1]", 65535),
        ("1a.example", "1a.example", None),
        ("xn--strae-oqa.de", "xn--strae-oqa.de", None),
    ],
)
def test_server_names(text: str, host: str, port: int | None) -> None:
    name = ServerName.parse(text)
    assert (name.text, name.host, name.port) == (text, host, port)
    assert (name.ip is not None) == (host[0] in "[1" and not host.startswith("1a"))


@pytest.mark.parametrize(
    "text",
    ["", ":", "a:", "a:0", "a:65536", "a:-1", "a:1:2", "a/b", "a b", "a_b", "a..b", ".a", "a.", "-a", "a-", "127.1", "2130706433", "0", "0x7f.1",
     "1.2.3.4.5", "256.1.1.1", "[::1", "::1", "[::1%eth0]", "[1.2.3.4]", "user@host", "ｅxample.org", "exämple.org", "a\n", "１.2.3.4", "a:８0",
     "a" * 64, "a." * 128 + "org", "[]", "[:]"],
)  # fmt: skip
def test_what_is_no_server_name(text: str) -> None:
    with pytest.raises(InvalidParam):
        ServerName.parse(text)


@given(st.text(max_size=80))
def test_any_text_is_a_server_name_or_refused(text: str) -> None:
    try:
        name = ServerName.parse(text)
    except InvalidParam:
        return
    assert name.text == text
    assert text.isascii()


@pytest.mark.parametrize("text", ["@alice:example.org", "@a:b", "@A_b=c/d.e-f+g:[::1]:1", "@!weird~:h", f"@{'a' * 250}:bcd"])
def test_user_ids(text: str) -> None:
    assert str(UserId.parse(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "@",
        "@:h",
        "alice:h",
        "@alice",
        "@alice:",
        "@al ice:h",
        "@alice:h/",
        "@ü:h",
        "@a\x00:h",
        "#a:h",
        f"@{'a' * 255}:h",
        "@a:h\n",
    ],
)
def test_what_is_no_user_id(text: str) -> None:
    with pytest.raises(InvalidParam):
        UserId.parse(text)


def test_the_server_of_a_user_is_everything_after_the_first_colon() -> None:
    assert UserId.parse("@alice:example.org:8448").server.text == "example.org:8448"


@given(st.text(max_size=40), st.text(max_size=40))
def test_a_canonical_email_address_is_one_ascii_address_and_its_own_canonical_form(local: str, domain: str) -> None:
    try:
        threepid = ThreePid.email(f"{local}@{domain}")
    except InvalidEmail:
        return
    address = threepid.address
    assert address.isascii()
    assert address.count("@") == 1
    assert not set(address) & set(' \t\r\n<>,;:"()[]\\\x00')
    assert {ThreePid.email(spelling) for spelling in threepid.spellings} == {threepid}


@given(st.text("äöüéèßñçøåαβγжшщ日本語", min_size=1, max_size=8))
def test_a_domain_in_unicode_has_two_spellings_of_one_address(label: str) -> None:
    threepid = ThreePid.email(f"a@{label}.example.org")
    assert threepid.spellings == (threepid.address, f"a@{label}.example.org")
    assert {ThreePid.email(spelling) for spelling in threepid.spellings} == {threepid}


@given(st.from_regex(r"[a-z0-9]{1,10}(\.[a-z0-9]{1,10})?", fullmatch=True), st.data())
def test_case_makes_no_other_address(local: str, data: st.DataObject) -> None:
    address = f"{local}@example.org"
    typed = "".join(character.upper() if data.draw(st.booleans()) else character for character in address)
    assert ThreePid.email(typed).address == address


def test_sharp_s_and_ss_are_two_domains_and_one_local_part() -> None:
    assert ThreePid.email("a@straße.de") != ThreePid.email("a@strasse.de")
    assert ThreePid.email("Strauß@example.com") == ThreePid.email("strauss@example.com")


def test_media_this_server_does_not_know_are_refused() -> None:
    with pytest.raises(InvalidParam):
        ThreePid.parse("carrier-pigeon", "x")


@given(st.from_regex(identifiers._PLAIN_EMAIL, fullmatch=True))
def test_an_address_that_looks_plain_is_what_the_library_makes_of_it(text: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(identifiers, "_MAX_PLAIN_CHARACTERS", 0)
        try:
            expected: ThreePid | None = ThreePid.email(text)
        except InvalidEmail:
            expected = None
    try:
        assert ThreePid.email(text) == expected
    except InvalidEmail:
        assert expected is None
