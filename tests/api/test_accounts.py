"""Registration, tokens, terms."""

import pytest

from tests.conftest import Launch
from tests.driver import SECRET, TERMS, Driver, openid_token, refusal

TWO_POLICIES = f"""{TERMS}
[policies.privacy_policy.fr]
name = "Politique de confidentialité"
url = "https://id.test/privacy-1.2-fr.html"
[policies.terms_of_service]
version = "2.0"
[policies.terms_of_service.en]
name = "Terms"
url = "https://id.test/terms-2.0-en.html"
"""
AUTHENTICATED = [
    ("GET", "/account"),
    ("GET", "/hash_details"),
    ("POST", "/lookup"),
    ("POST", "/validate/email/requestToken"),
    ("POST", "/validate/email/submitToken"),
    ("GET", "/3pid/getValidated3pid"),
    ("POST", "/3pid/bind"),
    ("POST", "/3pid/unbind"),
]


def test_registration_answers_both_spellings_of_the_token(api: Driver) -> None:
    body = api.post("/account/register", openid_token("@alice:hs.test")).get_json()
    assert body["token"] == body["access_token"]
    assert api.get("/account", body["token"]).get_json() == {"user_id": "@alice:hs.test"}


def test_each_registration_has_its_own_token_and_logout_ends_one(api: Driver) -> None:
    first, second = api.register(), api.register()
    assert first != second
    assert api.request("POST", "/_matrix/identity/v2/account/logout", first).get_json() == {}
    assert refusal(api.get("/account", first)) == (401, "M_UNAUTHORIZED")
    assert refusal(api.request("POST", "/_matrix/identity/v2/account/logout", first)) == (401, "M_UNAUTHORIZED")
    assert api.get("/account", second).status_code == 200


@pytest.mark.parametrize(
    "authorization", [None, "", "Bearer", "Bearer ", "Bearer nonsense", "Basic abc", "Bearer a,Bearer b", "Bearer \xfc\xfc"]
)
def test_without_a_valid_token_nobody_gets_in(api: Driver, authorization: str | None) -> None:
    headers = {} if authorization is None else {"Authorization": authorization}
    assert refusal(api.request("GET", "/_matrix/identity/v2/account", headers=headers)) == (401, "M_UNAUTHORIZED")


@pytest.mark.parametrize(("method", "path"), [*AUTHENTICATED, ("POST", "/account/logout"), ("POST", "/terms")])
def test_every_endpoint_but_the_public_ones_wants_a_token(api: Driver, method: str, path: str) -> None:
    assert refusal(api.request(method, f"/_matrix/identity/v2{path}", data=b"{}")) == (401, "M_UNAUTHORIZED")


def test_only_hash_details_takes_its_token_from_the_query(api: Driver) -> None:
    token = api.register()
    assert api.get("/hash_details", access_token=token).status_code == 200
    assert refusal(api.get("/hash_details", access_token="wrong")) == (401, "M_UNAUTHORIZED")
    assert refusal(api.get("/account", access_token=token)) == (401, "M_UNAUTHORIZED")


def test_a_token_the_homeserver_rejects_is_401(api: Driver) -> None:
    body = {**openid_token("@alice:hs.test"), "access_token": "rejected"}
    assert refusal(api.post("/account/register", body)) == (401, "M_UNAUTHORIZED")


def test_a_homeserver_that_cannot_be_asked_is_502_and_takes_its_time(api: Driver) -> None:
    assert refusal(api.post("/account/register", openid_token("@alice:down.test"))) == (502, "M_UNKNOWN")
    assert api.clock.slept_s == [1.0]


@pytest.mark.parametrize(
    "server", ["", "hs.test/", "hs.test:0", "hs.test:99999", "2130706433", "127.1", "hs_.test", "http://x", "ｈs.test"]
)
def test_server_names_outside_the_grammar_are_refused(api: Driver, server: str) -> None:
    body = {**openid_token("@a:hs.test"), "matrix_server_name": server}
    assert refusal(api.post("/account/register", body)) == (400, "M_INVALID_PARAM")


