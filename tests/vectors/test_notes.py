"""Keys and notes that Go's checksum database, C2SP and others have published."""

from typing import Any

import pytest

from sydent_py.tlog.note import Note, VerifierKey
from sydent_py.tlog.text import Malformed
from tests.vectors.reading import private_key, read

VECTORS = read("notes")
KEYS = [vector["key"] for vector in VECTORS["verifier_keys"]]


@pytest.mark.parametrize("key", KEYS)
def test_verifier_keys(key: str) -> None:
    assert str(VerifierKey.parse(key)) == key


@pytest.mark.parametrize("vector", VECTORS["malformed_verifier_keys"], ids=lambda vector: vector["why"])
def test_what_is_no_verifier_key(vector: dict[str, str]) -> None:
    with pytest.raises(Malformed):
        VerifierKey.parse(vector["key"])


@pytest.mark.parametrize("vector", VECTORS["private_keys"])
def test_a_published_private_key_gives_the_published_note_byte_for_byte(vector: dict[str, str]) -> None:
    key = private_key(vector["private_key"])
    assert str(key.verifier_key) == vector["verifier_key"]
    assert str(key.sign(vector["text"])) == vector["note"]


@pytest.mark.parametrize("vector", VECTORS["notes"], ids=lambda vector: vector["source"])
def test_notes(vector: dict[str, Any]) -> None:
    note = Note.parse(vector["note"].encode())
    assert str(note) == vector["note"]
    assert note.text == vector["text"]
    assert [key for key in KEYS if note.is_signed_by(VerifierKey.parse(key))] == vector["signed_by"]


@pytest.mark.parametrize("vector", VECTORS["malformed_notes"])
def test_what_is_no_note(vector: dict[str, str]) -> None:
    with pytest.raises(Malformed):
        Note.parse(vector["latin1"].encode("latin-1"))
