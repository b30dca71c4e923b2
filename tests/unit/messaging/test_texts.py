"""The words of text messages."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sydent_py.messaging import texts
from sydent_py.settings import ConfigurationError, Settings
from sydent_py.sms_settings import Sms
from tests.fakes.handset import code_in

# ETSI TS 123 038, 6.2.1: the default alphabet; characters of the extension table count twice.
GSM_7 = set(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿"
    "abcdefghijklmnopqrstuvwxyzäöñüà"
)
SEGMENT = 160

CODE = "123456"


def built(**settings: object) -> texts.Texts:
    return texts.build(Sms(**settings), "id.example.org", "id.example.org")


@pytest.mark.parametrize("language", built().languages)
def test_every_message_fits_in_one_segment_of_seven_bits(language: str) -> None:
    message = built(service_name="s" * 30, webotp_host="h" * 30).write(CODE, language)
    assert set(message) <= GSM_7, set(message) - GSM_7
    assert len(message) <= SEGMENT
    assert code_in(message) == CODE


def test_there_are_eight_languages_and_the_default_is_first() -> None:
    assert built().languages == ("en", "de", "es", "fr", "it", "nl", "pl", "pt")
    assert built(language="nl").languages[0] == "nl"


NAMES = st.text(st.characters(exclude_categories=["C", "Zl", "Zp"], exclude_characters="{}"), max_size=40)


@given(NAMES, st.from_regex(r"[0-9]{6}", fullmatch=True), st.text(max_size=10))
def test_the_last_line_is_the_hosts_and_the_codes_whatever_the_service_is_called(
    service: str, code: str, language: str
) -> None:
    message = built(service_name=service).write(code, language)
    assert message.split("\n")[-1] == f"@id.example.org #{code}"
    assert message.startswith(code)


@pytest.mark.parametrize("wrong", ["a\n@evil.test #1", "{code}", "\u2028", "s" * 41])
def test_a_services_name_is_one_short_line(wrong: str) -> None:
    with pytest.raises(ValueError, match="service_name"):
        Sms(service_name=wrong)


@pytest.mark.parametrize(
    "wrong",
    [{"conversion_window": "2m"}, {"conversion_window": "0s"}, {"conversion_grace": "2d"}, {"breaker_open_for": "0s"}],
)
def test_times_that_would_switch_the_breakers_off_stop_the_start(wrong: dict[str, str]) -> None:
    with pytest.raises(ValueError, match="conversion_grace"):
        Sms(**wrong)


@pytest.mark.parametrize("wrong", ["", "no code", "{code} {code}", "{code}\n@evil.test #{service}"])
def test_an_operators_text_holds_the_code_once_and_no_line_for_browsers(wrong: str) -> None:
    with pytest.raises(ValueError, match="code"):
        Sms(texts={"en": wrong})


def test_a_language_without_a_text_stops_the_start() -> None:
    with pytest.raises(ConfigurationError, match=r"sms\.language.*'fi'"):
        built(language="fi")
    assert built(language="fi", texts={"fi": "{code} on koodisi."}).write(CODE, "xx").startswith("123456 on")


@pytest.mark.parametrize(
    ("sms", "said"),
    [
        ({"allowed_countries": ["UK"]}, "'UK' is not a country"),
        ({"allowed_countries": ["gb"]}, "'gb' is not a country"),
        ({"allowed_countries": ["XX"]}, "'XX' is not a country"),
        ({"senders": {"EU": "Brand"}}, "'EU' is not a country"),
        ({"senders": {"GB": "Much too long a brand"}}, "is no sender"),
        ({"twilio_from": "07400123456"}, "is no sender"),
        ({"twilio_from": "123456"}, "is no sender"),
        ({"provider": "twilio"}, "needs twilio_account_sid"),
        ({"provider": "twilio", "twilio_account_sid": "AC1"}, "twilio_auth_token_file"),
        (
            {"provider": "twilio", "twilio_account_sid": "AC1", "twilio_auth_token": "x", "allowed_countries": ["GB", "FR"], "senders": {"GB": "B"}},
            "nobody sends to FR",
        ),
        (
            {"provider": "twilio", "twilio_account_sid": "AC1", "twilio_auth_token": "x", "twilio_base_url": "http://evil.test"},
            "must start with https",
        ),
        ({"twilio_auth_token": "x", "twilio_auth_token_file": "/y"}, "not both"),
        ({"conversion_window": "1 day"}, "is not a duration"),
        ({"conversion_floor": 1.5}, "less than or equal to 1"),
        ({"webotp_host": "https://x"}, "is not a host name"),
    ],
)  # fmt: skip
def test_settings_that_cannot_work_stop_the_start(sms: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Settings(sms=sms)
