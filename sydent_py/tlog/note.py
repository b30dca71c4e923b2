"""Signed notes (c2sp.org/signed-note): a text, and lines that sign it."""

import hashlib
import re
from dataclasses import dataclass
from functools import cached_property

import nacl.signing
from nacl.exceptions import CryptoError

from sydent_py.tlog.text import Malformed, format_base64, parse_base64

ED25519 = 1
COSIGNATURE = 4
MAX_NOTE_BYTES = 64 * 1024
MAX_SIGNATURES = 64
PUBLIC_KEY_BYTES = 32
_KEY_ID_BYTES = 4
_EM_DASH = "\u2014"
# What UTF-8 cannot say is refused here, as keys also come from other places than notes.
_NAME = re.compile(r"[^+\s\x00-\x1f\ud800-\udfff]+")
_TEXT = re.compile(r"[^\x00-\x09\x0b-\x1f\ud800-\udfff]*\n")


@dataclass(frozen=True)
class VerifierKey:
    """Who may sign a note, and how it is checked.

    In text (``vkey``): ``<name>+<key ID, 8 hexadecimal digits>+<base64 of type and public key>``, as in
    ``example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k``.
    """

    name: str
    algorithm: int
    public_key: bytes

    @classmethod
    def parse(cls, text: str) -> "VerifierKey":
        """The key in ``text``; ``Malformed``, also for a type of key that is neither of an Ed25519 signature."""
        name, *rest = text.split("+", 2)
        if len(rest) != 2:  # noqa: PLR2004 - three parts, and base64 has pluses of its own
            raise Malformed("a verifier key has three parts with '+' between them")
        material = parse_base64(rest[1])
        if material[:1] not in (bytes([ED25519]), bytes([COSIGNATURE])) or len(material) != 1 + PUBLIC_KEY_BYTES:
            raise Malformed("not an Ed25519 key")
        _check_name(name)
        key = cls(name, material[0], material[1:])
        if rest[0] != key.key_id.hex():
            raise Malformed(f"the key ID is {key.key_id.hex()} and not {rest[0][:40]!r}")
        return key

    def __str__(self) -> str:
        return f"{self.name}+{self.key_id.hex()}+{format_base64(bytes([self.algorithm]) + self.public_key)}"

    @cached_property
    def key_id(self) -> bytes:
        """Four bytes that tell a key from others of the same name."""
        return hashlib.sha256(self.name.encode() + b"\n" + bytes([self.algorithm]) + self.public_key).digest()[
            :_KEY_ID_BYTES
        ]

    def verifies(self, message: bytes, signature: bytes) -> bool:
        """Whether ``signature`` is this key's Ed25519 signature of ``message``."""
        try:
            nacl.signing.VerifyKey(self.public_key).verify(message, signature)
        except (CryptoError, ValueError):
            return False
        return True


@dataclass(frozen=True)
class Signature:
    """One signature line: ``— <key name> <base64 of key ID and signature>``."""

    name: str
    key_id: bytes
    value: bytes

    @classmethod
    def parse(cls, line: str) -> "Signature":
        """The signature in a line without its newline; ``Malformed``."""
        dash, _, rest = line.partition(" ")
        name, space, encoded = rest.partition(" ")
        if dash != _EM_DASH or not space:
            raise Malformed(f"not a signature line: {line[:40]!r}")
        _check_name(name)
        value = parse_base64(encoded)
        if len(value) <= _KEY_ID_BYTES:
            raise Malformed("a signature of no bytes")
        return cls(name, value[:_KEY_ID_BYTES], value[_KEY_ID_BYTES:])

    def __str__(self) -> str:
        return f"{_EM_DASH} {self.name} {format_base64(self.key_id + self.value)}"

    def is_by(self, key: VerifierKey) -> bool:
        """Whether it says that ``key`` has signed."""
        return self.name == key.name and self.key_id == key.key_id


@dataclass(frozen=True)
class Note:
    """A text, which ends in a newline, and its signatures::

    If you think cryptography is the answer to your problem,
    then you don't know what your problem is.

    — PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=
    """

    text: str
    signatures: tuple[Signature, ...]

    @classmethod
    def parse(cls, encoded: bytes) -> "Note":
        """The note in ``encoded``; ``Malformed`` for what ``str`` would not write in the same way."""
        if len(encoded) > MAX_NOTE_BYTES:
            raise Malformed(f"a note of {len(encoded)} bytes")
        try:
            decoded = encoded.decode()
        except UnicodeDecodeError as error:
            raise Malformed("a note is text in UTF-8") from error
        text, blank, lines = decoded.rpartition("\n\n")
        if not blank or not lines.endswith("\n"):
            raise Malformed("a note ends in a blank line, signature lines, and a newline")
        check_text(text + "\n")
        signatures = [Signature.parse(line) for line in lines[:-1].split("\n")]
        if len(signatures) > MAX_SIGNATURES:
            raise Malformed(f"a note with {len(signatures)} signatures")
        return cls(text + "\n", tuple(signatures))

    def __str__(self) -> str:
        return "\n".join([self.text, *map(str, self.signatures), ""])

    def is_signed_by(self, key: VerifierKey) -> bool:
        """Whether ``key``, of type 1, has signed: a line in its name that is not its signature spoils the note."""
        values = [signature.value for signature in self.signatures if signature.is_by(key)]
        message = self.text.encode()
        return key.algorithm == ED25519 and bool(values) and all(key.verifies(message, value) for value in values)


@dataclass(frozen=True)
class SigningKey:
    """An Ed25519 key and the name it signs notes in."""

    name: str
    seed: bytes

    @property
    def verifier_key(self) -> VerifierKey:
        """What its signatures are checked with."""
        return VerifierKey(self.name, ED25519, bytes(nacl.signing.SigningKey(self.seed).verify_key))

    def sign(self, text: str) -> Note:
        """The note of ``text``, always the same for one text (RFC 8032)."""
        check_text(text)
        signature = nacl.signing.SigningKey(self.seed).sign(text.encode()).signature
        return Note(text, (Signature(self.name, self.verifier_key.key_id, signature),))


def check_text(text: str) -> None:
    """Raise ``Malformed`` for what a note cannot be about."""
    if _TEXT.fullmatch(text) is None:
        raise Malformed("the text of a note ends in a newline and has no other control characters")


def _check_name(name: str) -> None:
    if _NAME.fullmatch(name) is None:
        raise Malformed(f"not a key name: {name[:40]!r}")
