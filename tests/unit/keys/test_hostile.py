"""Whatever JSON a server answers with, the verifier says a reason, and nothing else happens."""

import copy
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from sydent_py.keys.compare import Match, compare_with_homeserver
from sydent_py.keys.verify import Current, History, NotVerified, Reason, verify, verify_history
from tests.fakes.key_owner import cross_signing_key, public
from tests.unit.keys.conftest import ALICE, NEW, OLD, World

TEXTS = st.text(st.characters(codec=None, exclude_categories=[]), max_size=8)
NAMES = (
    st.sampled_from(["user_id", "origins", "id.test", "log", "current", "pending", "entries", "payload", "nonce", "proof"])
    | TEXTS
)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | TEXTS
    | st.sampled_from([ALICE, "id.test/log", "A" * 43, "publish"]),
    lambda values: st.lists(values, max_size=3) | st.dictionaries(NAMES, values, max_size=4),
    max_leaves=12,
)
WORLD = World().state("publish", OLD).state("rotate", NEW, OLD, NEW).state("reset", OLD)
ANSWER, HISTORY = WORLD.answer(1, 2), WORLD.history()
GOOD = public(NEW)


def told(value: Any) -> Reason | tuple[Current, History | None]:
    """What the verifier makes of it, as an answer and as a history."""
    try:
        return verify(value, ALICE, WORLD.pins, WORLD.now_ms), None
    except NotVerified:
        pass
    try:
        history = verify_history(value, ALICE, WORLD.pins, WORLD.now_ms)
        return history.current(WORLD.now_ms), history
    except NotVerified as error:
        return error.reason


@given(JSON)
def test_any_json_has_a_reason(value: Any) -> None:
    assert isinstance(told(value), Reason)


@given(JSON)
def test_any_json_in_the_place_of_an_origin_has_a_reason(value: Any) -> None:
    for part in (value, {"log": "id.test/log", "current": value}, {"log": "id.test/log", "entries": [value]}):
        assert isinstance(told({"user_id": ALICE, "origins": {"id.test": part}}), Reason)


def steps(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value)
    return list(range(len(value))) if isinstance(value, list) else []


@given(st.data())
def test_a_true_answer_with_a_change_has_a_reason_or_says_the_same(data: st.DataObject) -> None:
    whole = copy.deepcopy(data.draw(st.sampled_from([ANSWER, HISTORY])))
    where, path = whole, steps(whole)
    while True:
        step = data.draw(st.sampled_from(path))
        path = steps(where[step])
        if not path or data.draw(st.integers(0, 4)) == 0:
            break
        where = where[step]
    before = where[step]
    if isinstance(before, str) and data.draw(st.booleans()):
        place = data.draw(st.integers(0, len(before)))
        where[step] = before[:place] + data.draw(TEXTS) + before[place + data.draw(st.integers(0, 3)) :]
    elif data.draw(st.booleans()):
        where[step] = data.draw(JSON)
    else:
        del where[step]
    found = told(whole)
    if not isinstance(found, Reason):
        assert found[0].master == GOOD


@given(JSON)
def test_any_answer_of_a_homeserver_is_compared(value: Any) -> None:
    current = WORLD.verify(ANSWER)
    for answer in (value, {"master_keys": value}, {"master_keys": {ALICE: value}}):
        assert compare_with_homeserver(current, answer, ALICE) in {Match.MISMATCH, Match.NOT_SERVED}
    assert compare_with_homeserver(current, {"master_keys": {ALICE: cross_signing_key(ALICE, NEW)}}, ALICE) is Match.MATCH
