"""The only reader of randomness."""

import random
import secrets
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")

CODE_DIGITS = 6


def random_bytes(length: int) -> bytes:
    """``length`` bytes nobody can guess."""
    return secrets.token_bytes(length)


def new_sid() -> str:
    """An opaque 128-bit session ID in the alphabet ``[0-9a-zA-Z.=_-]``."""
    return secrets.token_urlsafe(16)


def new_token() -> str:
    """256 random bits, for access tokens and mailed validation tokens: 43 URL-safe characters."""
    return secrets.token_urlsafe(32)


def new_code() -> str:
    """Six random digits for a text message, few enough to type: whoever checks them counts the guesses."""
    return f"{secrets.randbelow(10**CODE_DIGITS):0{CODE_DIGITS}}"


def new_pepper() -> str:
    """A lookup pepper of 192 random bits, which no rainbow table covers."""
    return secrets.token_urlsafe(24)


def weighted_order(items: Sequence[T], weights: Sequence[int]) -> list[T]:
    """``items`` in a random order that favours the heavier ones (RFC 2782); guessing it gains nothing."""
    pool = list(zip(items, weights, strict=True))
    order: list[T] = []
    while pool:
        chosen = random.choices(range(len(pool)), weights=[weight + 1 for _, weight in pool])[0]
        order.append(pool.pop(chosen)[0])
    return order
