"""Cosignatures: who has cosigned what, and when."""

import hashlib

import nacl.signing
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sydent_py.tlog.checkpoint import Checkpoint, open_checkpoint
from sydent_py.tlog.cosignature import WitnessKey, claimed_at, cosigned_at
from sydent_py.tlog.note import COSIGNATURE, ED25519, Note, Signature, SigningKey, VerifierKey
from tests.unit.tlog.fuzzing import changes_of_one_character
from tests.unit.tlog.strategies import CHECKPOINTS, NAMES, SEEDS

LOG = SigningKey("example.com/log", bytes(32))
WITNESS = WitnessKey("example.org/witness", bytes(range(32)))
KEY = WITNESS.verifier_key
TEXT = str(Checkpoint("example.com/log", 20_852_163, hashlib.sha256(b"root").digest(), ("an extension",)))
SIGNED = LOG.sign(TEXT)
TIME_S = 1_679_315_147
COSIGNATURE_LINE = WITNESS.cosign(TEXT, TIME_S)


def note(*signatures: Signature, text: str = TEXT) -> Note:
    return Note.parse(str(Note(text, (*SIGNED.signatures, *signatures))).encode())


def cosignature(message: bytes, time: bytes, key: WitnessKey = WITNESS) -> Signature:
    """The line of a witness that signs what it is told to."""
    return Signature(key.name, key.verifier_key.key_id, time + nacl.signing.SigningKey(key.seed).sign(message).signature)


@given(CHECKPOINTS, NAMES, SEEDS, st.integers(0, 2**63 - 1))
def test_a_cosignature_is_of_a_checkpoint_and_a_time(checkpoint: Checkpoint, name: str, seed: bytes, time_s: int) -> None:
    witness = WitnessKey(name, seed)
    line = witness.cosign(str(checkpoint), time_s)
    cosigned = Note(str(checkpoint), (line,))
    assert Note.parse(str(cosigned).encode()) == cosigned
    assert Signature.parse(str(line)) == line
    assert cosigned_at(cosigned, witness.verifier_key) == time_s
    assert VerifierKey.parse(str(witness.verifier_key)) == witness.verifier_key
    assert cosigned_at(Note(f"{checkpoint}more\n", (line,)), witness.verifier_key) is None


def test_what_is_signed_is_the_time_and_the_text_after_a_header() -> None:
    message = f"cosignature/v1\ntime {TIME_S}\n{TEXT}".encode()
    assert cosignature(message, TIME_S.to_bytes(8, "big")) == COSIGNATURE_LINE
    assert cosigned_at(note(COSIGNATURE_LINE), KEY) == TIME_S


@pytest.mark.parametrize("header", [
    "", "cosignature/v1\n", f"cosignature/v1\ntime {TIME_S + 1}\n", f"cosignature/v1\ntime 0{TIME_S}\n", f"cosignature/v2\ntime {TIME_S}\n",
    f"cosignature/v1\ntime {TIME_S} \n", f"cosignature/v1\r\ntime {TIME_S}\r\n", f"time {TIME_S}\n", f"cosignature/v1\ntime {TIME_S}\n\n",
])  # fmt: skip
def test_what_is_signed_otherwise_is_no_cosignature(header: str) -> None:
    assert cosigned_at(note(cosignature(f"{header}{TEXT}".encode(), TIME_S.to_bytes(8, "big"))), KEY) is None


def test_who_has_not_cosigned_has_no_time() -> None:
    assert cosigned_at(SIGNED, KEY) is None
    assert cosigned_at(note(WitnessKey("example.org/another", WITNESS.seed).cosign(TEXT, TIME_S)), KEY) is None
    assert cosigned_at(note(WitnessKey(WITNESS.name, bytes(32)).cosign(TEXT, TIME_S)), KEY) is None


