"""JSON from outside, parsed once and strictly: what passes here can be stored, signed and compared."""

import json
import re
from typing import Any, NoReturn

from sydent_py.errors import BadJson, NotJson

MAX_DEPTH = 32
MAX_INTEGER = 2**53 - 1

# An unterminated string matches up to the end of the body, so that no input makes the scan start over.
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)', re.DOTALL)
_NO_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_SURROGATE = re.compile("[\ud800-\udfff]")
_MAX_INTEGER_DIGITS = 17


def parse_object(body: bytes) -> dict[str, Any]:
    """The JSON object in ``body``.

    Raises ``NotJson`` for anything but JSON in UTF-8, and ``BadJson`` for a value that is not an object or that holds
    duplicate keys, lone surrogates, U+0000, integers beyond +-(2^53-1), or more than 32 levels of nesting.
    """
    value = parse(body)
    if not isinstance(value, dict):
        raise BadJson
    return value


def parse(body: bytes) -> Any:
    """The JSON value in ``body``, under the rules of ``parse_object``."""
    _refuse_deep_nesting(body)
    try:
        value = _DECODER.decode(body.decode("utf-8"))
        if b"\\u" in body:
            _refuse_unstorable_text(value)
    except (ValueError, RecursionError) as error:
        raise NotJson from error
    return value


def _refuse_deep_nesting(body: bytes) -> None:
    """Nesting is measured before parsing, because the parser recurses; few brackets cannot nest deeply."""
    if body.count(b"[") + body.count(b"{") <= MAX_DEPTH:
        return
    depth = 0
    for byte in _STRING.sub(b"", body).translate(None, _NO_BRACKETS):
        if byte in b"[{":
            depth += 1
            if depth > MAX_DEPTH:
                raise BadJson("The request body is nested too deeply.")
        else:
            depth -= 1


def _refuse_unstorable_text(value: Any) -> None:
    """Escapes can spell what UTF-8 cannot hold (lone surrogates) and what PostgreSQL does not store (U+0000)."""
    if isinstance(value, str):
        if "\x00" in value or _SURROGATE.search(value):
            raise BadJson("The request body holds characters that cannot be stored.")
    elif isinstance(value, dict):
        for key, item in value.items():
            _refuse_unstorable_text(key)
            _refuse_unstorable_text(item)
    elif isinstance(value, list):
        for item in value:
            _refuse_unstorable_text(item)


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise BadJson("The request body gives a key twice.")
    return value


def _safe_integer(digits: str) -> int:
    if len(digits) > _MAX_INTEGER_DIGITS or abs(value := int(digits)) > MAX_INTEGER:
        raise BadJson("The request body holds a number that is out of range.")
    return value


def _finite_float(digits: str) -> float:
    value = float(digits)
    if value in {float("inf"), float("-inf")}:
        raise BadJson("The request body holds a number that is out of range.")
    return value


def _no_constant(name: str) -> NoReturn:
    raise ValueError(name)


_DECODER = json.JSONDecoder(
    object_pairs_hook=_unique_keys, parse_int=_safe_integer, parse_float=_finite_float, parse_constant=_no_constant
)
