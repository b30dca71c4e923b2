"""Phone numbers: their grammar, their one canonical form, and the destination that a text message to one has."""

import re
from dataclasses import dataclass
from functools import lru_cache

import phonenumbers
from phonenumbers import NumberParseException, PhoneNumberFormat, PhoneNumberType

from sydent_py.errors import InvalidParam, InvalidPhoneNumber

# Digits of other scripts, letters ("1-800-FLOWERS"), extensions ("#12", ";ext=12") and pauses are read by the library;
# here they mean that what was typed is not the number of a phone that reads text messages.
_TYPED = re.compile(r"\+?[0-9 ()./-]{3,40}", re.ASCII)
_COUNTRY = re.compile(r"[A-Za-z]{2}", re.ASCII)
_TEXTED_TYPES = frozenset({PhoneNumberType.MOBILE, PhoneNumberType.FIXED_LINE_OR_MOBILE})
_DIGITS_OF_A_BLOCK = 4

COUNTRIES: frozenset[str] = frozenset(phonenumbers.SUPPORTED_REGIONS)
"""Every country that has phone numbers, as ISO 3166-1 alpha-2."""


@dataclass(frozen=True, slots=True)
class PhoneNumber:
    """A valid phone number.

    ``digits`` is its canonical form, E.164 without ``+``; ``country`` the one whose numbering plan it belongs to, which
    for a shared code such as +1, +7 or +44 is more than the code says; ``international`` is for people to read.
    """

    digits: str
    country: str
    is_texted: bool
    international: str

    @classmethod
    def parse(cls, text: str, country: str = "") -> "PhoneNumber":
        """The number in ``text``, read as if it were dialled in ``country``; ``InvalidPhoneNumber`` for anything else.

        A number that begins with ``+`` needs no country. ``InvalidParam`` where one is needed and ``country`` is none.
        """
        typed, region = text.strip(" "), country.upper()
        if not _TYPED.fullmatch(typed):
            raise InvalidPhoneNumber
        if not typed.startswith("+") and (not _COUNTRY.fullmatch(country) or region not in COUNTRIES):
            raise InvalidParam("country must be the two letters of a country, such as GB.")
        number = _read(typed, region)
        if number is None:
            raise InvalidPhoneNumber
        return number

    @property
    def prefix(self) -> str:
        """The number without its last four digits: what it shares with the ten thousand numbers of its block."""
        return self.digits[:-_DIGITS_OF_A_BLOCK]


@lru_cache(maxsize=1024)
def _read(typed: str, region: str) -> PhoneNumber | None:
    """The number, where it is valid and its canonical form is its own canonical form."""
    try:
        number = phonenumbers.parse(typed, region or None)
        canonical = phonenumbers.format_number(number, PhoneNumberFormat.E164)
        stable = phonenumbers.format_number(phonenumbers.parse(canonical, None), PhoneNumberFormat.E164) == canonical
    except NumberParseException:
        return None
    country = phonenumbers.region_code_for_number(number)
    if not stable or number.extension or country is None or not phonenumbers.is_valid_number(number):
        return None
    is_texted = phonenumbers.number_type(number) in _TEXTED_TYPES
    international = phonenumbers.format_number(number, PhoneNumberFormat.INTERNATIONAL)
    return PhoneNumber(canonical.removeprefix("+"), country, is_texted, international)
