"""Times as an operator reads them."""

from datetime import UTC, datetime

_UNITS = ((86_400, "day"), (3600, "hour"), (60, "minute"), (1, "second"))


def moment(ms: int) -> str:
    """A time in ms since the epoch, which may be a stranger's, or tampered with, and out of range."""
    try:
        return f"{datetime.fromtimestamp(ms // 1000, UTC):%Y-%m-%d %H:%M:%S} UTC"
    except (ValueError, OverflowError, OSError):
        return f"{ms} ms after 1970"


def span(ms: int) -> str:
    """A duration, in its largest unit."""
    seconds = max(0, ms) // 1000
    size, unit = next(((size, unit) for size, unit in _UNITS if seconds >= size), _UNITS[-1])
    count = seconds // size
    return f"{count:,} {unit}{'' if count == 1 else 's'}"