def test_registrations_from_one_network_are_limited(launch: Launch) -> None:
    api = launch(limits={"register_per_network": "2/hour"})
    api.register()
    api.register()
    assert refusal(api.post("/account/register", openid_token("@a:hs.test"))) == (429, "M_LIMIT_EXCEEDED")


@pytest.fixture
def strict(launch: Launch, tmp_path) -> Driver:
    (tmp_path / "terms.toml").write_text(TWO_POLICIES)
    return launch(terms={"file": tmp_path / "terms.toml"})


@pytest.mark.parametrize(("method", "path"), AUTHENTICATED)
def test_terms_come_first(strict: Driver, method: str, path: str) -> None:
    token = strict.register()
    assert refusal(strict.request(method, f"/_matrix/identity/v2{path}", token, data=b"{}")) == (403, "M_TERMS_NOT_SIGNED")


def test_logout_and_terms_work_before_the_terms_are_accepted(strict: Driver) -> None:
    token = strict.register()
    assert strict.post("/terms", {"user_accepts": []}, token).get_json() == {}
    assert strict.request("POST", "/_matrix/identity/v2/account/logout", token).status_code == 200


def test_every_policy_is_needed_in_any_language_and_acceptance_adds_up(strict: Driver) -> None:
    token = strict.register()
    offered = strict.get("/terms").get_json()["policies"]
    assert offered["privacy_policy"]["version"] == "1.2"
    assert offered["privacy_policy"]["fr"] == {
        "name": "Politique de confidentialité",
        "url": "https://id.test/privacy-1.2-fr.html",
    }
    strict.post("/terms", {"user_accepts": ["https://id.test/privacy-1.2-fr.html", "https://elsewhere.test/"]}, token)
    assert refusal(strict.get("/account", token)) == (403, "M_TERMS_NOT_SIGNED")
    strict.post("/terms", {"user_accepts": ["https://id.test/terms-2.0-en.html"]}, token)
    assert strict.get("/account", token).status_code == 200
    assert strict.get("/account", strict.register()).status_code == 200


def test_a_new_version_must_be_accepted_anew(strict: Driver, launch: Launch, tmp_path) -> None:
    token = strict.register()
    urls = ["https://id.test/privacy-1.2-fr.html", "https://id.test/terms-2.0-en.html"]
    strict.post("/terms", {"user_accepts": urls}, token)
    (tmp_path / "terms.toml").write_text(TWO_POLICIES.replace("2.0", "2.1"))
    newer = launch(terms={"file": tmp_path / "terms.toml"})
    assert refusal(newer.get("/account", token)) == (403, "M_TERMS_NOT_SIGNED")
    newer.post("/terms", {"user_accepts": ["https://id.test/terms-2.1-en.html"]}, token)
    assert newer.get("/account", token).status_code == 200


def test_without_terms_the_policies_are_empty(api: Driver) -> None:
    assert api.get("/terms").get_json() == {"policies": {}}


def test_getting_validated_3pids_needs_both_parameters(api: Driver) -> None:
    token = api.register()
    assert refusal(api.get("/3pid/getValidated3pid", token, sid="x")) == (400, "M_MISSING_PARAMS")
    assert refusal(api.get("/3pid/getValidated3pid", token, client_secret=SECRET)) == (400, "M_MISSING_PARAMS")


def test_a_homeserver_that_was_slow_to_fail_is_told_after_eleven_seconds(api: Driver) -> None:
    assert api.post("/account/register", openid_token("@alice:slow.test")).status_code == 502
    assert api.clock.slept_s == [7.5]


def test_registrations_hold_half_of_the_threads_and_no_more(launch: Launch) -> None:
    api = launch(server={"threads": 2})
    slots = api.services.accounts.register.slots
    assert slots.take("elsewhere", 0)
    refused = api.post("/account/register", openid_token("@alice:hs.test"))
    assert refusal(refused) == (429, "M_LIMIT_EXCEEDED")
    assert refused.get_json()["retry_after_ms"] == 2000
    slots.give_back("elsewhere")
    assert api.post("/account/register", openid_token("@alice:down.test")).status_code == 502
    api.register()
