"""What all the formats are made of: numbers and base64 that can be written in one way alone."""

import base64
import binascii
import re

HASH_BYTES = 32
MAX_NUMBER = 2**63 - 1
_DECIMAL = re.compile(r"0|[1-9][0-9]{0,18}")


class Malformed(ValueError):
    """The text is not of the format, or could be written in another way; the message says where."""


def parse_number(text: str) -> int:
    """The number that ASCII decimal digits without leading zeros name, below 2^63; ``Malformed``."""
    if _DECIMAL.fullmatch(text) is None or int(text) > MAX_NUMBER:
        raise Malformed(f"not a number in decimal digits: {text[:40]!r}")
    return int(text)


def parse_base64(text: str) -> bytes:
    """The bytes in canonical standard base64 (RFC 4648, section 4); ``Malformed``."""
    try:
        value = base64.b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError) as error:
        raise Malformed(f"not base64: {text[:40]!r}") from error
    # Unused bits at the end can be set in several ways.
    if format_base64(value) != text:
        raise Malformed(f"not canonical base64: {text[:40]!r}")
    return value


def format_base64(value: bytes) -> str:
    """Standard base64 with padding."""
    return base64.b64encode(value).decode("ascii")


def parse_hash(text: str) -> bytes:
    """The 32 bytes of a SHA-256 hash in base64; ``Malformed``."""
    value = parse_base64(text)
    if len(value) != HASH_BYTES:
        raise Malformed(f"a hash of {len(value)} bytes")
    return value
