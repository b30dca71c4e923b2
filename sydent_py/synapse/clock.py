"""The only reader of time and of randomness in the companion module."""

import random
import secrets
import time

DAY_MS = 86_400_000
HOUR_MS = 3_600_000


def now_ms() -> int:
    """Milliseconds since the Unix epoch."""
    return time.time_ns() // 1_000_000


def monotonic_s() -> float:
    """Seconds that never jump, to measure a duration with."""
    return time.monotonic()


def new_request_id() -> str:
    """128 random bits in 32 hexadecimal digits: no two requests have the same."""
    return secrets.token_hex(16)


def fraction() -> float:
    """A number from 0 to 1, so that not all servers come back at once; guessing it gains nothing."""
    return random.random()  # noqa: S311
