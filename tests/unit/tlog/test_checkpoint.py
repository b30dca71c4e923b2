"""Checkpoints: one spelling, and believed from the key of the log alone."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sydent_py.tlog.checkpoint import Checkpoint, Unsigned, open_checkpoint
from sydent_py.tlog.merkle import EMPTY_ROOT
from sydent_py.tlog.note import COSIGNATURE, Note, Signature, SigningKey, VerifierKey
from sydent_py.tlog.text import Malformed, format_base64
from tests.unit.tlog.fuzzing import assert_canonical, assert_refused, changes_of_one_character, nearly, nearly_bytes
from tests.unit.tlog.strategies import CHECKPOINTS, SEEDS, SIGNATURES

ROOT = format_base64(hashlib.sha256(b"root").digest())
ORIGIN = "example.com/log"
KEY = SigningKey(ORIGIN, bytes(32))
TEXT = f"{ORIGIN}\n20852163\n{ROOT}\n"
NOTE = KEY.sign(TEXT)


def lines(*of: str) -> str:
    return "".join(f"{line}\n" for line in of)


@given(CHECKPOINTS)
def test_a_checkpoint_comes_back_as_it_was_written(checkpoint: Checkpoint) -> None:
    assert Checkpoint.parse(str(checkpoint)) == checkpoint


@given(st.text(max_size=80) | nearly(CHECKPOINTS.map(str)))
def test_any_text_is_a_checkpoint_in_its_one_spelling_or_malformed(text: str) -> None:
    assert_canonical(Checkpoint.parse, text)


def test_a_checkpoint_with_one_character_changed_says_something_else_or_is_malformed() -> None:
    checkpoint = Checkpoint.parse(TEXT)
    for text in changes_of_one_character(TEXT):
        assert_canonical(Checkpoint.parse, text)
        try:
            assert Checkpoint.parse(text) != checkpoint
        except Malformed:
            continue


@pytest.mark.parametrize("text", [
    "", "\n", "\n\n", "\n\n\n", ORIGIN, lines(ORIGIN), lines(ORIGIN, "1"), f"{ORIGIN}\n1\n{ROOT}", lines("", "1", ROOT), lines(ORIGIN, "", ROOT),
    lines(ORIGIN, "1", ""), lines(ORIGIN, "1", ROOT, ""), lines(ORIGIN, "1", ROOT, "", "more"), lines("", ORIGIN, "1", ROOT), lines("1", ROOT),
    TEXT.replace("\n", "\r\n"), lines(ORIGIN, "1\r", ROOT), lines(f"{ORIGIN}\r", "1", ROOT), lines(ORIGIN, "1", f"{ROOT}\r"), lines("a\tb", "1", ROOT),
    lines("a\0", "1", ROOT), lines("\ud800", "1", ROOT), lines(ORIGIN, "1", ROOT, "\x1b"), lines(ORIGIN, "01", ROOT), lines(ORIGIN, "+1", ROOT),
    lines(ORIGIN, "-1", ROOT), lines(ORIGIN, " 1", ROOT), lines(ORIGIN, "1 ", ROOT), lines(ORIGIN, "1.0", ROOT), lines(ORIGIN, "0x1", ROOT),
    lines(ORIGIN, "１", ROOT), lines(ORIGIN, "٢", ROOT), lines(ORIGIN, "1_0", ROOT), lines(ORIGIN, str(2**63), ROOT), lines(ORIGIN, "9" * 99, ROOT),
    lines(ORIGIN, "one", ROOT), lines(ORIGIN, ROOT, "1"), lines(ORIGIN, "1", ROOT[:-1]), lines(ORIGIN, "1", f"{ROOT}="), lines(ORIGIN, "1", f" {ROOT}"),
    lines(ORIGIN, "1", "A" * 42 + "B="), lines(ORIGIN, "1", "_" * 42 + "8="), lines(ORIGIN, "1", "AAAA"), lines(ORIGIN, "1", "A" * 44),
    lines(ORIGIN, "1", format_base64(bytes(33))), lines(ORIGIN, "1", bytes(32).hex()),
])  # fmt: skip
def test_what_is_no_checkpoint(text: str) -> None:
    assert_refused(Checkpoint.parse, text)


def test_an_empty_tree_has_the_root_of_an_empty_tree() -> None:
    assert Checkpoint.parse(lines(ORIGIN, "0", format_base64(EMPTY_ROOT))) == Checkpoint(ORIGIN, 0, EMPTY_ROOT)
    assert_refused(Checkpoint.parse, lines(ORIGIN, "0", ROOT))
    assert_refused(Checkpoint.parse, lines(ORIGIN, "0", format_base64(bytes(32))))


@pytest.mark.parametrize("origin", ["example.com/log", "go.sum database tree", "a+b", "日本", " ", "1", "cosignature/v1"])
def test_any_line_may_be_an_origin(origin: str) -> None:
    assert Checkpoint.parse(lines(origin, "7", ROOT, "extension", "another")) == Checkpoint(
        origin, 7, hashlib.sha256(b"root").digest(), ("extension", "another")
    )


@given(CHECKPOINTS, SEEDS, st.lists(SIGNATURES, max_size=3))
def test_a_checkpoint_is_opened_with_the_key_of_its_log(
    checkpoint: Checkpoint, seed: bytes, others: list[Signature]
) -> None:
    key = SigningKey(ORIGIN, seed)
    checkpoint = Checkpoint(ORIGIN, checkpoint.size, checkpoint.root, checkpoint.extensions)
    note = key.sign(str(checkpoint))
    encoded = str(Note(note.text, (*others, *note.signatures))).encode()
    assert open_checkpoint(encoded, key.verifier_key) == checkpoint
    with pytest.raises(Unsigned):
        open_checkpoint(encoded, SigningKey(ORIGIN, hashlib.sha256(seed).digest()).verifier_key)


@given(nearly_bytes(st.just(str(NOTE))))
def test_a_changed_checkpoint_is_malformed_or_unsigned(encoded: bytes) -> None:
    try:
        checkpoint = open_checkpoint(encoded, KEY.verifier_key)
    except (Malformed, Unsigned):
        return
    assert str(checkpoint) == TEXT


def test_a_checkpoint_with_one_character_changed_is_malformed_or_unsigned() -> None:
    for text in changes_of_one_character(str(NOTE)):
        try:
            open_checkpoint(text.encode(errors="surrogatepass"), KEY.verifier_key)
        except (Malformed, Unsigned):
            continue
        pytest.fail(text)


def test_a_log_says_nothing_of_another_log() -> None:
    with pytest.raises(Unsigned, match="is of the log "):
        open_checkpoint(str(NOTE).encode(), SigningKey("example.com/other", KEY.seed).verifier_key)
    with pytest.raises(Unsigned):
        open_checkpoint(str(SigningKey("example.com/other", KEY.seed).sign(TEXT)).encode(), KEY.verifier_key)


def test_a_bad_line_in_the_name_of_the_log_spoils_its_checkpoint() -> None:
    good = NOTE.signatures[0]
    bad = Signature(good.name, good.key_id, good.value[::-1])
    for signatures in [(bad,), (good, bad), (bad, good)]:
        with pytest.raises(Unsigned):
            open_checkpoint(str(Note(TEXT, signatures)).encode(), KEY.verifier_key)


def test_a_witness_of_the_name_of_the_log_does_not_sign_for_it() -> None:
    with pytest.raises(Unsigned):
        open_checkpoint(str(NOTE).encode(), VerifierKey(ORIGIN, COSIGNATURE, KEY.verifier_key.public_key))


def test_what_the_log_signs_beside_checkpoints_is_no_checkpoint() -> None:
    for text in [
        "text\n",
        lines(ORIGIN, "1"),
        lines(ORIGIN, "01", ROOT),
        lines(ORIGIN, "0", ROOT),
        lines("", ORIGIN, "1", ROOT),
    ]:
        with pytest.raises(Malformed):
            open_checkpoint(str(KEY.sign(text)).encode(), KEY.verifier_key)
