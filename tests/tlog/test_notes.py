"""Keys, notes, checkpoints and cosignatures: each implementation's are the other's."""

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sydent_py.tlog.checkpoint import Checkpoint, Unsigned, open_checkpoint
from sydent_py.tlog.cosignature import WitnessKey, cosigned_at
from sydent_py.tlog.note import Note, Signature, SigningKey, VerifierKey
from sydent_py.tlog.text import Malformed
from tests.tlog.conftest import Ask, Refused, b64
from tests.unit.tlog.fuzzing import nearly, nearly_bytes
from tests.unit.tlog.strategies import CHECKPOINTS, KEYS, NAMES, SEEDS, TEXTS, notes

# It refuses longer names, and spaces and pluses in origins, which are only recommended against.
SHORT = NAMES.filter(lambda name: len(name.encode()) < 256)
TIMES = st.integers(0, 2**63 - 1)
WITNESS = WitnessKey("example.org/witness", bytes(range(32)))

many = settings(deadline=None)


@st.composite
def heads(draw: st.DrawFn) -> tuple[SigningKey, Checkpoint]:
    """A log's key, and a checkpoint of the log."""
    key, drawn = SigningKey(draw(SHORT), draw(SEEDS)), draw(CHECKPOINTS)
    return key, Checkpoint(key.name, drawn.size, drawn.root, drawn.extensions)


def head(checkpoint: Checkpoint) -> list[object]:
    return [checkpoint.origin, checkpoint.size, b64(checkpoint.root), list(checkpoint.extensions)]


def encoded(note: Note) -> str:
    return b64(str(note).encode())


@many
@given(SHORT, SEEDS)
def test_keys(ask: Ask, name: str, seed: bytes) -> None:
    for key in (SigningKey(name, seed).verifier_key, WitnessKey(name, seed).verifier_key):
        parts = {"name": name, "kind": key.algorithm, "public_key": b64(key.public_key)}
        assert ask("key", text=str(key)) == list(parts.values())
        assert VerifierKey.parse(ask("make_key", **parts)) == key


@many
@given(nearly(KEYS.map(str)) | KEYS.map(str))
def test_a_key_that_we_take_is_one_to_it_or_too_weak(ask: Ask, text: str) -> None:
    with suppress(Malformed):
        key = VerifierKey.parse(text)
        said = _said(ask, "key", text)
        assert said == [key.name, key.algorithm, b64(key.public_key)] or "Ed25519" in said


@many
@given(SHORT, SEEDS, TEXTS)
def test_notes(ask: Ask, name: str, seed: bytes, text: str) -> None:
    key = SigningKey(name, seed)
    note = key.sign(text)
    assert ask("sign", name=name, seed=b64(seed), text=text) == str(note)
    assert ask("is_signed", encoded=encoded(note), by=str(key.verifier_key))
    changed = Note(f"x{text}", note.signatures)
    assert not ask("is_signed", encoded=encoded(changed), by=str(key.verifier_key))
    assert not changed.is_signed_by(key.verifier_key)


@many
@given(nearly_bytes(notes().map(str)) | notes().map(lambda note: str(note).encode()))
def test_a_note_that_we_take_says_the_same_to_it(ask: Ask, given_note: bytes) -> None:
    with suppress(Malformed):
        note = Note.parse(given_note)
        assert ask("note", encoded=b64(given_note)) == [
            note.text,
            [[signature.name, b64(signature.key_id), b64(signature.value)] for signature in note.signatures],
        ]


@many
@given(nearly(CHECKPOINTS.map(str)) | CHECKPOINTS.map(str))
def test_a_checkpoint_that_we_take_says_the_same_to_it_where_it_takes_the_origin(ask: Ask, text: str) -> None:
    with suppress(Malformed):
        checkpoint = Checkpoint.parse(text)
        said = _said(ask, "checkpoint", text)
        assert said == head(checkpoint) or said.startswith("origin ")


@many
@given(heads(), TIMES, st.lists(st.tuples(SHORT, SEEDS), max_size=3))
def test_checkpoints_and_cosignatures(
    ask: Ask, signed: tuple[SigningKey, Checkpoint], time_s: int, others: list[tuple[str, bytes]]
) -> None:
    log, checkpoint = signed
    note = log.sign(str(checkpoint))
    assert ask("sign_checkpoint", name=log.name, seed=b64(log.seed), head=head(checkpoint)) == str(note)
    witnesses = {name: WitnessKey(name, seed) for name, seed in others}
    lines = [witness.cosign(note.text, time_s) for witness in witnesses.values()]
    for witness, line in zip(witnesses.values(), lines, strict=True):
        made = ask("cosign", name=witness.name, seed=b64(witness.seed), time_s=time_s, head=head(checkpoint))
        assert Signature.parse(made) == line
    cosigned = Note(note.text, (*lines, *note.signatures))
    keys = [str(witness.verifier_key) for witness in witnesses.values()]
    assert ask("verify", encoded=encoded(cosigned), log=str(log.verifier_key), witnesses=keys) == dict.fromkeys(
        witnesses, time_s
    )
    assert [cosigned_at(cosigned, VerifierKey.parse(key)) for key in keys] == [time_s] * len(keys)


@many
@given(heads(), st.integers(0, 575))
def test_a_checkpoint_or_a_cosignature_with_a_bit_changed_is_nothing_to_either(
    ask: Ask, signed: tuple[SigningKey, Checkpoint], bit: int
) -> None:
    log, checkpoint = signed
    note, line = log.sign(str(checkpoint)), WITNESS.cosign(str(checkpoint), 1_679_315_147)
    verify = {"log": str(log.verifier_key), "witnesses": [str(WITNESS.verifier_key)]}
    good = note.signatures[0]
    bad_line, bad_log = _changed(line, bit), _changed(good, bit % 512)
    with pytest.raises(Refused):
        ask("verify", encoded=encoded(Note(note.text, (good, bad_line))), **verify)
    with pytest.raises(Refused):
        ask("verify", encoded=encoded(Note(note.text, (bad_log, line))), **verify)
    assert cosigned_at(Note(note.text, (good, bad_line)), WITNESS.verifier_key) is None
    with pytest.raises(Unsigned):
        open_checkpoint(str(Note(note.text, (bad_log, line))).encode(), log.verifier_key)


def _said(ask: Ask, do: str, text: str) -> Any:
    """What it reads in a text, or why it does not."""
    try:
        return ask(do, text=text)
    except Refused as refused:
        return str(refused)


def _changed(line: Signature, bit: int) -> Signature:
    value = int.from_bytes(line.value, "big") ^ 1 << bit
    return Signature(line.name, line.key_id, value.to_bytes(len(line.value), "big"))
