"""The grammar of phone numbers."""

import phonenumbers
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from phonenumbers import PhoneNumberType

from sydent_py.errors import InvalidParam, InvalidPhoneNumber
from sydent_py.identifiers import ThreePid
from sydent_py.phone_numbers import COUNTRIES, PhoneNumber

countries = st.sampled_from(sorted(COUNTRIES))


@st.composite
def mobile_numbers(draw: st.DrawFn) -> phonenumbers.PhoneNumber:
    """A valid mobile number of some country: its example with other last digits."""
    example = phonenumbers.example_number_for_type(draw(countries), PhoneNumberType.MOBILE)
    example = example or phonenumbers.example_number("GB")  # a few islands have no mobile numbers
    assert example is not None
    last = draw(st.integers(0, 9999))
    example.national_number = example.national_number // 10_000 * 10_000 + last
    return example if phonenumbers.is_valid_number(example) else phonenumbers.example_number("GB")


# The library reads what it knows of a country when it is first asked, which takes a while.
@settings(deadline=None)
@given(st.text(max_size=45), st.text(max_size=3))
def test_any_text_is_a_number_or_refused(text: str, country: str) -> None:
    try:
        number = PhoneNumber.parse(text, country)
    except (InvalidPhoneNumber, InvalidParam):
        return
    assert_canonical(number)


@settings(deadline=None)
@given(st.text("0123456789+-(). /", max_size=25), countries)
def test_any_digits_are_a_number_or_refused(text: str, country: str) -> None:
    try:
        number = PhoneNumber.parse(text, country)
    except InvalidPhoneNumber:
        return
    assert_canonical(number)


def assert_canonical(number: PhoneNumber) -> None:
    """ASCII digits of E.164, which are their own canonical form wherever they are dialled."""
    assert number.digits.isascii()
    assert number.digits.isdigit()
    assert 5 <= len(number.digits) <= 15
    assert number.digits[0] != "0"
    for country in ("", "GB", "US", "IT"):
        assert PhoneNumber.parse(f"+{number.digits}", country) == number
    assert ThreePid.parse("msisdn", number.digits) == ThreePid.phone(number) == ThreePid("msisdn", number.digits)
    assert number.country == "001" or number.country in COUNTRIES
    assert number.digits.startswith(number.prefix)
    assert len(number.digits) - len(number.prefix) == 4


@settings(deadline=None)
@given(mobile_numbers(), st.sampled_from(["NATIONAL", "INTERNATIONAL", "E164"]))
def test_every_spelling_of_a_number_is_one_number(number: phonenumbers.PhoneNumber, style: str) -> None:
    country = phonenumbers.region_code_for_number(number)
    assert country is not None
    typed = phonenumbers.format_number(number, getattr(phonenumbers.PhoneNumberFormat, style))
    canonical = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    assert f"+{PhoneNumber.parse(typed, country).digits}" == canonical
    assert PhoneNumber.parse(canonical).country == country


@settings(deadline=None)
@given(mobile_numbers(), st.sampled_from("abcXYZ;#*,~\n\t\u00a0\u0660\uff10\u200e"), st.integers(0, 20))
def test_nothing_but_digits_and_separators_is_read(number: phonenumbers.PhoneNumber, stranger: str, at: int) -> None:
    typed = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.INTERNATIONAL)
    with pytest.raises(InvalidPhoneNumber):
        PhoneNumber.parse(typed[:at] + stranger + typed[at:], "GB")


@pytest.mark.parametrize(
    ("typed", "digits", "country"),
    [
        ("+39 02 1234 5678", "390212345678", "IT"),  # a leading zero that belongs to the number
        ("+39 06 698 12345", "390669812345", "VA"),
        ("+7 701 234 5678", "77012345678", "KZ"),
        ("+7 912 345 6789", "79123456789", "RU"),
        ("+44 7797 712345", "447797712345", "JE"),
        ("+44 7624 494094", "447624494094", "IM"),
        ("+1 868 291 1234", "18682911234", "TT"),
        ("+1 506 234 5678", "15062345678", "CA"),
        ("+54 9 11 2345 6789", "5491123456789", "AR"),
    ],
)
def test_numbers_of_shared_codes_are_of_their_own_country(typed: str, digits: str, country: str) -> None:
    number = PhoneNumber.parse(typed, "US")
    assert (number.digits, number.country) == (digits, country)


def test_a_long_text_is_refused_without_being_read() -> None:
    with pytest.raises(InvalidPhoneNumber):
        PhoneNumber.parse("+" + "4" * 1_000_000)
