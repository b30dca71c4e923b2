"""Canonical JSON and the Ed25519 keys this server signs with."""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from signedjson.key import (
    decode_signing_key_base64,
    encode_verify_key_base64,
    generate_signing_key,
    get_verify_key,
    read_signing_keys,
    write_signing_keys,
)
from signedjson.sign import sign_json
from signedjson.types import SigningKey
from unpaddedbase64 import decode_base64, encode_base64

from sydent_py import tokens
from sydent_py.errors import NotFound
from sydent_py.files import KeyFileError, create_secret_file, read_secret_file

FIRST_KEY_VERSION = "0"
_KEY_BYTES = 32


@dataclass(frozen=True)
class Signer:
    """The keys of this server under its name: the first one signs, all of them stay valid."""

    server_name: str
    keys: tuple[SigningKey, ...]

    def sign(self, content: Mapping[str, Any], public_key: str | None = None) -> dict[str, Any]:
        """A copy of ``content`` with this server's signature (Appendices, "Signing JSON"). Integers only.

        ``public_key``, one of ``public_keys``, names another key than the first.
        """
        key = self.keys[0] if public_key is None else self.keys[self.public_keys.index(public_key)]
        return sign_json(dict(content), self.server_name, key)

    @property
    def key_id(self) -> str:
        """The name of the key that signs."""
        return self.key_ids[0]

    @cached_property
    def key_ids(self) -> tuple[str, ...]:
        """The name of every key, in the order of ``public_keys``."""
        return tuple(map(key_id_of, self.keys))

    @cached_property
    def public_keys(self) -> tuple[str, ...]:
        """The unpadded base64 of every key, the signing one first."""
        return tuple(encode_verify_key_base64(get_verify_key(key)) for key in self.keys)

    def public_key(self, key_id: str) -> str:
        """The unpadded base64 of the key named ``key_id`` (``ed25519:0``); ``NotFound`` for any other name."""
        for known_id, public_key in zip(self.key_ids, self.public_keys, strict=True):
            if known_id == key_id:
                return public_key
        raise NotFound("The public key was not found.")

    def owns(self, public_key: str) -> bool:
        """Whether ``public_key`` is one of this server's, in either base64 alphabet."""
        wanted = decode_bytes(public_key)
        return any(bytes(get_verify_key(key)) == wanted for key in self.keys)


@dataclass(frozen=True)
class EphemeralKey:
    """An Ed25519 key that is made for one invitation, and known to whoever has the mail."""

    seed: bytes

    @classmethod
    def new(cls) -> "EphemeralKey":
        """A key nobody has seen."""
        return cls(tokens.random_bytes(_KEY_BYTES))

    @classmethod
    def parse(cls, private_key: str) -> "EphemeralKey | None":
        """The key in ``private_key``, base64 in either alphabet; None for anything else."""
        seed = decode_bytes(private_key)
        return None if seed is None or len(seed) != _KEY_BYTES else cls(seed)

    @property
    def private_key(self) -> str:
        """The unpadded base64 of the seed, in the alphabet that URLs leave alone."""
        return encode_base64(self.seed, urlsafe=True)

    @property
    def public_key(self) -> bytes:
        """The 32 bytes that signatures are verified with."""
        return bytes(get_verify_key(self._signing_key))

    def sign(self, server_name: str, content: Mapping[str, Any]) -> dict[str, Any]:
        """A copy of ``content`` with this key's signature, in the name of ``server_name``."""
        return sign_json(dict(content), server_name, self._signing_key)

    @property
    def _signing_key(self) -> SigningKey:
        return decode_signing_key_base64("ed25519", "ephemeral", encode_base64(self.seed))


def key_id_of(key: SigningKey) -> str:
    """The name of a key in signatures: ``ed25519:0``."""
    return f"{key.alg}:{key.version}"


def decode_bytes(text: str) -> bytes | None:
    """The bytes in ``text``, base64 in either alphabet; None for anything else.

    A ``+`` that a client left unescaped in a query string arrives as a space.
    """
    try:
        return decode_base64(text.replace(" ", "+"))
    except ValueError:
        return None


def new_key_line(version: str) -> str:
    """A new key as a line of a key file."""
    line = io.StringIO()
    write_signing_keys(line, [generate_signing_key(version)])
    return line.getvalue()


def create_key_file(path: Path, version: str = FIRST_KEY_VERSION) -> None:
    """Write a new signing key to ``path``, readable by its owner alone; ``FileExistsError`` rather than touch a file."""
    create_secret_file(path, new_key_line(version))


def read_key_file(path: Path) -> tuple[SigningKey, ...]:
    """The keys in ``path``, one ``ed25519 VERSION BASE64SEED`` a line, the signing one first."""
    lines = [line for line in read_secret_file(path).splitlines() if line.strip()]
    try:
        keys = tuple(read_signing_keys(lines))
    except ValueError as error:
        raise KeyFileError(f"{path} is not a signing key file: each line must be 'ed25519 VERSION BASE64'.") from error
    if not keys:
        raise KeyFileError(f"{path} is empty. Create a key with: sydent-py generate-key")
    if len({key.version for key in keys}) != len(keys):
        raise KeyFileError(f"{path} has two keys of one version; every key needs its own.")
    return keys
