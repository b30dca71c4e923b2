"""A homeserver has the keys that it serves compared with those that its users have published."""

import pytest

from tests.conftest import Launch
from tests.driver import Driver, refusal
from tests.fakes.companion import Companion
from tests.fakes.key_owner import master_key, public
from tests.key_owner import ALICE, Person

OLD, NEW = master_key("old"), master_key("new")
BOB = "@bob:hs.test"


@pytest.fixture
def api(launch: Launch) -> Driver:
    return launch(trusted_homeservers=[{"name": "hs.test"}])


def test_published_keys_match_differ_or_are_not_there(api: Driver) -> None:
    Person(api).done("publish", OLD)
    companion = Companion(api)
    answer = companion.ask("keys/compare", {"keys": {ALICE: public(OLD), BOB: public(OLD)}})
    assert answer.get_json() == {"users": {ALICE: "match", BOB: "unpublished"}}
    answer = companion.ask("keys/compare", {"keys": {ALICE: public(NEW)}})
    assert answer.get_json() == {"users": {ALICE: "differs"}}


def test_a_homeserver_asks_for_its_own_users_alone(api: Driver) -> None:
    answer = Companion(api).ask("keys/compare", {"keys": {"@alice:other.test": public(OLD)}})
    assert refusal(answer) == (403, "M_FORBIDDEN")


@pytest.mark.parametrize("keys", [{}, {ALICE: "no key"}, {ALICE: 1}, {"alice": public(OLD)}, [ALICE], None], ids=repr)
def test_what_is_no_key_of_a_user_is_refused(api: Driver, keys: object) -> None:
    assert Companion(api).ask("keys/compare", {"keys": keys}).status_code == 400