def test_of_several_times_it_is_the_newest() -> None:
    older, newer = WITNESS.cosign(TEXT, TIME_S - 5), WITNESS.cosign(TEXT, TIME_S + 5)
    for lines in [(older, newer, COSIGNATURE_LINE), (newer, older), (newer, newer)]:
        assert cosigned_at(note(*lines), KEY) == TIME_S + 5


def test_a_line_of_the_witness_that_is_not_its_cosignature_spoils_the_others() -> None:
    value = COSIGNATURE_LINE.value
    values = [
        value[:-1],
        value + b"\0",
        value[8:],
        value[:8],
        value[:7],
        b"\0",
        bytes(72),
        b"\xff" * 72,
        value[:8] + value[8:][::-1],
    ]
    values += [(int.from_bytes(value, "big") ^ 1 << bit).to_bytes(72, "big") for bit in range(0, 576, 7)]
    for changed in values:
        bad = Signature(KEY.name, KEY.key_id, changed)
        for lines in [(bad,), (bad, COSIGNATURE_LINE), (COSIGNATURE_LINE, bad)]:
            assert cosigned_at(note(*lines), KEY) is None


@pytest.mark.parametrize("time_s", [2**63, 2**64 - 1])
def test_a_time_that_exceeds_63_bits_is_none(time_s: int) -> None:
    message = f"cosignature/v1\ntime {time_s}\n{TEXT}".encode()
    assert cosigned_at(note(cosignature(message, time_s.to_bytes(8, "big"))), KEY) is None


def test_a_cosignature_is_of_the_whole_checkpoint() -> None:
    for text in changes_of_one_character(TEXT):
        if text.isprintable() and text.endswith("\n"):
            assert cosigned_at(Note(text, (COSIGNATURE_LINE,)), KEY) is None
    assert cosigned_at(Note(TEXT.replace("an extension\n", ""), (COSIGNATURE_LINE,)), KEY) is None


def test_logs_and_witnesses_do_not_sign_for_each_other() -> None:
    """Not even with one key in one name: the key ID says which it is, and what is signed begins differently."""
    log, witness = SigningKey("same", bytes(32)), WitnessKey("same", bytes(32))
    both = Note(TEXT, (*log.sign(TEXT).signatures, witness.cosign(TEXT, TIME_S)))
    assert both.is_signed_by(log.verifier_key)
    assert cosigned_at(both, witness.verifier_key) == TIME_S
    assert cosigned_at(both, log.verifier_key) is None
    assert not both.is_signed_by(witness.verifier_key)
    timed = Signature("same", log.verifier_key.key_id, witness.cosign(TEXT, TIME_S).value)
    assert cosigned_at(Note(TEXT, (timed,)), log.verifier_key) is None
    assert (log.verifier_key.algorithm, witness.verifier_key.algorithm) == (ED25519, COSIGNATURE)


def test_a_log_whose_origin_is_the_header_of_cosignatures_makes_none() -> None:
    """A witness signs texts of its own form, of which none is the text of a checkpoint."""
    witness = WitnessKey("cosignature/v1", bytes(32))
    message = f"cosignature/v1\ntime {TIME_S}\n{TEXT}"
    as_checkpoint = Note(message, SigningKey(witness.name, witness.seed).sign(message).signatures)
    with pytest.raises(ValueError, match="decimal"):
        open_checkpoint(str(as_checkpoint).encode(), SigningKey(witness.name, witness.seed).verifier_key)


def test_cosignatures_leave_the_log_s_signature_as_it_is() -> None:
    cosigned = note(COSIGNATURE_LINE, WitnessKey("b", bytes(32)).cosign(TEXT, 0))
    assert str(open_checkpoint(str(cosigned).encode(), LOG.verifier_key)) == TEXT
    assert cosigned_at(cosigned, WitnessKey("b", bytes(32)).verifier_key) == 0


def test_what_a_cosignature_claims_is_read_without_a_key() -> None:
    assert claimed_at(COSIGNATURE_LINE) == TIME_S
    assert claimed_at(SIGNED.signatures[0]) is None
    assert claimed_at(cosignature(b"", b"\xff" * 8)) is None
