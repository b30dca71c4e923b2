"""Canonical JSON (Appendices, "Canonical JSON") and unpadded base64, with nothing but the standard library."""

import base64
import binascii
import json
from typing import Any

MAX_INTEGER = 2**53 - 1
MAX_DEPTH = 32


class NotCanonical(ValueError):
    """The value has no canonical JSON; the message says why."""


def encode(value: Any, max_depth: int = MAX_DEPTH) -> bytes:
    """The canonical JSON of ``value``; ``NotCanonical`` for floats, large integers, lone surrogates and deep nesting."""
    _check(value, max_depth)
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True, allow_nan=False).encode()
    except UnicodeEncodeError as error:
        raise NotCanonical("it holds text that is not Unicode") from error


def _check(value: Any, depth: int) -> None:
    if not isinstance(value, dict | list):
        _check_scalar(value)
        return
    if not depth:
        raise NotCanonical("it is nested too deeply")
    if isinstance(value, dict) and not all(isinstance(name, str) for name in value):
        raise NotCanonical("it has names that are no strings")
    for item in (*value, *value.values()) if isinstance(value, dict) else value:
        _check(item, depth - 1)


def _check_scalar(value: Any) -> None:
    if isinstance(value, str):
        if "\x00" in value:
            raise NotCanonical("it holds U+0000")
    elif value is not None and (not isinstance(value, int) or abs(value) > MAX_INTEGER):
        raise NotCanonical("its numbers must be integers of at most 53 bits")


def encode_base64(value: bytes) -> str:
    """Unpadded base64 (Appendices, "Unpadded Base64")."""
    return base64.b64encode(value).decode().rstrip("=")


def decode_base64(text: Any, size: int) -> bytes | None:
    """The ``size`` bytes that ``text`` is the unpadded base64 of; None for anything else, or another way to write them."""
    if not isinstance(text, str) or len(text) > 2 * size:
        return None
    try:
        value = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        return None
    return value if len(value) == size and encode_base64(value) == text else None
