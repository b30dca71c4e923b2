"""Canonical JSON and the Ed25519 keys this server signs associations with."""

import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from signedjson.key import (
    encode_verify_key_base64,
    generate_signing_key,
    get_verify_key,
    read_signing_keys,
    write_signing_keys,
)
from signedjson.sign import sign_json
from signedjson.types import SigningKey
from unpaddedbase64 import decode_base64

from sydent_py.errors import NotFound
from sydent_py.files import KeyFileError, create_secret_file, read_secret_file

FIRST_KEY_VERSION = "0"


@dataclass(frozen=True)
class Signer:
    """The keys of this server under its name: the first one signs, all of them stay valid."""

    server_name: str
    keys: tuple[SigningKey, ...]

    def sign(self, content: Mapping[str, Any]) -> dict[str, Any]:
        """A copy of ``content`` with this server's signature (Appendices, "Signing JSON"). Integers only."""
        return sign_json(dict(content), self.server_name, self.keys[0])

    def public_key(self, key_id: str) -> str:
        """The unpadded base64 of the key named ``key_id`` (``ed25519:0``); ``NotFound`` for any other name."""
        for key in self.keys:
            if f"{key.alg}:{key.version}" == key_id:
                return encode_verify_key_base64(get_verify_key(key))
        raise NotFound("The public key was not found.")

    def owns(self, public_key: str) -> bool:
        """Whether ``public_key`` is one of this server's, in either base64 alphabet.

        A ``+`` that a client left unescaped in a query string arrives as a space.
        """
        try:
            wanted = decode_base64(public_key.replace(" ", "+"))
        except ValueError:
            return False
        return any(bytes(get_verify_key(key)) == wanted for key in self.keys)


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
