"""Addresses in what people type."""

import re

_EMAIL = re.compile(r"[^\s@<>(),;:\"]{1,64}@[^\s@<>(),;:\"]{1,250}\.[^\s@<>(),;:\".]{2,63}")
_PHONE = re.compile(r"\+[0-9][0-9 ().-]{5,24}")
_NOT_DIGITS = re.compile(r"[^0-9]")


def address_in(term: object) -> tuple[str, str] | None:
    """Medium and address, where the whole of ``term`` is an email address, or a phone number with its country: ``+44 ...``.

    Whatever JSON holds may be searched for.
    """
    term = term.strip() if isinstance(term, str) else ""
    if _EMAIL.fullmatch(term):
        return "email", term.lower()
    if _PHONE.fullmatch(term):
        return "msisdn", _NOT_DIGITS.sub("", term)
    return None
