"""Secrets at rest: values sealed with a key that the database does not hold, and keyed indexes to find them by."""

import base64
import hashlib
from collections.abc import Iterable
from pathlib import Path

from nacl.exceptions import CryptoError
from nacl.secret import Aead

from sydent_py import tokens
from sydent_py.files import KeyFileError, create_secret_file, read_secret_file

KEY_BYTES = 32
INDEX_BYTES = 16
_VERSION = b"\x01"


class SealBroken(Exception):
    """The value was sealed with another key, for another purpose, or was changed."""


class Sealer:
    """Seals and indexes with subkeys of one 32-byte key.

    Whoever has the database without the key can neither read an address nor try all addresses: every index is BLAKE2b
    keyed with a subkey. Subkeys are apart by purpose, so that no two tables can be joined on their index.
    """

    def __init__(self, key: bytes) -> None:
        self._aead = Aead(_subkey(key, b"seal"))
        self._index_key = _subkey(key, b"index")
        self._lookup = hashlib.blake2b(key=_subkey(key, b"lookup"), digest_size=INDEX_BYTES)

    def seal(self, value: str, purpose: str) -> bytes:
        """``value`` encrypted and authenticated, together with what it is for (``table.column``)."""
        return _VERSION + self._aead.encrypt(value.encode(), purpose.encode())

    def unseal(self, sealed: bytes, purpose: str) -> str:
        """The value behind ``sealed``; ``SealBroken`` if key, purpose or content do not fit."""
        if sealed[:1] != _VERSION:
            raise SealBroken(purpose)
        try:
            return self._aead.decrypt(sealed[1:], purpose.encode()).decode()
        except CryptoError as error:
            raise SealBroken(purpose) from error

    def seal_link(self, value: str, purpose: str) -> str:
        """``value`` sealed as a word that a URL can hold."""
        return base64.urlsafe_b64encode(self.seal(value, purpose)).decode().rstrip("=")

    def unseal_link(self, word: str, purpose: str) -> str:
        """The value behind a word of ``seal_link``; ``SealBroken`` for any other word."""
        try:
            sealed = base64.b64decode(word + "=" * (-len(word) % 4), altchars=b"-_", validate=True)
        except ValueError as error:
            raise SealBroken(purpose) from error
        return self.unseal(sealed, purpose)

    def index(self, purpose: str, *parts: str) -> bytes:
        """16 bytes that find ``parts`` again under this key and purpose, and tell nothing without it."""
        framed = b"".join(len(part).to_bytes(4, "big") + part for part in (text.encode() for text in (purpose, *parts)))
        return hashlib.blake2b(framed, key=self._index_key, digest_size=INDEX_BYTES).digest()

    def pseudonym(self, text: str) -> str:
        """Eight hex digits that stand for ``text`` in a log: the same each time, and no way back."""
        return self.index("pseudonym", text)[:4].hex()

    def lookup_keys(self, hashes: Iterable[str]) -> list[bytes]:
        """The primary key in the lookup table of every hash a client sends, in order.

        Copying the keyed state costs half of keying anew, and a lookup does this ten thousand times.
        """
        keyed_copy = self._lookup.copy
        keys = []
        for text in hashes:
            state = keyed_copy()
            state.update(text.encode())
            keys.append(state.digest())
        return keys


def _subkey(key: bytes, purpose: bytes) -> bytes:
    return hashlib.blake2b(purpose, key=key, digest_size=KEY_BYTES).digest()


def create_key_file(path: Path) -> None:
    """Write a new sealing key to ``path``, readable by its owner alone; ``FileExistsError`` rather than touch a file."""
    create_secret_file(path, f"{tokens.random_bytes(KEY_BYTES).hex()}\n")


def read_key_file(path: Path) -> bytes:
    """The 32 bytes in ``path``, written as hexadecimal; ``KeyFileError`` otherwise."""
    try:
        key = bytes.fromhex(read_secret_file(path).strip())
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise KeyFileError(f"{path} is not a sealing key: it must hold {2 * KEY_BYTES} hexadecimal digits.")
    return key


def hash_token(token: str) -> bytes:
    """How a token of 256 random bits is stored: nothing shorter may be hashed without a key."""
    return hashlib.sha256(token.encode()).digest()
