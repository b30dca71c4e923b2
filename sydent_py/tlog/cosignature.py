"""Cosignatures (c2sp.org/tlog-cosignature): a witness says which checkpoint was the newest it had seen, and when.

A cosignature is a signature line of a checkpoint whose value is a time, in seconds since the epoch as 8 bytes, and an Ed25519
signature of ::

    cosignature/v1
    time 1679315147
    example.com/behind-the-sofa
    20852163
    CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=
"""

from dataclasses import dataclass

import nacl.signing

from sydent_py.tlog.note import COSIGNATURE, Note, Signature, VerifierKey
from sydent_py.tlog.text import MAX_NUMBER

_TIME_BYTES = 8
_ED25519_BYTES = 64


@dataclass(frozen=True)
class WitnessKey:
    """An Ed25519 key that cosigns in one name.

    It may be a log's key too: the text of a note begins with a log's origin, and what is signed here with ``cosignature/v1``.
    """

    name: str
    seed: bytes

    @property
    def verifier_key(self) -> VerifierKey:
        """What its cosignatures are checked with."""
        return VerifierKey(self.name, COSIGNATURE, bytes(nacl.signing.SigningKey(self.seed).verify_key))

    def cosign(self, text: str, time_s: int) -> Signature:
        """The line to add to a checkpoint whose text is ``text`` and whose consistency has been verified."""
        signature = nacl.signing.SigningKey(self.seed).sign(_message(text, time_s)).signature
        return Signature(self.name, self.verifier_key.key_id, time_s.to_bytes(_TIME_BYTES, "big") + signature)


def cosigned_at(note: Note, key: VerifierKey) -> int | None:
    """When ``key``, of type 4, has cosigned, in seconds since the epoch; of several times the newest.

    None where it has not, or where a line in its name is not its cosignature.
    """
    values = [signature.value for signature in note.signatures if signature.is_by(key)]
    times = [int.from_bytes(value[:_TIME_BYTES], "big") for value in values]
    verified = [
        time_s <= MAX_NUMBER and key.verifies(_message(note.text, time_s), value[_TIME_BYTES:])
        for time_s, value in zip(times, values, strict=True)
    ]
    return max(times) if key.algorithm == COSIGNATURE and values and all(verified) else None


def claimed_at(signature: Signature) -> int | None:
    """When a cosignature says that it was made, whether or not it is valid; None for what cannot be one."""
    time_s = int.from_bytes(signature.value[:_TIME_BYTES], "big")
    return time_s if len(signature.value) == _TIME_BYTES + _ED25519_BYTES and time_s <= MAX_NUMBER else None


def _message(text: str, time_s: int) -> bytes:
    return f"cosignature/v1\ntime {time_s}\n{text}".encode()
