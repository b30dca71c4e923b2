"""Checkpoints of logs that are or were public, and cosignatures of their witnesses."""

from typing import Any

import pytest

from sydent_py.tlog import merkle, tiles
from sydent_py.tlog.checkpoint import Checkpoint, Unsigned, open_checkpoint
from sydent_py.tlog.cosignature import cosigned_at
from sydent_py.tlog.note import Note, VerifierKey
from sydent_py.tlog.text import format_base64
from tests.vectors.reading import private_key, read

VECTORS = read("checkpoints")
TESSERA = VECTORS["tessera"]
_SIGNATURE_BYTES = 64


@pytest.mark.parametrize("note", TESSERA["notes"])
def test_the_log_that_tessera_makes_of_its_entries_is_ours_byte_for_byte(note: str) -> None:
    key = private_key(TESSERA["private_key"])
    assert str(key.verifier_key) == TESSERA["verifier_key"]
    size = open_checkpoint(note.encode(), key.verifier_key).size
    grown = tiles.grow(0, [], [merkle.leaf_hash(entry.encode()) for entry in TESSERA["entries"][:size]])
    root = merkle.root(size, tiles.hashes_from(lambda level, _index: grown[level].hashes))
    assert str(key.sign(str(Checkpoint(key.name, size, root)))) == note


@pytest.mark.parametrize("vector", VECTORS["opened"])
def test_a_checkpoint_that_witnesses_have_cosigned(vector: dict[str, Any]) -> None:
    checkpoint = open_checkpoint(vector["note"].encode(), VerifierKey.parse(vector["verifier_key"]))
    assert checkpoint.size == vector["size"]
    note = Note.parse(vector["note"].encode())
    assert str(note) == vector["note"]
    other = Note(note.text.replace(str(checkpoint.size), "42"), note.signatures)
    for key in map(VerifierKey.parse, vector["cosigned_by"]):
        assert cosigned_at(note, key) == vector["cosigned_at"]
        assert cosigned_at(other, key) is None
    with pytest.raises(Unsigned):
        open_checkpoint(str(other).encode(), VerifierKey.parse(vector["verifier_key"]))


@pytest.mark.parametrize("vector", VECTORS["signed"], ids=lambda vector: vector["source"])
def test_checkpoints_of_go_s_checksum_database(vector: dict[str, Any]) -> None:
    note = Note.parse(vector["note"].encode())
    checkpoint = Checkpoint.parse(note.text)
    assert str(note) == vector["note"]
    assert note.is_signed_by(VerifierKey.parse(vector["verifier_key"]))
    assert (checkpoint.origin, checkpoint.size) == (vector["origin"], vector["size"])


@pytest.mark.parametrize("vector", VECTORS["read"])
def test_the_specification_s_example(vector: dict[str, Any]) -> None:
    note = Note.parse(vector["note"].encode())
    checkpoint = Checkpoint.parse(note.text)
    assert str(note) == vector["note"]
    assert str(checkpoint) == note.text
    assert (checkpoint.origin, checkpoint.size, format_base64(checkpoint.root), list(checkpoint.extensions)) == (
        vector["origin"], vector["size"], vector["root"], vector["extensions"],
    )  # fmt: skip
    log, witness = note.signatures
    assert [log.name, witness.name] == vector["signatures"]
    assert len(log.value) == _SIGNATURE_BYTES
    assert int.from_bytes(witness.value[:-_SIGNATURE_BYTES], "big") == vector["cosigned_at"]
