"""Looking people up."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from sydent_py.directory.peppers import lookup_hash
from tests.conftest import Launch
from tests.driver import Driver, refusal

DAY_S = 86_400


def ask(api: Driver, token: str, addresses: list[str], algorithm: str = "sha256", pepper: str | None = None):
    body = {"algorithm": algorithm, "pepper": pepper or api.pepper(token), "addresses": addresses}
    return api.post("/lookup", body, token)


def test_hash_details_name_the_pepper_and_the_algorithms(api: Driver) -> None:
    details = api.get("/hash_details", api.register()).get_json()
    assert details["algorithms"] == ["sha256"]
    assert len(details["lookup_pepper"]) * 6 >= 128


def test_the_specifications_examples_hash_as_it_says() -> None:
    assert lookup_hash("alice@example.com email", "matrixrocks") == "4kenr7N9drpCJ4AfalmlGQVsOn3o2RHjkADUpXJWZUc"
    assert lookup_hash("bob@example.com email", "matrixrocks") == "LJwSazmv46n0hlMlsb_iYxI0_HXEqy_yj6Jm636cdT8"
    assert lookup_hash("18005552067 msisdn", "matrixrocks") == "nlo35_T5fzSGZzJApqu8lgIudJvmOQtDaHtr-I4rU7I"


def test_an_unknown_pepper_is_answered_with_the_current_one(api: Driver) -> None:
    token = api.register()
    answer = ask(api, token, [], pepper="matrixrocks")
    assert refusal(answer) == (400, "M_INVALID_PEPPER")
    assert answer.get_json()["lookup_pepper"] == api.pepper(token)


def test_other_algorithms_are_refused(api: Driver) -> None:
    token = api.register()
    assert refusal(ask(api, token, [], algorithm="md5")) == (400, "M_INVALID_PARAM")
    assert refusal(ask(api, token, [], algorithm="none")) == (400, "M_INVALID_PARAM")


def test_none_looks_up_addresses_in_clear_once_the_operator_says_so(launch: Launch) -> None:
    api = launch(lookup={"algorithms": ["sha256", "none"]})
    token, _ = api.bound()
    assert api.get("/hash_details", token).get_json()["algorithms"] == ["sha256", "none"]
    answer = ask(api, token, ["alice@example.org email", "bob@example.org email", "alice@example.org"], algorithm="none")
    assert answer.get_json() == {"mappings": {"alice@example.org email": "@alice:hs.test"}}


def test_hashes_nobody_has_are_left_out_and_odd_ones_do_no_harm(api: Driver) -> None:
    token, _ = api.bound()
    known = lookup_hash("alice@example.org email", api.pepper(token))
    answer = ask(api, token, [known, known, "", "x" * 1000, "ü", f"{known}="])
    assert answer.get_json() == {"mappings": {known: "@alice:hs.test"}}


def test_a_domain_is_found_in_unicode_and_as_its_a_label_until_it_is_unbound(api: Driver) -> None:
    token, sid = api.bound("Ida@EXÄMPLE.org")
    spellings = ("ida@exämple.org", "ida@xn--exmple-cua.org")
    assert api.lookup(token, *spellings) == dict.fromkeys(spellings, "@alice:hs.test")
    api.unbind(token, sid, "ida@exämple.org")
    assert api.lookup(token, *spellings) == {}


def test_an_empty_lookup_is_an_empty_answer(api: Driver) -> None:
    assert ask(api, api.register(), []).get_json() == {"mappings": {}}


@pytest.mark.parametrize("addresses", [None, "x", {}, [1], [None], [["x"]]])
def test_addresses_must_be_a_list_of_strings(api: Driver, addresses: list[str]) -> None:
    assert refusal(ask(api, api.register(), addresses)) == (400, "M_INVALID_PARAM")


def test_a_lookup_is_limited_in_addresses(launch: Launch) -> None:
    api = launch(lookup={"max_addresses": 3})
    token = api.register()
    assert ask(api, token, ["a", "b", "c"]).status_code == 200
    assert refusal(ask(api, token, ["a", "b", "c", "d"])) == (413, "M_TOO_LARGE")


def test_ten_thousand_addresses_are_looked_up_at_once(api: Driver) -> None:
    token, _ = api.bound()
    known = lookup_hash("alice@example.org email", api.pepper(token))
    hashes = [lookup_hash(f"{number} email", "x") for number in range(9_999)]
    assert ask(api, token, [*hashes, known]).get_json() == {"mappings": {known: "@alice:hs.test"}}


def test_an_account_has_a_daily_budget_of_hashes(launch: Launch) -> None:
    api = launch(limits={"lookup_hashes_per_account": 5})
    token, other = api.register(), api.register("@bob:hs.test")
    assert ask(api, token, ["a", "b", "c"]).status_code == 200
    refused = ask(api, token, ["d", "e", "f"])
    assert refusal(refused) == (429, "M_LIMIT_EXCEEDED")
    assert 0 < refused.get_json()["retry_after_ms"] <= DAY_S * 1000
    assert ask(api, token, ["d", "e"]).status_code == 200
    assert refusal(ask(api, token, ["g"])) == (429, "M_LIMIT_EXCEEDED")
    assert ask(api, other, ["a"]).status_code == 200
    api.clock.advance(DAY_S)
    assert ask(api, token, ["a"]).status_code == 200


def test_a_homeserver_has_one_too_which_refused_requests_do_not_use_up(launch: Launch) -> None:
    api = launch(limits={"lookup_hashes_per_account": 4, "lookup_hashes_per_homeserver": 6})
    alice, bob = api.register("@alice:hs.test"), api.register("@bob:hs.test")
    elsewhere = api.register("@carol:other.test")
    assert ask(api, alice, ["a"] * 4).status_code == 200
    assert [ask(api, alice, ["a"] * 2).status_code for _ in range(5)] == [429] * 5
    assert ask(api, bob, ["a"] * 2).status_code == 200
    assert refusal(ask(api, bob, ["a"])) == (429, "M_LIMIT_EXCEEDED")
    assert ask(api, elsewhere, ["a"]).status_code == 200


def test_a_lookup_beyond_the_whole_budget_is_refused(launch: Launch) -> None:
    api = launch(limits={"lookup_hashes_per_account": 2})
    assert refusal(ask(api, api.register(), ["a", "b", "c"])) == (429, "M_LIMIT_EXCEEDED")


def test_lifting_the_limits_lifts_the_budget(launch: Launch) -> None:
    api = launch(limits={"enabled": False, "lookup_hashes_per_account": 1})
    assert ask(api, api.register(), ["a", "b", "c"]).status_code == 200


def test_a_homeservers_budget_is_its_hosts_in_every_spelling(launch: Launch) -> None:
    api = launch(limits={"lookup_hashes_per_homeserver": 5})
    users = ("@a:hs.test", "@b:HS.test", "@c:hs.test:1", "@d:Hs.Test:8448", "@e:hs.test:01", "@f:hS.test")
    assert [ask(api, api.register(user), ["x"]).status_code for user in users] == [200] * 5 + [429]


def test_lookups_at_the_same_moment_share_one_budget(launch: Launch) -> None:
    api = launch(limits={"lookup_hashes_per_account": 1000})
    token = api.register()
    pepper = api.pepper(token)
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: ask(api, token, ["x"] * 1000, pepper=pepper).status_code, range(8)))
    assert sorted(answers) == [200] + [429] * 7
