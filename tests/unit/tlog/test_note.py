"""Signed notes and the keys that sign them: one spelling, and nothing that a lax reader would let through."""

import base64
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sydent_py.tlog.note import (
    COSIGNATURE,
    ED25519,
    MAX_NOTE_BYTES,
    MAX_SIGNATURES,
    Note,
    Signature,
    SigningKey,
    VerifierKey,
)
from sydent_py.tlog.text import Malformed
from tests.unit.tlog.fuzzing import (
    assert_canonical,
    assert_canonical_bytes,
    assert_refused,
    changes_of_one_character,
    nearly,
    nearly_bytes,
)
from tests.unit.tlog.strategies import HASHES, KEYS, NAMES, SEEDS, SIGNATURES, TEXTS, notes

KEY = SigningKey("example.com/log", bytes(range(32)))
OTHER = SigningKey("example.com/other", bytes(32))
NOTE = KEY.sign("Some text,\n\nand more of it.\n")
VKEY = str(KEY.verifier_key)
NAME, KEY_ID, MATERIAL = VKEY.split("+", 2)
LINE = str(NOTE.signatures[0])
# The order of the group of Ed25519: adding it to the second half of a signature changes nothing in the equation.
ORDER = 2**252 + 27742317777372353535851937790883648493
# All points of small order, also in encodings that are not canonical: nobody needs a private key to sign with them.
SMALL_ORDER = [
    (y + high).to_bytes(32, "little")
    for y in [
        0, 1, 2**255 - 20, 2**255 - 19, 2**255 - 18,
        int.from_bytes(bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"), "little"),
        int.from_bytes(bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"), "little"),
    ]
    for high in (0, 2**255)
]  # fmt: skip


def vkey(name: str, material: bytes) -> str:
    """A verifier key with the key ID that belongs to it."""
    key_id = hashlib.sha256(name.encode(errors="surrogatepass") + b"\n" + material).hexdigest()[:8]
    return f"{name}+{key_id}+{base64.b64encode(material).decode()}"


def signed(*lines: str, text: str = NOTE.text) -> Note:
    return Note.parse("".join([text, "\n", *(f"{line}\n" for line in lines)]).encode())


def forged(line: Signature = NOTE.signatures[0], **changes: object) -> str:
    """The line of a signature with something else in it."""
    return str(Signature(**{"name": line.name, "key_id": line.key_id, "value": line.value, **changes}))


# Keys


@given(KEYS)
def test_a_key_comes_back_as_it_was_written(key: VerifierKey) -> None:
    assert VerifierKey.parse(str(key)) == key
    assert str(key) == vkey(key.name, bytes([key.algorithm]) + key.public_key)


@given(st.text(max_size=60) | nearly(KEYS.map(str)))
def test_any_text_is_a_key_in_its_one_spelling_or_malformed(text: str) -> None:
    assert_canonical(VerifierKey.parse, text)


def test_a_key_with_one_character_changed_is_malformed() -> None:
    for text in changes_of_one_character(VKEY):
        assert_refused(VerifierKey.parse, text)


@pytest.mark.parametrize("name", [
    "", "a b", "a+b", "+", " a", "a ", "a\n", "a\tb", "\0", "a\x1f", "a\x85b", "a\u00a0b", "a\u1680b", "a\u2003b", "a\u2028b", "a\u3000b",
    "\ud800", "a\udfff",
])  # fmt: skip
def test_names_that_no_key_has(name: str) -> None:
    assert_refused(VerifierKey.parse, vkey(name, bytes([ED25519]) + bytes(32)))
    assert_refused(Signature.parse, f"\u2014 {name} {base64.b64encode(bytes(68)).decode()}")


@pytest.mark.parametrize(
    "name", ["a", "example.com/log", "a:b@c", "naïve", "日本", "a\u200bb", "\ufeff", "\U0001f600", "\u2014", "x" * 300]
)
def test_names_that_a_key_may_have(name: str) -> None:
    key = SigningKey(name, bytes(32))
    assert VerifierKey.parse(str(key.verifier_key)) == key.verifier_key
    assert Note.parse(str(key.sign("text\n")).encode()).is_signed_by(key.verifier_key)


@pytest.mark.parametrize("material", [
    b"", b"\x01", b"\x04", b"\x01" + bytes(31), b"\x01" + bytes(33), bytes(33), b"\x02" + bytes(32), b"\x03" + bytes(32), b"\x05" + bytes(32),
    b"\x06" + bytes(1312), b"\xff" + bytes(32), bytes(32),
])  # fmt: skip
def test_keys_of_another_kind_or_length_are_malformed(material: bytes) -> None:
    assert_refused(VerifierKey.parse, vkey("example.com/log", material))


@pytest.mark.parametrize("text", [
    "", "+", "++", NAME, f"{NAME}+{KEY_ID}", f"{KEY_ID}+{MATERIAL}", f"{VKEY}\n", f" {VKEY}", f"{VKEY}+", f"PRIVATE+KEY+{VKEY}",
    f"{NAME}+{KEY_ID.upper()}+{MATERIAL}", f"{NAME}+0{KEY_ID}+{MATERIAL}", f"{NAME}+{KEY_ID[1:]}+{MATERIAL}", f"{NAME}+{'0' * 8}+{MATERIAL}",
    f"{NAME}+0x{KEY_ID}+{MATERIAL}", f"{NAME}++{KEY_ID}+{MATERIAL}", f"{NAME}+{KEY_ID}+{MATERIAL}==", f"{NAME}+{KEY_ID}+{MATERIAL[:-1]}",
    f"{NAME} + {KEY_ID} + {MATERIAL}", f"{NAME}-{KEY_ID}-{MATERIAL}", vkey(NAME, b"\x01" + b"\xff" * 32).replace("/", "_"),
])  # fmt: skip
def test_what_is_no_key(text: str) -> None:
    assert text != VKEY
    assert_refused(VerifierKey.parse, text)


def test_the_key_id_tells_a_log_from_a_witness_of_the_same_name_and_key() -> None:
    log, witness = (VerifierKey(NAME, kind, KEY.verifier_key.public_key) for kind in (ED25519, COSIGNATURE))
    assert log.key_id != witness.key_id
    assert_refused(VerifierKey.parse, f"{NAME}+{log.key_id.hex()}+{str(witness).rsplit('+', 1)[1]}")


# Signatures of Ed25519


@given(SEEDS, st.binary(max_size=100))
def test_a_key_verifies_what_it_has_signed_and_nothing_else(seed: bytes, message: bytes) -> None:
    key = SigningKey("a", seed)
    note = key.sign("text\n")
    value = note.signatures[0].value
    assert key.verifier_key.verifies(b"text\n", value)
    assert message == b"text\n" or not key.verifier_key.verifies(message, value)
    assert seed == KEY.seed or not KEY.verifier_key.verifies(b"text\n", value)


def test_a_signature_with_any_bit_changed_does_not_verify() -> None:
    value, message = NOTE.signatures[0].value, NOTE.text.encode()
    for bit in range(512):
        changed = (int.from_bytes(value, "big") ^ 1 << bit).to_bytes(64, "big")
        assert not KEY.verifier_key.verifies(message, changed)
    for other in (b"", value[:-1], value[:32], value + b"\0", value * 2, bytes(64), b"\xff" * 64):
        assert not KEY.verifier_key.verifies(message, other)


def test_a_signature_has_one_form() -> None:
    value = NOTE.signatures[0].value
    same = value[:32] + (int.from_bytes(value[32:], "little") + ORDER).to_bytes(32, "little")
    assert not KEY.verifier_key.verifies(NOTE.text.encode(), same)


@pytest.mark.parametrize("public_key", SMALL_ORDER)
def test_a_key_of_small_order_verifies_nothing(public_key: bytes) -> None:
    """With S = 0 the equation is R = -hA, which for the neutral point holds for every message, for others for every few."""
    key = VerifierKey.parse(vkey("a", bytes([ED25519]) + public_key))
    for point in SMALL_ORDER:
        for number in range(8):
            assert not key.verifies(b"message %d" % number, point + bytes(32))


@given(HASHES, st.binary(max_size=70))
def test_any_public_key_and_signature_verify_or_not_and_nothing_else_happens(public_key: bytes, value: bytes) -> None:
    assert VerifierKey("a", ED25519, public_key).verifies(b"message", value) is False


@pytest.mark.parametrize("length", [0, 31, 33])
def test_a_public_key_of_another_length_verifies_nothing(length: int) -> None:
    assert not VerifierKey("a", ED25519, bytes(length)).verifies(b"message", bytes(64))


# Signature lines


@given(SIGNATURES)
def test_a_signature_line_comes_back_as_it_was_written(signature: Signature) -> None:
    assert Signature.parse(str(signature)) == signature


@given(st.text(max_size=60) | nearly(SIGNATURES.map(str)))
def test_any_text_is_a_signature_line_in_its_one_spelling_or_malformed(text: str) -> None:
    assert_canonical(Signature.parse, text)


@pytest.mark.parametrize("line", [
    "", "\u2014", "\u2014 ", "\u2014  ", "\u2014 a", "\u2014 a ", f"- {LINE[2:]}", f"\u2013 {LINE[2:]}", f"\u2015 {LINE[2:]}", LINE[1:], LINE[2:], f" {LINE}",
    f"{LINE} ", f"{LINE}\n", f"{LINE}\r", f"\ufeff{LINE}", LINE.replace(" ", "\u00a0"), LINE.replace(" ", "  "), LINE.replace(" ", "\t"),
    f"{LINE} {LINE}", LINE[:-1], f"{LINE}=", "\u2014 a AAAA", "\u2014 a AAAAAA==", "\u2014 a ====", "\u2014 a b c",
])  # fmt: skip
def test_what_is_no_signature_line(line: str) -> None:
    assert_refused(Signature.parse, line)


# Notes


@given(notes())
def test_a_note_comes_back_as_it_was_written(note: Note) -> None:
    assert Note.parse(str(note).encode()) == note


@given(
    st.binary(max_size=80)
    | st.text(max_size=80).map(lambda text: text.encode(errors="surrogatepass"))
    | nearly_bytes(notes().map(str))
)
def test_any_bytes_are_a_note_in_its_one_spelling_or_malformed(encoded: bytes) -> None:
    assert_canonical_bytes(Note.parse, encoded)


@given(nearly_bytes(st.just(str(NOTE))))
def test_a_changed_note_is_malformed_or_not_signed_or_has_the_same_text(encoded: bytes) -> None:
    assert_canonical_bytes(Note.parse, encoded)
    try:
        note = Note.parse(encoded)
    except Malformed:
        return
    assert note.text == NOTE.text or not note.is_signed_by(KEY.verifier_key)


def test_a_note_with_one_character_changed_is_not_signed() -> None:
    for text in changes_of_one_character(str(NOTE)):
        encoded = text.encode(errors="surrogatepass")
        assert_canonical_bytes(Note.parse, encoded)
        try:
            assert not Note.parse(encoded).is_signed_by(KEY.verifier_key), text
        except Malformed:
            continue


@pytest.mark.parametrize("encoded", [
    b"", b"\n", b"\n\n", b"\n\n\n", b"text\n", b"text\n\n", f"text\n{LINE}\n".encode(), f"{LINE}\n".encode(), f"\n{LINE}\n".encode(),
    f"{NOTE.text}\n{LINE}".encode(), f"{NOTE.text}\n{LINE}\n\n".encode(), f"{NOTE.text}\n{LINE}\n\n{LINE[2:]}\n".encode(),
    f"{NOTE.text}\n{LINE}\r\n".encode(), str(NOTE).replace("\n", "\r\n").encode(), f"{NOTE.text}\r\n{LINE}\n".encode(),
    f"\ufeff{NOTE}".encode("utf-16"), str(NOTE).encode("latin-1", "replace"), b"\xff" + str(NOTE).encode(), str(NOTE).encode() + b"\xff",
    str(NOTE).encode() + b"\0", f"a\tb\n\n{LINE}\n".encode(), f"a\0b\n\n{LINE}\n".encode(), f"a\rb\n\n{LINE}\n".encode(),
    f"\ud800\n\n{LINE}\n".encode(errors="surrogatepass"), b"\xc0\x80\n\n" + f"{LINE}\n".encode(), f"{NOTE.text}\n{LINE}\nmore\n".encode(),
    f"{NOTE.text}\nmore\n{LINE}\n".encode(), f"{NOTE.text}\n {LINE}\n".encode(), f"{NOTE.text}\n \n{LINE}\n".encode(),
])  # fmt: skip
def test_what_is_no_note(encoded: bytes) -> None:
    assert_refused(Note.parse, encoded)


def test_a_note_may_be_large_and_have_many_signatures_but_not_any_number() -> None:
    assert MAX_SIGNATURES >= 16
    most = signed(*[LINE] * MAX_SIGNATURES)
    assert most.is_signed_by(KEY.verifier_key)
    assert_refused(Note.parse, f"{most}{LINE}\n".encode())
    largest = KEY.sign("x" * (MAX_NOTE_BYTES - len(f"\n\n{LINE}\n".encode())) + "\n")
    assert Note.parse(str(largest).encode()).is_signed_by(KEY.verifier_key)
    assert_refused(Note.parse, f"x{largest}".encode())


@given(TEXTS, NAMES, SEEDS)
def test_a_text_is_signed_in_the_same_way_each_time(text: str, name: str, seed: bytes) -> None:
    key = SigningKey(name, seed)
    note = key.sign(text)
    assert Note.parse(str(note).encode()) == note == key.sign(text)
    assert note.text == text
    assert note.is_signed_by(key.verifier_key)
    assert not note.is_signed_by(OTHER.verifier_key)


@pytest.mark.parametrize("text", ["", "text", "a\tb\n", "a\0\n", "a\r\n", "\x1b[31m\n", "\ud800\n"])
def test_what_cannot_be_signed(text: str) -> None:
    assert_refused(KEY.sign, text)


def test_signatures_of_other_keys_are_ignored() -> None:
    """Also where they share a name or a key ID, but not both, with a known one."""
    for other in [
        str(OTHER.sign(NOTE.text).signatures[0]),
        forged(name="example.com/other", value=bytes(64)),
        forged(key_id=bytes(4), value=bytes(64)),
        forged(name="b", value=b"\0"),
        forged(name="b", value=bytes(2_428)),
    ]:
        for lines in [(LINE, other), (other, LINE), (other, LINE, other, other)]:
            assert signed(*lines).is_signed_by(KEY.verifier_key)
        assert not signed(other).is_signed_by(KEY.verifier_key)


@pytest.mark.parametrize(
    "value", [bytes(64), bytes(63), bytes(1), NOTE.signatures[0].value[::-1], NOTE.signatures[0].value + b"\0"]
)
def test_a_line_in_the_name_of_a_key_that_is_not_its_signature_spoils_the_note(value: bytes) -> None:
    bad = forged(value=value)
    for lines in [(bad,), (LINE, bad), (bad, LINE), (LINE, bad, LINE)]:
        assert not signed(*lines).is_signed_by(KEY.verifier_key)


def test_a_signature_that_is_there_twice_is_one() -> None:
    assert signed(LINE, LINE).is_signed_by(KEY.verifier_key)


def test_a_signature_is_of_one_text() -> None:
    assert not signed(LINE, text="Some text,\n\nand more of it!\n").is_signed_by(KEY.verifier_key)
    assert not signed(LINE, text=f"{NOTE.text}\n").is_signed_by(KEY.verifier_key)


def test_a_witness_key_does_not_sign_notes() -> None:
    witness = VerifierKey(KEY.name, COSIGNATURE, KEY.verifier_key.public_key)
    assert not signed(LINE).is_signed_by(witness)
    assert not signed(forged(key_id=witness.key_id)).is_signed_by(witness)
