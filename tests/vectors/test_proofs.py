"""Proofs that others' logs have given."""

from typing import Any

import pytest

from sydent_py.tlog import merkle
from sydent_py.tlog.checkpoint import Checkpoint
from sydent_py.tlog.note import VerifierKey
from sydent_py.tlog.proof import Proof
from sydent_py.tlog.text import Malformed
from tests.vectors.reading import from_base64, read

VECTORS = read("proofs")


@pytest.mark.parametrize("vector", VECTORS["texts"] + VECTORS["read"], ids=lambda vector: vector["source"])
def test_proofs_are_read_and_written(vector: dict[str, Any]) -> None:
    proof = Proof.parse(vector["proof"].encode())
    assert str(proof) == vector["proof"]
    assert (proof.index, Checkpoint.parse(proof.checkpoint.text).size) == (vector["index"], vector["size"])


@pytest.mark.parametrize("vector", VECTORS["texts"], ids=lambda vector: vector["source"])
def test_an_entry_is_in_the_log(vector: dict[str, Any]) -> None:
    proof, key = Proof.parse(vector["proof"].encode()), VerifierKey.parse(vector["verifier_key"])
    assert proof.proves(vector["entry"].encode(), key)
    assert not proof.proves(vector["entry"].encode() + b"\n", key)


@pytest.mark.parametrize("vector", VECTORS["paths"], ids=lambda vector: vector["source"])
def test_a_path_leads_to_the_root(vector: dict[str, Any]) -> None:
    leaf, (root,) = merkle.leaf_hash(vector["entry"].encode()), from_base64([vector["root"]])
    assert merkle.proves_inclusion(leaf, vector["index"], vector["size"], from_base64(vector["path"]), root)


@pytest.mark.parametrize("vector", VECTORS["malformed"])
def test_what_is_no_proof(vector: dict[str, str]) -> None:
    good = VECTORS["read"][0]["proof"].partition("\n\n")[2]
    for checkpoint in (good, "checkpoint\n"):
        with pytest.raises(Malformed):
            Proof.parse(f"{vector['head']}\n{checkpoint}".encode())
