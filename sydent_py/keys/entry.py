"""One statement as a server shows it, proved to be in the log of its origin; with no I/O."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sydent_py.keys import canonical
from sydent_py.keys.canonical import NotCanonical
from sydent_py.keys.chain import Link
from sydent_py.keys.statement import KEY_BYTES, REVOKE, SIGNATURE_BYTES, Malformed, Statement, verifies
from sydent_py.log.leaf import Leaf, NotALeaf, commit
from sydent_py.tlog import text
from sydent_py.tlog.checkpoint import Checkpoint, Unsigned
from sydent_py.tlog.cosignature import cosigned_at
from sydent_py.tlog.note import COSIGNATURE, Note, VerifierKey
from sydent_py.tlog.proof import Proof

LOG_SUFFIX = "/log"
WITNESS_SUFFIX = "/witness"
NONCE_BYTES = 32
# How far ahead of ours the clock of a witness may be.
AHEAD_MS = 15 * 60_000
_PAYLOAD = {"mxid", "statement", "signatures"}


class Reason(StrEnum):
    """Why what a server shows does not count."""

    MALFORMED = "malformed"
    OTHER_USER = "other_user"
    UNPUBLISHED = "unpublished"
    OTHER_LOG = "other_log"
    NOT_PROVED_YET = "not_proved_yet"
    NOT_IN_LOG = "not_in_log"
    SERVER_SIGNATURE = "server_signature"
    USER_SIGNATURE = "user_signature"
    WITNESSES = "witnesses"
    BROKEN_CHAIN = "broken_chain"
    WAITS = "waits"
    REVOKED = "revoked"
    SPLIT_VIEW = "split_view"


class NotVerified(Exception):
    """What a server shows does not count: why, in one word and in a sentence; ``evidence`` are checkpoints that the log has signed."""

    def __init__(self, reason: Reason, message: str, evidence: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.reason = reason
        self.evidence = tuple(evidence)


@dataclass(frozen=True)
class Pins:
    """What is known of an origin beforehand, and not from it: the keys that its server signs with, by key ID, and that of its log.

    ``required`` of the ``witnesses`` must have cosigned, for the current keys not longer than ``max_age_ms`` ago where that is given.
    """

    origin: str
    server_keys: Mapping[str, bytes]
    log: VerifierKey
    witnesses: Sequence[VerifierKey] = ()
    required: int = 0
    max_age_ms: int | None = None

    @classmethod
    def parse(
        cls,
        log_key: str,
        verify_keys: Sequence[str],
        witnesses: Sequence[str] = (),
        required: int | None = None,
        max_age_ms: int | None = None,
    ) -> "Pins":
        """The pins in texts as operators exchange them: ``id.example.org/log+530d903a+Aeky...`` and ``ed25519:0 <base64>``.

        A witness is named by what it cosigns with, or by its own log's key, which is the same (ADR 0013). All of them are required
        unless ``required`` says how many. ``ValueError``.
        """
        log, others = VerifierKey.parse(log_key), tuple(map(witness_key, witnesses))
        if not log.name.endswith(LOG_SUFFIX):
            raise ValueError(f"the log of a server is named as the server, and {LOG_SUFFIX}: id.example.org{LOG_SUFFIX}")
        keys = dict(map(server_key, verify_keys))
        origin = log.name.removesuffix(LOG_SUFFIX)
        return cls(origin, keys, log, others, len(others) if required is None else required, max_age_ms)


@dataclass(frozen=True)
class Entry:
    """A statement that is proved: at ``index`` in the log, which took it at ``ts``, in ms since the epoch.

    ``note`` is the checkpoint that proves it, and ``witnesses`` the names of those pinned ones that have cosigned it.
    """

    statement: Statement
    ts: int
    index: int
    commitment: bytes
    note: Note
    witnesses: tuple[str, ...]

    @property
    def link(self) -> Link:
        """The statement in its chain."""
        return Link(self.statement, self.ts)

    @property
    def checkpoint(self) -> Checkpoint:
        """How far the log was when it proved the entry."""
        return Checkpoint.parse(self.note.text)


def prove(value: Any, user_id: str, pins: Pins, now_ms: int, max_age_ms: int | None = None) -> Entry:
    """The entry in an answer, which is proved; ``NotVerified``. Its place in the chain is not checked here."""
    if not isinstance(value, dict):
        raise NotVerified(Reason.MALFORMED, "an entry is an object with payload, nonce and proof")
    payload, nonce = value.get("payload"), canonical.decode_base64(value.get("nonce"), NONCE_BYTES)
    if not isinstance(payload, dict) or set(payload) != _PAYLOAD or nonce is None:
        raise NotVerified(
            Reason.MALFORMED, "an entry has a payload of mxid, statement and signatures, and a nonce of 32 bytes"
        )
    try:
        statement, encoded = Statement.parse(payload["statement"]), canonical.encode(payload)
    except (Malformed, NotCanonical) as error:
        raise NotVerified(Reason.MALFORMED, str(error)) from error
    if (payload["mxid"], statement.user_id) != (user_id, user_id):
        raise NotVerified(Reason.OTHER_USER, f"the statement is of {statement.user_id} and not of {user_id}")
    if statement.log != pins.log.name:
        raise NotVerified(Reason.OTHER_LOG, f"the statement is for the log {statement.log} and not for {pins.log.name}")
    _check_server(payload, pins)
    return _proved(value.get("proof"), statement, commit(nonce, encoded), _Asked(pins, now_ms, max_age_ms))


@dataclass(frozen=True)
class _Asked:
    pins: Pins
    now_ms: int
    max_age_ms: int | None


def _check_server(payload: Mapping[str, Any], pins: Pins) -> None:
    signatures = payload["signatures"]
    by_origin = signatures.get(pins.origin) if isinstance(signatures, dict) else None
    made = by_origin if isinstance(by_origin, dict) else {}
    message = canonical.encode({name: value for name, value in payload.items() if name != "signatures"})
    for key_id, key in pins.server_keys.items():
        signature = canonical.decode_base64(made.get(key_id), SIGNATURE_BYTES)
        if signature is not None and verifies(key, message, signature):
            return
    raise NotVerified(Reason.SERVER_SIGNATURE, f"no known key of {pins.origin} has signed what is said in its name")


def _proved(proof_text: Any, statement: Statement, commitment: bytes, asked: _Asked) -> Entry:
    if proof_text is None:
        raise NotVerified(Reason.NOT_PROVED_YET, "the statement has no proof yet: please ask again in a moment")
    try:
        proof = Proof.parse(proof_text.encode())
        leaf = Leaf.parse(proof.extra or b"")
        is_proved = proof.proves(leaf.encode(), asked.pins.log)
    except (AttributeError, UnicodeEncodeError, text.Malformed, NotALeaf) as error:
        raise NotVerified(Reason.MALFORMED, f"the proof is none: {error}") from error
    except Unsigned as error:
        raise NotVerified(Reason.OTHER_LOG, str(error)) from error
    kind = "key_revoke" if statement.op == REVOKE else "key"
    if not is_proved or (leaf.commitment, leaf.kind) != (commitment, kind):
        raise NotVerified(Reason.NOT_IN_LOG, f"the proof does not show this statement in the log {asked.pins.log.name}")
    return Entry(statement, leaf.ts, proof.index, commitment, proof.checkpoint, _witnesses(proof.checkpoint, asked))


def _witnesses(note: Note, asked: _Asked) -> tuple[str, ...]:
    """Who has cosigned. One key counts once, whatever its names, and the log's own counts for nobody."""
    pins, counted = asked.pins, dict[bytes, str]()
    for key in pins.witnesses:
        time_s = cosigned_at(note, key) if key.public_key != pins.log.public_key else None
        if time_s is not None and _is_recent(time_s * 1000, asked):
            counted.setdefault(key.public_key, key.name)
    if len(counted) < pins.required:
        when = "" if asked.max_age_ms is None else f", not longer than {asked.max_age_ms // 1000} s ago"
        raise NotVerified(
            Reason.WITNESSES,
            f"{len(counted)} of the known witnesses have cosigned it{when}, and {pins.required} are required",
        )
    return tuple(counted.values())


def _is_recent(cosigned_at_ms: int, asked: _Asked) -> bool:
    return asked.max_age_ms is None or -AHEAD_MS <= asked.now_ms - cosigned_at_ms <= asked.max_age_ms


def witness_key(vkey: str) -> VerifierKey:
    """What a witness cosigns with, from that or from its own log's key; ``ValueError``."""
    key = VerifierKey.parse(vkey)
    if key.algorithm == COSIGNATURE:
        return key
    if not key.name.endswith(LOG_SUFFIX):
        raise ValueError("this is neither the key of a server's log nor one that cosigns")
    return VerifierKey(f"{key.name.removesuffix(LOG_SUFFIX)}{WITNESS_SUFFIX}", COSIGNATURE, key.public_key)


def server_key(line: str) -> tuple[str, bytes]:
    """The name and the key in ``ed25519:0 <base64>``, as a server signs with; ``ValueError``."""
    key_id, _, encoded = line.partition(" ")
    key = canonical.decode_base64(encoded.strip().rstrip("="), KEY_BYTES)
    if not key_id.startswith("ed25519:") or key is None:
        raise ValueError(f"not a key that a server signs with, such as ed25519:0 AekyeRrm...: {line[:80]!r}")
    return key_id, key
