"""Proofs in one text: one spelling, and nothing shown but what the log has signed."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sydent_py.tlog import merkle
from sydent_py.tlog.checkpoint import Checkpoint, Unsigned
from sydent_py.tlog.cosignature import WitnessKey
from sydent_py.tlog.note import Note, SigningKey
from sydent_py.tlog.proof import MAX_HASHES, Proof
from sydent_py.tlog.text import Malformed, format_base64
from tests.unit.tlog import rfc6962
from tests.unit.tlog.fuzzing import assert_canonical_bytes, assert_refused, changes_of_one_character, nearly_bytes
from tests.unit.tlog.strategies import PROOFS

KEY = SigningKey("example.com/log", bytes(32))
ENTRIES = [f"entry {number}".encode() for number in range(300)]
HASH = format_base64(hashlib.sha256(b"hash").digest())


def proof_of(index: int, size: int, extra: bytes | None = None) -> Proof:
    checkpoint = KEY.sign(str(Checkpoint(KEY.name, size, rfc6962.mth(ENTRIES[:size]))))
    return Proof(index, tuple(rfc6962.path(index, ENTRIES[:size])), checkpoint, extra)


PROOF = proof_of(5, 8, b"any bytes")
HEADER, EXTRA, INDEX, *PATH = str(PROOF).partition("\n\n")[0].split("\n")
CHECKPOINT = str(PROOF.checkpoint)


def text(*head: str, checkpoint: str = CHECKPOINT) -> bytes:
    return ("\n".join([*head, "", checkpoint])).encode()


@given(PROOFS)
def test_a_proof_comes_back_as_it_was_written(proof: Proof) -> None:
    assert Proof.parse(str(proof).encode()) == proof


@given(st.binary(max_size=80) | nearly_bytes(PROOFS.map(str)) | nearly_bytes(st.just(str(PROOF))))
def test_any_bytes_are_a_proof_in_its_one_spelling_or_malformed(encoded: bytes) -> None:
    assert_canonical_bytes(Proof.parse, encoded)


def test_what_a_proof_looks_like() -> None:
    assert (HEADER, EXTRA, INDEX) == ("c2sp.org/tlog-proof@v1", "extra YW55IGJ5dGVz", "index 5")
    assert len(PATH) == 3
    assert text(HEADER, EXTRA, INDEX, *PATH) == str(PROOF).encode()
    assert Proof.parse(text(HEADER, INDEX, *PATH)).extra is None


@pytest.mark.parametrize("encoded", [
    b"", b"\n", b"\n\n", HEADER.encode(), f"{HEADER}\n".encode(), f"{HEADER}\n\n".encode(), CHECKPOINT.encode(),
    text(HEADER), text(INDEX, *PATH), text(HEADER, *PATH), text(HEADER, EXTRA), text(HEADER, EXTRA, *PATH),
    text("", HEADER, INDEX, *PATH), text(HEADER, "", INDEX, *PATH), text(INDEX, HEADER, *PATH),
    text(f"{HEADER} ", INDEX, *PATH), text(f" {HEADER}", INDEX, *PATH), text(HEADER.upper(), INDEX, *PATH), text("c2sp.org/tlog-proof@v2", INDEX, *PATH),
    text("c2sp.org/tlog-proof", INDEX, *PATH), text(f"\ufeff{HEADER}", INDEX, *PATH), text(f"{HEADER}\r", INDEX, *PATH), text(HEADER, HEADER, INDEX, *PATH),
    text(HEADER, INDEX, EXTRA, *PATH), text(HEADER, EXTRA, EXTRA, INDEX, *PATH), text(HEADER, EXTRA, INDEX, INDEX, *PATH),
    text(HEADER, "extra", INDEX, *PATH), text(HEADER, "extra ", INDEX, *PATH), text(HEADER, "extra  YQ==", INDEX, *PATH),
    text(HEADER, "extra YQ", INDEX, *PATH), text(HEADER, "extra YR==", INDEX, *PATH), text(HEADER, "extra _w==", INDEX, *PATH),
    text(HEADER, "extra YQ== ", INDEX, *PATH), text(HEADER, "extra\tYQ==", INDEX, *PATH), text(HEADER, "Extra YQ==", INDEX, *PATH),
    text(HEADER, "index", *PATH), text(HEADER, "index ", *PATH), text(HEADER, "index  5", *PATH), text(HEADER, "index 05", *PATH),
    text(HEADER, "index +5", *PATH), text(HEADER, "index -5", *PATH), text(HEADER, "index 5 ", *PATH), text(HEADER, "index 5\r", *PATH),
    text(HEADER, "index five", *PATH), text(HEADER, "index ５", *PATH), text(HEADER, "index 0x5", *PATH), text(HEADER, f"index {2**63}", *PATH),
    text(HEADER, f"index {'9' * 99}", *PATH), text(HEADER, "index\u00a05", *PATH), text(HEADER, "Index 5", *PATH), text(HEADER, "5", *PATH),
    text(HEADER, INDEX, PATH[0][:-1]), text(HEADER, INDEX, f"{PATH[0]} "), text(HEADER, INDEX, f" {PATH[0]}"), text(HEADER, INDEX, "AAAA"),
    text(HEADER, INDEX, format_base64(bytes(64))), text(HEADER, INDEX, format_base64(bytes(31))), text(HEADER, INDEX, bytes(32).hex()),
    text(HEADER, INDEX, "A" * 42 + "B="), text(HEADER, INDEX, "_" * 42 + "8="), text(HEADER, INDEX, f"{PATH[0]}\0"),
    text(HEADER, INDEX, *PATH, checkpoint=""), text(HEADER, INDEX, *PATH, checkpoint="\n"), text(HEADER, INDEX, *PATH, checkpoint=f"{CHECKPOINT}\n"),
    text(HEADER, INDEX, *PATH, checkpoint=CHECKPOINT[:-1]), text(HEADER, INDEX, *PATH, checkpoint=PROOF.checkpoint.text),
    text(HEADER, INDEX, *PATH).replace(b"\n", b"\r\n"), text(HEADER, INDEX, *PATH).replace(b"\n", b"\r"), b"\xff" + text(HEADER, INDEX, *PATH),
    text(HEADER, INDEX, *[HASH] * (MAX_HASHES + 1)),
])  # fmt: skip
def test_what_is_no_proof(encoded: bytes) -> None:
    assert_refused(Proof.parse, encoded)


def test_a_path_has_as_many_hashes_as_the_largest_tree_needs() -> None:
    assert len(rfc6962.way_up(2**63 - 2, 2**63 - 1)) <= MAX_HASHES
    assert len(rfc6962.way_up(0, 2**63 - 1)) == MAX_HASHES == 63
    assert len(Proof.parse(text(HEADER, INDEX, *[HASH] * MAX_HASHES)).path) == MAX_HASHES


@given(st.integers(1, 300).flatmap(lambda size: st.tuples(st.integers(0, size - 1), st.just(size))))
def test_a_proof_shows_its_entry_and_no_other(place: tuple[int, int]) -> None:
    proof = Proof.parse(str(proof_of(*place)).encode())
    assert proof.proves(ENTRIES[place[0]], KEY.verifier_key)
    assert not proof.proves(ENTRIES[place[0]] + b"\0", KEY.verifier_key)
    assert not proof.proves(ENTRIES[place[0] - 1], KEY.verifier_key) or place[1] == 1
    assert not proof.proves(merkle.leaf_hash(ENTRIES[place[0]]), KEY.verifier_key)
    assert not proof.proves(b"", KEY.verifier_key)


def test_a_proof_with_one_character_changed_proves_nothing_but_may_have_another_extra() -> None:
    """Nothing vouches for ``extra``."""
    for changed in changes_of_one_character(str(PROOF)):
        encoded = changed.encode(errors="surrogatepass")
        assert_canonical_bytes(Proof.parse, encoded)
        try:
            proof = Proof.parse(encoded)
            proves = proof.proves(ENTRIES[5], KEY.verifier_key)
        except (Malformed, Unsigned):
            continue
        assert proves == ((proof.index, proof.path, proof.checkpoint) == (PROOF.index, PROOF.path, PROOF.checkpoint)), (
            changed
        )


def test_a_proof_is_of_the_log_that_is_asked_about() -> None:
    for key in [SigningKey(KEY.name, bytes(range(32))), SigningKey("example.com/other", KEY.seed)]:
        with pytest.raises(Unsigned):
            PROOF.proves(ENTRIES[5], key.verifier_key)


@pytest.mark.parametrize("encoded", [
    text(HEADER, INDEX, *PATH, checkpoint=str(KEY.sign("text\n"))), text(HEADER, INDEX, "", *PATH), text(HEADER, INDEX, *PATH, ""),
])  # fmt: skip
def test_a_proof_whose_note_is_no_checkpoint_proves_nothing(encoded: bytes) -> None:
    proof = Proof.parse(encoded)
    with pytest.raises(Malformed):
        proof.proves(ENTRIES[5], KEY.verifier_key)


@pytest.mark.parametrize("index", [0, 4, 6, 7, 8, 2**63 - 1])
def test_an_entry_is_where_it_is(index: int) -> None:
    assert not Proof(index, PROOF.path, PROOF.checkpoint).proves(ENTRIES[5], KEY.verifier_key)


def test_there_is_no_entry_in_an_empty_log() -> None:
    empty = KEY.sign(str(Checkpoint(KEY.name, 0, merkle.EMPTY_ROOT)))
    assert not Proof(0, (), empty).proves(b"", KEY.verifier_key)


def test_a_proof_keeps_what_witnesses_have_added_to_its_checkpoint() -> None:
    cosigned = Note(
        PROOF.checkpoint.text, (*PROOF.checkpoint.signatures, WitnessKey("w", bytes(32)).cosign(PROOF.checkpoint.text, 7))
    )
    proof = Proof.parse(str(Proof(5, PROOF.path, cosigned)).encode())
    assert proof.checkpoint == cosigned
    assert proof.proves(ENTRIES[5], KEY.verifier_key)
