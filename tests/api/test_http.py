"""What holds for every endpoint: who may call it, errors, CORS, sizes, bodies."""

import pytest
from flask import Flask

from sydent_py.api import access
from tests.driver import SECRET, Driver, openid_token, refusal

V2 = "/_matrix/identity/v2"
POSTS = [
    "/account/register",
    "/terms",
    "/lookup",
    "/validate/email/requestToken",
    "/validate/email/submitToken",
    "/3pid/bind",
    "/3pid/unbind",
]


@pytest.fixture
def engine() -> str:
    """No query here differs between databases."""
    return "sqlite"


def test_every_route_says_who_may_call_it(api: Driver) -> None:
    undeclared = [name for name, view in api.app.view_functions.items() if access.declared(view) is None]
    assert undeclared == []


def test_a_route_that_does_not_say_is_refused(api: Driver) -> None:
    app = Flask("undeclared", static_folder=None)
    app.extensions.update(api.app.extensions)
    access.install(app)
    app.register_error_handler(Exception, lambda error: (type(error).__name__, 403))
    app.add_url_rule("/open", view_func=lambda: "never")
    assert app.test_client().get("/open").text == "Forbidden"


@pytest.mark.parametrize(
    "path",
    [
        "/nope",
        f"{V2}/",
        f"{V2}/nope",
        f"{V2}/store",
        "/_matrix/identity/api/v1/lookup",
        f"{V2}//account",
        "/%00",
        "/%ff",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE"])
def test_unknown_paths_are_404(api: Driver, method: str, path: str) -> None:
    assert refusal(api.request(method, path)) == (404, "M_UNRECOGNIZED")


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/lookup"), ("DELETE", "/account"), ("PUT", "/terms"), ("POST", ""), ("PATCH", "/3pid/bind")],
)
def test_wrong_methods_are_405(api: Driver, method: str, path: str) -> None:
    answer = api.request(method, V2 + path)
    assert refusal(answer) == (405, "M_UNRECOGNIZED")
    assert answer.headers["Allow"]


@pytest.mark.parametrize("path", [V2, f"{V2}/lookup", "/_matrix/identity/versions", "/nope"])
def test_preflights_are_answered_everywhere(api: Driver, path: str) -> None:
    answer = api.request("OPTIONS", path)
    assert (answer.status_code, answer.get_json()) == (200, {})
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert answer.headers["Access-Control-Allow-Methods"] == "GET, POST, PUT, DELETE, OPTIONS"
    assert answer.headers["Access-Control-Allow-Headers"] == "Origin, X-Requested-With, Content-Type, Accept, Authorization"


def test_answers_that_are_no_errors_carry_the_headers_too(api: Driver) -> None:
    for path in (V2, "/_matrix/identity/versions", f"{V2}/terms", f"{V2}/pubkey/ed25519:0", "/health", "/ready"):
        answer = api.request("GET", path)
        assert (answer.status_code, answer.mimetype) == (200, "application/json")
        assert answer.headers["Access-Control-Allow-Origin"] == "*"


@pytest.mark.parametrize("path", POSTS)
@pytest.mark.parametrize(
    ("body", "errcode"),
    [
        (b"", "M_NOT_JSON"),
        (b"{", "M_NOT_JSON"),
        (b"{}x", "M_NOT_JSON"),
        (b"[]", "M_BAD_JSON"),
        (b"null", "M_BAD_JSON"),
        (b'{"a":1,"a":2}', "M_BAD_JSON"),
        (b'{"mxid":"\\u0000"}', "M_BAD_JSON"),
        (b"{}", "M_MISSING_PARAMS"),
    ],
)
def test_bodies_that_are_no_json_object_are_refused(api: Driver, path: str, body: bytes, errcode: str) -> None:
    assert refusal(api.post(path, body, api.register())) == (400, errcode)


@pytest.mark.parametrize("path", POSTS)
def test_bodies_over_a_mebibyte_are_413(api: Driver, path: str) -> None:
    body = b'{"a":"' + b"x" * (1024 * 1024) + b'"}'
    assert refusal(api.post(path, body, api.register())) == (413, "M_TOO_LARGE")


def test_a_form_over_a_mebibyte_is_413(api: Driver) -> None:
    answer = api.request("POST", f"{V2}/3pid/bind", api.register(), data={"sid": "x" * (1024 * 1024 + 1)})
    assert refusal(answer) == (413, "M_TOO_LARGE")


@pytest.mark.parametrize("value", [None, 1, True, [], {}, ["x"]])
@pytest.mark.parametrize("key", ["sid", "client_secret", "mxid"])
def test_parameters_of_another_type_are_refused(api: Driver, key: str, value: object) -> None:
    body = {"sid": "x", "client_secret": SECRET, "mxid": "@alice:hs.test", key: value}
    assert refusal(api.post("/3pid/bind", body, api.register())) == (400, "M_INVALID_PARAM")


def test_what_an_endpoint_does_not_know_it_ignores(api: Driver) -> None:
    answer = api.post("/account/register", {**openid_token("@alice:hs.test"), "more": {"than": ["asked"]}})
    assert answer.status_code == 200


@pytest.mark.parametrize("body", [b"sid=a&sid=b&client_secret=s&mxid=m", b"sid=%00&client_secret=s&mxid=m"])
def test_forms_are_strict_too(api: Driver, body: bytes) -> None:
    answer = api.request(
        "POST", f"{V2}/3pid/bind", api.register(), data=body, content_type="application/x-www-form-urlencoded"
    )
    assert refusal(answer) == (400, "M_BAD_JSON")


def test_a_form_is_refused_where_the_specification_has_none(api: Driver) -> None:
    answer = api.request("POST", f"{V2}/lookup", api.register(), data={"algorithm": "sha256"})
    assert refusal(answer) == (400, "M_NOT_JSON")


def test_public_keys(api: Driver) -> None:
    key = api.get("/pubkey/ed25519:0").get_json()["public_key"]
    assert api.get("/pubkey/isvalid", public_key=key).get_json() == {"valid": True}
    assert api.get("/pubkey/isvalid", public_key="x" * 43).get_json() == {"valid": False}
    assert refusal(api.get("/pubkey/isvalid")) == (400, "M_MISSING_PARAMS")
    assert refusal(api.get("/pubkey/ed25519:unknown")) == (404, "M_NOT_FOUND")


def test_a_database_that_is_gone_is_503_and_not_ready(api: Driver, tmp_path) -> None:
    token = api.register()
    api.services.close()
    (tmp_path / "sydent.db").unlink()
    (tmp_path / "sydent.db").mkdir()
    assert refusal(api.get("/account", token)) == (503, "M_UNKNOWN")
    assert refusal(api.request("GET", "/ready")) == (503, "M_UNKNOWN")
    assert api.request("GET", "/health").get_json() == {"status": "ok"}


def test_a_bug_is_told_to_nobody(api: Driver) -> None:
    def broken(_token: str, **_options: object) -> None:
        raise ZeroDivisionError("secret detail")

    object.__setattr__(api.services.accounts, "authenticate", broken)
    answer = api.get("/account", "x")
    assert refusal(answer) == (500, "M_UNKNOWN")
    assert "secret" not in answer.text
