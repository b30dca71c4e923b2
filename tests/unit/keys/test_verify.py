"""Which key counts, from what a server shows; and why none does, in one word."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from sydent_py.keys.chain import CLOCKS_MS, RESET_WAIT_MS
from sydent_py.keys.entry import AHEAD_MS, witness_key
from sydent_py.keys.verify import NotVerified, Pins, Reason, verify, verify_history
from sydent_py.tlog.cosignature import WitnessKey
from sydent_py.tlog.note import SigningKey
from tests.fakes.key_log import HOUR_MS, START_MS, KeyLog, seed
from tests.fakes.key_owner import KeyOwner, public
from tests.unit.keys.conftest import ALICE, NEW, OLD, OTHER_WITNESS, THIRD, WITNESS, World


def reason(check: Callable[[], Any]) -> Reason:
    with pytest.raises(NotVerified) as caught:
        check()
    assert str(caught.value)
    return caught.value.reason


def changed(value: Any, *path: Any, to: Any) -> Any:
    """A copy with something else at a path."""
    if not path:
        return to
    first, *rest = path
    copy = list(value) if isinstance(value, list) else dict(value)
    copy[first] = changed(copy[first] if isinstance(copy, list) else copy.get(first), *rest, to=to)
    return copy


def current(*rest: Any) -> tuple[Any, ...]:
    return ("origins", "id.test", "current", *rest)


def test_a_published_key_counts(world: World) -> None:
    found = world.verify()
    assert (found.user_id, found.origin, found.master, found.pending) == (ALICE, "id.test", public(OLD), None)
    assert found.keys["master"]["usage"] == ["master"]
    assert (found.entry.ts, found.entry.index) == (START_MS, 2)
    assert found.entry.witnesses == ("b.test/witness", "c.test/witness")


def test_one_origin_of_an_answer_is_enough(world: World) -> None:
    assert world.verify(world.answer()["origins"]["id.test"]) == world.verify()


def test_other_origins_are_not_looked_at(world: World) -> None:
    answer = changed(world.answer(), "origins", "evil.test", to={"log": 1, "current": None})
    assert world.verify(answer).master == public(OLD)


def test_what_a_later_version_adds_around_the_signed_parts_is_ignored(world: World) -> None:
    answer = changed(world.answer(), "unsigned", to={"more": 1.5})
    assert world.verify(changed(answer, *current("more"), to=None)).master == public(OLD)


def test_a_reset_that_waits_is_shown_beside_the_key_that_counts(world: World) -> None:
    world.state("reset", NEW)
    found = world.verify(world.answer(0, 1))
    assert (found.master, found.counts_from_ms) == (public(OLD), START_MS + RESET_WAIT_MS)
    assert found.pending is not None
    assert found.pending.statement.master == bytes(NEW.verify_key)


def test_a_reset_counts_when_its_time_has_come_whatever_the_server_says(world: World) -> None:
    world.state("reset", NEW).wait(RESET_WAIT_MS)
    for answer in (world.answer(0, 1), world.answer(1)):
        found = world.verify(answer)
        assert (found.master, found.pending, found.counts_from_ms) == (public(NEW), None, None)


def test_a_reset_that_waits_is_nobodys_current_key(world: World) -> None:
    world.state("reset", NEW).wait(RESET_WAIT_MS - 1)
    assert reason(world.verify) is Reason.WAITS


def test_a_reset_that_was_cancelled_never_counts(world: World) -> None:
    world.state("reset", NEW).wait(HOUR_MS).state("cancel", OLD).wait(RESET_WAIT_MS)
    assert world.verify().master == public(OLD)
    assert reason(lambda: world.verify(world.answer(0, 2))) is Reason.BROKEN_CHAIN


def test_what_was_revoked_is_shown_as_that(world: World) -> None:
    world.state("revoke", OLD)
    assert reason(world.verify) is Reason.REVOKED
    assert reason(lambda: world.verify_history().current(world.now_ms)) is Reason.REVOKED


@pytest.mark.parametrize(
    ("why", "path", "to"),
    [
        (Reason.MALFORMED, (), []),
        (Reason.MALFORMED, (), None),
        (Reason.OTHER_LOG, (), {}),
        (Reason.OTHER_USER, ("user_id",), "@bob:hs.test"),
        (Reason.OTHER_USER, ("user_id",), None),
        (Reason.MALFORMED, ("origins",), []),
        (Reason.UNPUBLISHED, ("origins",), {}),
        (Reason.UNPUBLISHED, ("origins",), {"id.test.": {}}),
        (Reason.MALFORMED, ("origins", "id.test"), None),
        (Reason.OTHER_LOG, ("origins", "id.test", "log"), "other.test/log"),
        (Reason.OTHER_LOG, ("origins", "id.test", "log"), None),
        (Reason.MALFORMED, current(), None),
        (Reason.MALFORMED, current("payload"), "x"),
        (Reason.MALFORMED, current("payload", "more"), 1),
        (Reason.MALFORMED, current("payload", "statement"), None),
        (Reason.MALFORMED, current("payload", "statement", "more"), 1),
        (Reason.MALFORMED, current("payload", "signatures"), {"id.test": {"ed25519:0": 0.5}}),
        (Reason.MALFORMED, current("nonce"), None),
        (Reason.MALFORMED, current("nonce"), "A" * 42),
        (Reason.OTHER_USER, current("payload", "mxid"), "@bob:hs.test"),
        (Reason.OTHER_USER, current("payload", "mxid"), 1),
        (Reason.OTHER_LOG, current("payload", "statement", "log"), "other.test/log"),
        (Reason.SERVER_SIGNATURE, current("payload", "signatures"), {}),
        (Reason.SERVER_SIGNATURE, current("payload", "signatures"), []),
        (Reason.SERVER_SIGNATURE, current("payload", "signatures", "id.test"), "x"),
        (Reason.SERVER_SIGNATURE, current("payload", "signatures", "id.test"), {"ed25519:1": "A" * 86}),
        (Reason.SERVER_SIGNATURE, current("payload", "signatures", "id.test"), {"ed25519:0": "A" * 86}),
        (Reason.SERVER_SIGNATURE, current("payload", "statement", "ts"), START_MS + 1),
        (Reason.SERVER_SIGNATURE, current("payload", "statement", "nonce"), "other"),
        (Reason.NOT_IN_LOG, current("payload", "signatures", "other.test"), {}),
        (Reason.NOT_IN_LOG, current("nonce"), "A" * 43),
        (Reason.NOT_PROVED_YET, current("proof"), None),
        (Reason.MALFORMED, current("proof"), ""),
        (Reason.MALFORMED, current("proof"), 1),
        (Reason.MALFORMED, current("proof"), "\ud800"),
        (Reason.MALFORMED, ("origins", "id.test", "pending"), 1),
    ],
)  # fmt: skip
def test_what_does_not_count_and_why(world: World, why: Reason, path: tuple[Any, ...], to: Any) -> None:
    assert reason(lambda: verify(changed(world.answer(), *path, to=to), ALICE, world.pins, world.now_ms)) is why


def test_the_key_of_another_user_is_not_taken_for_mine(world: World) -> None:
    assert reason(lambda: verify(world.answer(), "@bob:hs.test", world.pins, world.now_ms)) is Reason.OTHER_USER
    part = world.answer()["origins"]["id.test"]
    assert reason(lambda: verify(part, "@bob:hs.test", world.pins, world.now_ms)) is Reason.OTHER_USER


def test_a_server_signs_for_itself_alone(world: World) -> None:
    other = KeyLog("evil.test").pins()
    pins = replace(world.pins, server_keys=other.server_keys)
    assert reason(lambda: world.verify(pins=pins)) is Reason.SERVER_SIGNATURE
    several = replace(world.pins, server_keys={**other.server_keys, "ed25519:1": world.pins.server_keys["ed25519:0"]})
    assert reason(lambda: world.verify(pins=several)) is Reason.SERVER_SIGNATURE


@pytest.mark.parametrize(
    "key", [SigningKey("id.test/log", seed("thief")), SigningKey("id.test/log2", seed("log of id.test"))]
)
def test_a_log_is_known_by_its_key(world: World, key: SigningKey) -> None:
    pins = replace(world.pins, log=key.verifier_key)
    assert reason(lambda: world.verify(pins=pins)) is Reason.OTHER_LOG
    pins = replace(world.pins, log=WitnessKey("id.test/log", world.log.key.seed).verifier_key)
    assert reason(lambda: world.verify(pins=pins)) is Reason.OTHER_LOG


def test_a_proof_is_of_the_very_entry(world: World) -> None:
    world.state("rotate", NEW, OLD, NEW)
    swapped = changed(world.answer(1), *current("proof"), to=world.log.proof(world.places[0]))
    assert reason(lambda: world.verify(swapped)) is Reason.NOT_IN_LOG
    moved = world.log.proof(world.places[1]).replace(f"index {world.places[1]}", f"index {world.places[0]}")
    assert reason(lambda: world.verify(changed(world.answer(1), *current("proof"), to=moved))) is Reason.NOT_IN_LOG


@pytest.mark.parametrize("kind", ["bind", "key_revoke", "keys"])
def test_an_entry_of_another_kind_is_no_statement(world: World, kind: str) -> None:
    place = world.log.append(world.owner.made[0], START_MS, kind)
    assert reason(lambda: world.verify(world.log.answer(ALICE, place))) is Reason.NOT_IN_LOG


def test_the_time_of_an_entry_is_the_logs_and_cannot_be_told_otherwise(world: World) -> None:
    """Else a server could let a reset count before its time."""
    world.state("reset", NEW)
    answer = world.answer(1)
    proof: str = answer["origins"]["id.test"]["current"]["proof"]
    leaf = world.log.leaves[world.places[1]]
    world.log.leaves[world.places[1]] = leaf.replace(b"%d" % START_MS, b"%d" % (START_MS - RESET_WAIT_MS))
    forged = world.log.proof(world.places[1])
    mixed = "\n".join([*forged.split("\n")[:2], *proof.split("\n")[2:]])
    assert reason(lambda: world.verify(changed(answer, *current("proof"), to=mixed))) is Reason.NOT_IN_LOG


def test_a_log_that_takes_a_statement_at_another_time_than_the_user_signed_it_is_not_believed(world: World) -> None:
    """An old statement of a chain that was erased, played again; a reset that is said to have been there for long."""
    for off_ms in (CLOCKS_MS + 1, -CLOCKS_MS - 1):
        place = world.log.append(world.owner.made[0], START_MS + off_ms)
        assert reason(lambda place=place: world.verify(world.log.answer(ALICE, place))) is Reason.BROKEN_CHAIN


@pytest.mark.parametrize(
    ("op", "master", "signers", "why"),
    [
        ("publish", OLD, (NEW,), Reason.USER_SIGNATURE),
        ("publish", OLD, (OLD, NEW), Reason.USER_SIGNATURE),
        ("rotate", OLD, (OLD,), Reason.BROKEN_CHAIN),
        ("reset", OLD, (OLD,), Reason.BROKEN_CHAIN),
    ],
)
def test_a_first_statement_is_a_publication_by_its_own_key(op: str, master: Any, signers: Any, why: Reason) -> None:
    world = World().state(op, master, *signers)
    assert reason(world.verify) is why
    assert reason(world.verify_history) is why


def test_nobody_but_the_user_signs_statements(world: World) -> None:
    made = {**world.owner.state("rotate", NEW, OLD, NEW, ts=START_MS)}
    by_user = made["signatures"][ALICE]
    by_user[f"ed25519:{public(OLD)}"] = by_user[f"ed25519:{public(NEW)}"]
    world.places.append(world.log.append(made, START_MS))
    assert reason(world.verify) is Reason.USER_SIGNATURE
    assert reason(world.verify_history) is Reason.USER_SIGNATURE


def test_a_later_publication_is_none(world: World) -> None:
    world.state("publish", NEW)
    assert reason(world.verify) is Reason.BROKEN_CHAIN


def test_what_waits_is_a_reset_that_follows(world: World) -> None:
    rotated = world.fork(1).state("rotate", NEW, OLD, NEW)
    assert reason(lambda: rotated.verify(rotated.answer(0, 1))) is Reason.BROKEN_CHAIN
    elsewhere = World().state("publish", THIRD).state("reset", NEW)
    assert reason(lambda: elsewhere.verify(elsewhere.answer(1, 1))) is Reason.BROKEN_CHAIN
    world.owner.made[0] = elsewhere.owner.made[0]
    world.state("reset", NEW)
    assert reason(lambda: world.verify(world.answer(0, 1))) is Reason.BROKEN_CHAIN


def test_the_log_has_what_follows_further_on() -> None:
    world = World()
    first = world.owner.state("publish", OLD, ts=START_MS)
    world.owner.made.append(first)
    world.log.append(world.owner.state("reset", NEW, ts=START_MS), START_MS)
    world.log.append(first, START_MS)
    assert reason(lambda: world.verify(world.log.answer(ALICE, 1, 0))) is Reason.BROKEN_CHAIN
    assert reason(lambda: verify_history(world.log.history(ALICE, 1, 0), ALICE, world.pins, START_MS)) is Reason.BROKEN_CHAIN


def test_two_trees_of_one_size_are_evidence(world: World) -> None:
    world.state("reset", NEW)
    fork = world.fork(1)
    fork.log.fill(2)
    fork.log.append(fork.owner.state("rotate", NEW, OLD, NEW, ts=START_MS), START_MS)
    answer = changed(world.answer(0, 1), *current(), to=fork.log.entry(world.places[0]))
    with pytest.raises(NotVerified) as caught:
        world.verify(answer)
    assert caught.value.reason is Reason.SPLIT_VIEW
    size = len(world.log.leaves)
    assert set(caught.value.evidence) == {str(world.log.checkpoint(size)), str(fork.log.checkpoint(size))}


def witnessed(
    world: World, required: int | None = None, max_age_ms: int | None = None, *keys: WitnessKey
) -> tuple[str, ...]:
    pinned = [str(each.verifier_key) for each in keys]
    pins = Pins.parse(str(world.log.key.verifier_key), [world.log.verify_key], pinned, required, max_age_ms)
    return world.verify(pins=pins).entry.witnesses


def test_as_many_witnesses_as_are_required_have_cosigned(world: World) -> None:
    stranger = WitnessKey("d.test/witness", seed("d.test"))
    assert witnessed(world, None, None, WITNESS, OTHER_WITNESS) == ("b.test/witness", "c.test/witness")
    assert witnessed(world, 2, None, stranger, WITNESS, OTHER_WITNESS) == ("b.test/witness", "c.test/witness")
    assert witnessed(world, 0, None, stranger) == ()
    assert reason(lambda: witnessed(world, None, None, stranger, WITNESS)) is Reason.WITNESSES
    assert reason(lambda: witnessed(world, 1, None)) is Reason.WITNESSES
    assert reason(lambda: witnessed(world, 3, None, WITNESS, OTHER_WITNESS, stranger)) is Reason.WITNESSES


def test_a_witness_counts_once_and_a_log_is_not_its_own(world: World) -> None:
    itself = WitnessKey("id.test/witness", world.log.key.seed)
    renamed = WitnessKey("e.test/witness", WITNESS.seed)
    world.log.witnesses = (WITNESS, renamed, itself)
    assert witnessed(world, 0, None, WITNESS, renamed, itself, WITNESS) == ("b.test/witness",)
    assert reason(lambda: witnessed(world, 2, None, WITNESS, renamed)) is Reason.WITNESSES
    assert reason(lambda: witnessed(world, 1, None, itself)) is Reason.WITNESSES


def test_a_cosignature_may_have_to_be_recent(world: World) -> None:
    world.wait(HOUR_MS)
    assert witnessed(world, 1, HOUR_MS, WITNESS)
    world.wait(1)
    assert reason(lambda: witnessed(world, 1, HOUR_MS, WITNESS)) is Reason.WITNESSES
    assert witnessed(world, 1, None, WITNESS)
    world.now_ms = START_MS - AHEAD_MS
    assert witnessed(world, 1, HOUR_MS, WITNESS)
    world.now_ms -= 1
    assert reason(lambda: witnessed(world, 1, HOUR_MS, WITNESS)) is Reason.WITNESSES, "from the future"


def test_a_history_is_verified_from_the_first_statement_on(world: World) -> None:
    world.state("reset", NEW).wait(HOUR_MS).state("cancel", OLD).state("rotate", THIRD, OLD, THIRD).state("reset", NEW)
    history = world.verify_history()
    assert [each.statement.op for each in history.entries] == ["publish", "reset", "cancel", "rotate", "reset"]
    assert [each.index for each in history.entries] == world.places
    found = history.current(world.now_ms)
    assert found == world.verify(world.answer(3, 4))
    assert (found.master, found.counts_from_ms) == (public(THIRD), world.now_ms + RESET_WAIT_MS)
    world.wait(RESET_WAIT_MS)
    assert world.verify_history().current(world.now_ms).master == public(NEW)


@pytest.mark.parametrize(
    ("broken", "why"),
    [
        (lambda _: [], Reason.MALFORMED),
        (lambda _: None, Reason.MALFORMED),
        (lambda entries: {"0": entries[0]}, Reason.MALFORMED),
        (lambda _: [None], Reason.MALFORMED),
        (lambda entries: entries[1:], Reason.BROKEN_CHAIN),
        (lambda entries: [entries[0], entries[2]], Reason.BROKEN_CHAIN),
        (lambda entries: [*entries, entries[2]], Reason.BROKEN_CHAIN),
        (lambda entries: entries[::-1], Reason.BROKEN_CHAIN),
        (lambda entries: [entries[0], entries[0]], Reason.BROKEN_CHAIN),
        (lambda entries: [*entries[:2], {**entries[2], "proof": None}], Reason.NOT_PROVED_YET),
    ],
)  # fmt: skip
def test_a_history_has_no_gaps(world: World, broken: Callable[[list[Any]], Any], why: Reason) -> None:
    world.state("rotate", NEW, OLD, NEW).state("rotate", THIRD, NEW, THIRD)
    whole = world.history()
    entries = broken(whole["origins"]["id.test"]["entries"])
    assert reason(lambda: world.verify_history(changed(whole, "origins", "id.test", "entries", to=entries))) is why


@pytest.mark.parametrize("signers", [(NEW,), (NEW, THIRD)], ids=["the new key", "the new key and another"])
def test_a_server_that_rotates_a_key_by_itself_is_found_by_the_history(world: World, signers: tuple[Any, ...]) -> None:
    """One statement alone cannot show it."""
    world.state("rotate", NEW, *signers)
    assert world.verify().master == public(NEW)
    assert reason(world.verify_history) is Reason.USER_SIGNATURE


def test_a_history_ends_with_what_the_answer_shows(world: World) -> None:
    world.state("rotate", NEW, OLD, NEW)
    history = world.verify_history()
    history.check_shows(world.verify())
    assert reason(lambda: history.check_shows(world.verify(world.answer(0)))) is Reason.BROKEN_CHAIN
    world.state("reset", THIRD)
    history = world.verify_history()
    history.check_shows(world.verify(world.answer(1, 2)))
    assert reason(lambda: history.check_shows(world.verify(world.answer(1)))) is Reason.BROKEN_CHAIN


def test_pins_are_read_as_operators_write_them() -> None:
    log = KeyLog()
    pins = Pins.parse(
        str(log.key.verifier_key),
        [log.verify_key, f"{log.verify_key}="],
        [str(SigningKey("b.test/log", WITNESS.seed).verifier_key)],
    )
    assert (pins.origin, list(pins.server_keys), pins.required) == ("id.test", ["ed25519:0"], 1)
    assert pins.witnesses == (WITNESS.verifier_key,)
    assert witness_key(str(WITNESS.verifier_key)) == WITNESS.verifier_key


@pytest.mark.parametrize(
    ("log", "verify_keys", "witnesses"),
    [
        ("", [], []),
        (str(SigningKey("id.test", bytes(32)).verifier_key), [], []),
        (None, ["ed25519:0"], []),
        (None, ["ed25519:0 AAAA"], []),
        (None, ["ed448:0 " + "A" * 43], []),
        (None, ["ed25519:0 \ud800"], []),
        (None, [], ["b.test/witness"]),
        (None, [], [str(SigningKey("b.test", bytes(32)).verifier_key)]),
    ],
)  # fmt: skip
def test_pins_that_are_none(log: str | None, verify_keys: list[str], witnesses: list[str]) -> None:
    with pytest.raises(ValueError, match=r".+"):
        Pins.parse(str(KeyLog().key.verifier_key) if log is None else log, verify_keys, witnesses)


def test_one_user_may_be_in_two_logs(world: World) -> None:
    other = World(KeyLog("b.test"), KeyOwner(ALICE, "b.test/log")).state("publish", NEW)
    both = changed(world.answer(), "origins", "b.test", to=other.answer()["origins"]["b.test"])
    assert world.verify(both).master == public(OLD)
    assert other.verify(both).master == public(NEW)
    assert OTHER_WITNESS in world.log.witnesses
