"""The vectors beside the tests; each file says where its own are from."""

import base64
import json
from pathlib import Path
from typing import Any

from sydent_py.tlog.note import SigningKey

DIRECTORY = Path(__file__).parent


def read(name: str) -> Any:
    return json.loads((DIRECTORY / f"{name}.json").read_text())


def from_hex(values: list[str]) -> list[bytes]:
    return list(map(bytes.fromhex, values))


def from_base64(values: list[str]) -> list[bytes]:
    return list(map(base64.b64decode, values))


def private_key(text: str) -> SigningKey:
    """A key as Go's tools write it: ``PRIVATE+KEY+<name>+<key ID>+<base64 of type and seed>``."""
    name, _, encoded = text.removeprefix("PRIVATE+KEY+").split("+", 2)
    return SigningKey(name, base64.b64decode(encoded)[1:])
