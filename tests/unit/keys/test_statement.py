"""A statement has one form, down to the last member."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sydent_py.keys.statement import MAX_BYTES, Malformed, NotSigned, Statement
from tests.fakes.key_log import START_MS
from tests.fakes.key_owner import KeyOwner, cross_signing_key, master_key, public, signed

ALICE = "@alice:hs.test"
OLD, NEW, OTHER = master_key("old"), master_key("new"), master_key("other")


def stated(**changes: Any) -> dict[str, Any]:
    op = changes.pop("op", "publish")
    return KeyOwner(ALICE).state(op, OLD, **{"ts": START_MS, **changes})


def with_keys(**more: Any) -> dict[str, Any]:
    return stated(keys={"master": cross_signing_key(ALICE, OLD), **more})


def self_signing(*signers: Any, usage: str = "self_signing", user_id: str = ALICE) -> dict[str, Any]:
    return signed(cross_signing_key(user_id, OTHER, usage), ALICE, *signers)


def test_a_statement_is_read() -> None:
    value = stated(nonce="a-challenge_1")
    statement = Statement.parse(value)
    assert (statement.user_id, statement.log, statement.op, statement.seq) == (ALICE, "id.test/log", "publish", 1)
    assert (statement.prev, statement.ts, statement.nonce) == (None, START_MS, "a-challenge_1")
    assert statement.master == bytes(OLD.verify_key)
    statement.require_signatures(statement.master)


@pytest.mark.parametrize(
    "keys",
    [
        {"self_signing": self_signing(OLD)},
        {"curve25519": {"JLAFKJWSCS": public(OTHER), "": public(NEW)}},
        {"application": {"openpgp": "6A5B 1F2C", "ssh": "SHA256:uNiVztksCsDhcc0u9e8BrzO"}},
        {"self_signing": self_signing(OLD), "curve25519": {}, "application": {}},
    ],
    ids="+".join,
)
def test_the_keys_that_a_master_key_vouches_for_come_with_it(keys: dict[str, Any]) -> None:
    Statement.parse(with_keys(**keys))


def test_the_master_key_may_have_what_homeservers_and_devices_add() -> None:
    uploaded = signed(cross_signing_key(ALICE, OLD), ALICE, OTHER)
    statement = Statement.parse(stated(keys={"master": {**uploaded, "unsigned": {"known": nested(12)}}}))
    assert statement.master == bytes(OLD.verify_key)


MASTER = cross_signing_key(ALICE, OLD)


def nested(depth: int) -> list[Any]:
    return [nested(depth - 1)] if depth > 1 else []


BROKEN: dict[str, Callable[[], Any]] = {
    "no object": lambda: [stated()],
    "nothing": lambda: None,
    "another type": lambda: stated(type="sydent_py.keys.v2"),
    "no type": lambda: {name: value for name, value in stated().items() if name != "type"},
    "a member more": lambda: stated(more=1),
    "a member less": lambda: {name: value for name, value in stated().items() if name != "nonce"},
    "unsigned": lambda: {**stated(), "unsigned": {}},
    "a float": lambda: {**stated(), "ts": 1.0},
    "a float within": lambda: {**stated(), "keys": {"master": {**MASTER, "weight": 0.5}}},
    "NaN": lambda: {**stated(), "ts": float("nan")},
    "a negative ts": lambda: stated(ts=-1),
    "true for ts": lambda: stated(ts=True),
    "a ts beyond 53 bits": lambda: {**stated(), "ts": 2**53},
    "a string for seq": lambda: stated(seq="1"),
    "true for seq": lambda: stated(seq=True),
    "seq 0": lambda: stated(seq=0),
    "seq 1 with prev": lambda: stated(prev="A" * 43),
    "seq 2 without prev": lambda: stated(seq=2),
    "a prev of 31 bytes": lambda: stated(seq=2, prev="A" * 42),
    "a padded prev": lambda: stated(seq=2, prev="A" * 43 + "="),
    "a prev that is a number": lambda: stated(seq=2, prev=1),
    "an unknown op": lambda: stated(op="steal"),
    "an op that is a list": lambda: stated(op=["publish"]),
    "no log": lambda: stated(log=""),
    "a log with a long name": lambda: stated(log="l" * 301),
    "a log that is none": lambda: stated(log=None),
    "no user": lambda: {**stated(), "user_id": ""},
    "a user with a long name": lambda: {**stated(), "user_id": "@" + "a" * 255},
    "a nonce that is none": lambda: stated(nonce=None),
    "a nonce with blanks": lambda: stated(nonce="a b"),
    "a long nonce": lambda: stated(nonce="a" * 65),
    "U+0000": lambda: {**stated(), "nonce": "\0"},
    "a lone surrogate": lambda: {**stated(), "log": "\ud800"},
    "deep nesting": lambda: {**stated(), "keys": {"master": {**MASTER, "unsigned": nested(14)}}},
    "no keys": lambda: stated(keys={}),
    "keys that are a list": lambda: stated(keys=[MASTER]),
    "no master key": lambda: stated(keys={"self_signing": self_signing(OLD)}),
    "a kind of key that nobody knows": lambda: with_keys(user_signing={}),
    "a master key that is a string": lambda: stated(keys={"master": public(OLD)}),
    "a master key of another user": lambda: stated(keys={"master": cross_signing_key("@bob:hs.test", OLD)}),
    "a master key for another use": lambda: stated(keys={"master": cross_signing_key(ALICE, OLD, "self_signing")}),
    "a master key for two uses": lambda: stated(keys={"master": {**MASTER, "usage": ["master", "self_signing"]}}),
    "two master keys": lambda: stated(keys={"master": {**MASTER, "keys": {f"ed25519:{public(key)}": public(key) for key in (OLD, NEW)}}}),
    "no public key": lambda: stated(keys={"master": {**MASTER, "keys": {}}}),
    "a public key under another name": lambda: stated(keys={"master": {**MASTER, "keys": {f"ed25519:{public(NEW)}": public(OLD)}}}),
    "an unknown algorithm": lambda: stated(keys={"master": {**MASTER, "keys": {f"ed448:{public(OLD)}": public(OLD)}}}),
    "a short public key": lambda: stated(keys={"master": {**MASTER, "keys": {"ed25519:AAAA": "AAAA"}}}),
    "a padded public key": lambda: stated(keys={"master": {**MASTER, "keys": {f"ed25519:{public(OLD)}=": public(OLD) + "="}}}),
    "an unsigned self-signing key": lambda: with_keys(self_signing=cross_signing_key(ALICE, OTHER, "self_signing")),
    "a self-signing key that another key has signed": lambda: with_keys(self_signing=self_signing(NEW)),
    "a self-signing key for another use": lambda: with_keys(self_signing=self_signing(OLD, usage="user_signing")),
    "a self-signing key of another user": lambda: with_keys(self_signing=self_signing(OLD, user_id="@bob:hs.test")),
    "a self-signing key that was changed": lambda: with_keys(self_signing={**self_signing(OLD), "more": 1}),
    "a self-signing key with signatures that are none": lambda: with_keys(self_signing={**self_signing(OLD), "signatures": []}),
    "a curve key that is none": lambda: with_keys(curve25519={"a": "b"}),
    "curve keys that are a list": lambda: with_keys(curve25519=[public(OTHER)]),
    "17 curve keys": lambda: with_keys(curve25519={f"{number}": public(OTHER) for number in range(17)}),
    "17 applications": lambda: with_keys(application={f"a{number}": "x" for number in range(17)}),
    "an application with a bad name": lambda: with_keys(application={"Open PGP": "x"}),
    "an application with control characters": lambda: with_keys(application={"openpgp": "a\nb"}),
    "an application without a fingerprint": lambda: with_keys(application={"openpgp": ""}),
    "an application that is a number": lambda: with_keys(application={"openpgp": 1}),
    "no signatures": lambda: {**stated(), "signatures": {}},
    "signatures of nobody": lambda: {**stated(), "signatures": {ALICE: {}}},
    "signatures of another user": lambda: {**stated(), "signatures": {"@bob:hs.test": stated()["signatures"][ALICE]}},
    "signatures of two users": lambda: {**stated(), "signatures": {**stated()["signatures"], "@bob:hs.test": {}}},
    "three signatures": lambda: KeyOwner(ALICE).state("publish", OLD, OLD, NEW, OTHER, ts=START_MS),
    "a signature of an unknown algorithm": lambda: {**stated(), "signatures": {ALICE: {f"ed448:{public(OLD)}": "A" * 86}}},
    "a signature under a device's name": lambda: {**stated(), "signatures": {ALICE: {"ed25519:JLAFKJWSCS": "A" * 86}}},
    "a short signature": lambda: {**stated(), "signatures": {ALICE: {f"ed25519:{public(OLD)}": "AAAA"}}},
    "a signature that is a number": lambda: {**stated(), "signatures": {ALICE: {f"ed25519:{public(OLD)}": 1}}},
}  # fmt: skip


@pytest.mark.parametrize("make", BROKEN.values(), ids=BROKEN)
def test_what_is_no_statement(make: Callable[[], Any]) -> None:
    with pytest.raises(Malformed):
        Statement.parse(make())


def test_a_statement_of_4096_bytes_is_the_longest() -> None:
    fingerprints = {f"a{number}": "x" * 1024 for number in range(3)}
    short = len(Statement.parse(with_keys(application={**fingerprints, "b": "x"})).encoded)
    rest = MAX_BYTES - short + 1
    assert len(Statement.parse(with_keys(application={**fingerprints, "b": "x" * rest})).encoded) == MAX_BYTES
    with pytest.raises(Malformed, match="4097"):
        Statement.parse(with_keys(application={**fingerprints, "b": "x" * (rest + 1)}))


def test_what_was_changed_after_signing_is_not_signed() -> None:
    for changes in ({"ts": START_MS + 1}, {"nonce": "x"}, {"log": "other.test/log"}):
        statement = Statement.parse({**stated(), **changes})
        with pytest.raises(NotSigned):
            statement.require_signatures(statement.master)


def test_who_has_to_sign_signs_and_nobody_else() -> None:
    statement = Statement.parse(KeyOwner(ALICE).state("publish", OLD, OLD, NEW, ts=START_MS))
    old, new = bytes(OLD.verify_key), bytes(NEW.verify_key)
    statement.require_signatures(old, new)
    statement.require_signatures(new, old)
    for masters in ((old,), (new,), (old, bytes(OTHER.verify_key)), ()):
        with pytest.raises(NotSigned):
            statement.require_signatures(*masters)


def test_1_and_true_are_different_keys() -> None:
    one, true = (Statement.parse(stated(keys={"master": {**MASTER, "unsigned": value}})) for value in (1, True))
    assert one.keys == true.keys
    assert one.encoded_keys != true.encoded_keys


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None, exclude_categories=[])),
    lambda values: st.lists(values, max_size=3) | st.dictionaries(st.text(max_size=3), values, max_size=3),
    max_leaves=6,
)


@given(st.data())
def test_anything_in_place_of_a_part_is_refused_with_one_error(data: st.DataObject) -> None:
    """Or it is a statement still, of the same user."""
    value = with_keys(self_signing=self_signing(OLD), curve25519={"a": public(OTHER)}, application={"ssh": "x"})
    where = value
    while True:
        name = data.draw(st.sampled_from(sorted(where)))
        if isinstance(where[name], dict) and where[name] and data.draw(st.booleans()):
            where[name] = dict(where[name])
            where = where[name]
        else:
            break
    where[name] = data.draw(JSON)
    try:
        statement = Statement.parse(value)
    except Malformed:
        return
    assert (statement.user_id, statement.seq) == (value["user_id"], 1) or statement.seq > 1
