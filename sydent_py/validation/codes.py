"""The code in a text message: few digits, so that it is stored under a key and for one session alone."""

from sydent_py.sealing import Sealer

# How long a code may be entered after it was sent.
CODE_LIFETIME_MS = 15 * 60_000


def hash_code(sealer: Sealer, sid: str, code: str) -> bytes:
    """How the code of session ``sid`` is stored. Without the key nobody can try the million codes there are."""
    return sealer.index("validation_sessions.code", sid, code)
