"""Makes ``keys.json``, from seeds that are the SHA-256 of names: ``python -m tests.vectors.made_keys``."""

import json
from typing import Any

from nacl.signing import SigningKey
from unpaddedbase64 import encode_base64

from sydent_py.tlog.cosignature import WitnessKey
from tests.fakes.key_log import HOUR_MS, START_MS, KeyLog, seed
from tests.fakes.key_owner import KeyOwner, cross_signing_key, digest, public, signed
from tests.vectors.reading import DIRECTORY

ALICE = "@alice:example.org"
FIRST, SECOND, LOST, SELF_SIGNING = (SigningKey(seed(name)) for name in ("first", "second", "lost", "self-signing"))
WAIT_MS = 72 * HOUR_MS


def chain() -> tuple[KeyLog, KeyOwner, list[int]]:
    """publish, rotate with more keys, reset, cancel, reset: where they are in the log, an hour after each other."""
    log = KeyLog("id.example.org", (WitnessKey("id.partner.org/witness", seed("log of id.partner.org")),))
    owner, places = KeyOwner(ALICE, log.name), []
    more = {
        "master": cross_signing_key(ALICE, SECOND),
        "self_signing": signed(cross_signing_key(ALICE, SELF_SIGNING, "self_signing"), ALICE, SECOND),
        "curve25519": {"JLAFKJWSCS": encode_base64(seed("curve25519"))},
        "application": {"openpgp": "3AA5 C343 71567BD2", "ssh": "SHA256:abc"},
    }
    steps: list[tuple[str, SigningKey, tuple[SigningKey, ...], dict[str, Any]]] = [
        ("publish", FIRST, (), {}),
        ("rotate", SECOND, (FIRST, SECOND), {"keys": more}),
        ("reset", LOST, (), {}),
        ("cancel", SECOND, (), {"keys": more, "nonce": ""}),
        ("reset", LOST, (), {}),
    ]
    for number, (op, master, signers, changes) in enumerate(steps):
        ts = START_MS + number * HOUR_MS
        made = owner.state(op, master, *signers, **{"ts": ts - 250, "nonce": f"challenge-{number + 1}", **changes})
        owner.made.append(made)
        log.fill(number)
        places.append(log.append(made, ts))
    log.fill(3)
    return log, owner, places


def made() -> dict[str, Any]:
    log, owner, places = chain()
    end_ms = START_MS + 4 * HOUR_MS
    answer, history = log.answer(ALICE, places[3], places[4]), log.history(ALICE, *places)
    of_origin = history["origins"][log.origin]
    forged = log.fork(len(log.leaves))
    stolen = forged.append(KeyOwner(ALICE, log.name, owner.made[:1]).state("rotate", LOST, LOST, ts=end_ms), end_ms)
    return {
        "source": "made by tests/vectors/made_keys.py of sydent_py; seeds are the SHA-256 of names",
        "user_id": ALICE,
        "log_key": str(log.key.verifier_key),
        "verify_keys": [log.verify_key],
        "witnesses": [str(each.verifier_key) for each in log.witnesses],
        "statements": [
            {"statement": each, "hash": digest(each), "entry": log.leaves[place].decode()}
            for each, place in zip(owner.made, places, strict=True)
        ],
        "history": history,
        "answer": answer,
        "counts": [
            {"now_ms": end_ms, "master": public(SECOND), "pending": public(LOST), "counts_from_ms": end_ms + WAIT_MS},
            {"now_ms": end_ms + WAIT_MS - 1, "master": public(SECOND), "pending": public(LOST), "counts_from_ms": end_ms + WAIT_MS},
            {"now_ms": end_ms + WAIT_MS, "master": public(LOST), "pending": None, "counts_from_ms": None},
        ],
        "refused_answers": [
            {"reason": "waits", "now_ms": end_ms, "answer": log.answer(ALICE, places[4])},
            {"reason": "broken_chain", "now_ms": end_ms, "answer": log.answer(ALICE, places[1], places[4])},
            {"reason": "not_in_log", "now_ms": end_ms, "answer": with_proof(answer, log.proof(places[2]))},
            {"reason": "not_proved_yet", "now_ms": end_ms, "answer": with_proof(answer, None)},
        ],
        "refused_histories": [
            {"reason": "broken_chain", "now_ms": end_ms, "history": log.history(ALICE, *places[1:])},
            {"reason": "broken_chain", "now_ms": end_ms, "history": log.history(ALICE, places[0], places[2])},
            {"reason": "user_signature", "now_ms": end_ms, "history": forged.history(ALICE, places[0], stolen)},
            {"reason": "malformed", "now_ms": end_ms, "history": {**history, "origins": {log.origin: {**of_origin, "entries": []}}}},
        ],
    }  # fmt: skip


def with_proof(answer: dict[str, Any], proof: str | None) -> dict[str, Any]:
    [(origin, part)] = answer["origins"].items()
    return {**answer, "origins": {origin: {**part, "current": {**part["current"], "proof": proof}}}}


if __name__ == "__main__":
    (DIRECTORY / "keys.json").write_text(json.dumps(made(), indent=1, ensure_ascii=False) + "\n")
