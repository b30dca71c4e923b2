"""What a server claims of itself is read as far as it can be read."""

from typing import Any

from hypothesis import given

from sydent_py.cli.keys_asked import _claimed_key_ids, _claimed_master
from tests.fakes.key_owner import public
from tests.unit.keys.conftest import NEW
from tests.unit.keys.test_hostile import ANSWER, JSON


@given(JSON)
def test_any_json_claims_something_or_nothing(value: Any) -> None:
    for part in (
        value,
        {"current": value},
        {"current": {"payload": value}},
        {"current": {"payload": {"signatures": value}}},
    ):
        assert _claimed_master(part) is None
        assert all(isinstance(each, str) for each in _claimed_key_ids({"origins": {"id.test": part}}, "id.test"))
    assert _claimed_key_ids(value, "id.test") == []


def test_claims_are_read() -> None:
    assert _claimed_master(ANSWER["origins"]["id.test"]) == public(NEW)
    assert _claimed_key_ids(ANSWER, "id.test") == ["ed25519:0"]
