"""Answers against the specification's OpenAPI, which is read where it lies and never copied.

``MATRIX_SPEC_DIR`` names the folder; without it and without ``../shared/spec`` these tests are skipped, loudly.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urljoin, urlsplit

import pytest
import yaml
from jsonschema import Draft202012Validator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012
from werkzeug.test import TestResponse

from tests.conftest import Launch
from tests.driver import SECRET, TERMS, Driver, openid_token, signurl_in

ROOT = Path(os.environ.get("MATRIX_SPEC_DIR") or Path(__file__).parents[3] / "shared" / "spec") / "data"
PREFIX = "/_matrix/identity"

pytestmark = pytest.mark.skipif(
    not ROOT.is_dir(), reason=f"THE SPECIFICATION IS NOT AT {ROOT}: no answer was checked against it"
)


class Specification:
    """The operations of the Identity Service API, and a check of one answer against its operation."""

    def __init__(self) -> None:
        self.operations: dict[tuple[str, str], dict[str, Any]] = {}
        self.files: dict[tuple[str, str], Path] = {}
        for path in sorted((ROOT / "api" / "identity").glob("*.yaml")):
            document = yaml.safe_load(path.read_text())
            base = document["servers"][0]["variables"]["basePath"]["default"].removeprefix(PREFIX)
            for route, operations in document["paths"].items():
                for method, operation in operations.items():
                    self.operations[method, base + route] = operation
                    self.files[method, base + route] = path
        self._registry: Registry[Any] = Registry(retrieve=self._retrieve)

    @staticmethod
    def _retrieve(uri: str) -> Resource[Any]:
        document = yaml.safe_load(Path(uri.removeprefix("file://")).read_text())
        return Resource(contents=document, specification=DRAFT202012)

    def check(self, method: str, route: str, answer: TestResponse) -> None:
        """The status is one the operation documents, and the body has the form it gives for it."""
        responses = self.operations[method, route]["responses"]
        assert str(answer.status_code) in responses, f"{method} {route} answered {answer.status_code}: {answer.text}"
        assert answer.mimetype == "application/json"
        content = responses[str(answer.status_code)].get("content", {}).get("application/json")
        if content is None:
            return
        base = self.files[method, route].as_uri()
        schema = _absolute(content["schema"], base)
        Draft202012Validator(schema, registry=self._registry).validate(answer.get_json())


def _absolute(schema: Any, base: str) -> Any:
    if isinstance(schema, dict):
        return {key: urljoin(base, value) if key == "$ref" else _absolute(value, base) for key, value in schema.items()}
    if isinstance(schema, list):
        return [_absolute(item, base) for item in schema]
    return schema


@pytest.fixture(scope="module")
def specification() -> Specification:
    return Specification()


@pytest.fixture
def engine() -> str:
    return "sqlite"


def test_every_operation_has_a_route(specification: Specification, api: Driver) -> None:
    routes = {
        (method.lower(), rule.rule.removeprefix(PREFIX).replace("<key_id>", "{keyId}"))
        for rule in api.app.url_map.iter_rules()
        for method in rule.methods or ()
    }
    assert set(specification.operations) <= routes


def answers(api: Driver) -> Iterator[tuple[str, str, TestResponse]]:
    """Every answer and refusal of the main job, with the operation it belongs to."""
    yield "get", "/versions", api.request("GET", "/_matrix/identity/versions")
    yield "get", "/v2", api.get("")
    registered = api.post("/account/register", openid_token("@alice:hs.test"))
    yield "post", "/v2/account/register", registered
    token = registered.get_json()["token"]
    yield "get", "/v2/account", api.get("/account", token)
    yield "get", "/v2/terms", api.get("/terms")
    yield from lookups(api, token)
    yield from bindings(api, token)
    yield from invites(api, token)
    yield from phones(api, token)
    yield "get", "/v2/pubkey/{keyId}", api.get("/pubkey/ed25519:0")
    yield "get", "/v2/pubkey/{keyId}", api.get("/pubkey/ed25519:none")
    yield "get", "/v2/pubkey/isvalid", api.get("/pubkey/isvalid", public_key="none")
    yield "post", "/v2/terms", api.post("/terms", {"user_accepts": ["https://id.test/x"]}, token)
    yield "post", "/v2/account/logout", api.request("POST", "/_matrix/identity/v2/account/logout", token)
    yield "post", "/v2/account/logout", api.request("POST", "/_matrix/identity/v2/account/logout", token)


def lookups(api: Driver, token: str) -> Iterator[tuple[str, str, TestResponse]]:
    yield "get", "/v2/hash_details", api.get("/hash_details", token)
    body = {"algorithm": "sha256", "pepper": api.pepper(token), "addresses": ["x"]}
    yield "post", "/v2/lookup", api.post("/lookup", body, token)
    yield "post", "/v2/lookup", api.post("/lookup", {**body, "pepper": "old"}, token)
    yield "post", "/v2/lookup", api.post("/lookup", {**body, "algorithm": "rot13"}, token)


def bindings(api: Driver, token: str) -> Iterator[tuple[str, str, TestResponse]]:
    request_token, submit = "/v2/validate/email/requestToken", "/v2/validate/email/submitToken"
    yield "post", request_token, api.request_token(token, "nonsense")
    started = api.request_token(token)
    yield "post", request_token, started
    sid = started.get_json()["sid"]
    mailed = api.mailbox.link().rpartition("token=")[2]
    validated = "/v2/3pid/getValidated3pid"
    yield "get", validated, api.get("/3pid/getValidated3pid", token, sid=sid, client_secret=SECRET)
    yield "get", validated, api.get("/3pid/getValidated3pid", token, sid="none", client_secret=SECRET)
    yield "post", "/v2/3pid/bind", api.bind(token, sid)
    yield "post", submit, api.submit(token, sid, "wrong")
    yield "post", submit, api.submit(token, sid, mailed)
    yield "get", validated, api.get("/3pid/getValidated3pid", token, sid=sid, client_secret=SECRET)
    yield "post", "/v2/3pid/bind", api.bind(token, sid)
    yield "post", "/v2/3pid/bind", api.bind(token, "none")
    yield "post", "/v2/3pid/unbind", api.unbind(token, sid, "other@example.org")
    yield "post", "/v2/3pid/unbind", api.unbind(token, sid)
    api.mailbox.broken = True
    yield "post", request_token, api.request_token(token, "broken@example.org")


def phones(api: Driver, token: str) -> Iterator[tuple[str, str, TestResponse]]:
    request_token, submit = "/v2/validate/msisdn/requestToken", "/v2/validate/msisdn/submitToken"
    yield "post", request_token, api.request_code(token, "nonsense")
    yield "post", request_token, api.request_code(token, "+33 6 12 34 56 78")
    started = api.request_code(token)
    yield "post", request_token, started
    sid, code = started.get_json()["sid"], api.handset.code()
    yield "post", submit, api.submit_code(token, sid, "wrong")
    yield "post", submit, api.submit_code(token, sid, code)
    yield "get", "/v2/3pid/getValidated3pid", api.get("/3pid/getValidated3pid", token, sid=sid, client_secret=SECRET)
    yield "post", "/v2/3pid/bind", api.bind(token, sid)
    sid, code = api.start_phone(token, attempt=2)
    api.clock.advance(15 * 60)
    yield "post", submit, api.submit_code(token, sid, code)
    api.handset.broken = True
    yield "post", request_token, api.request_code(token, "+447400123457")


def invites(api: Driver, token: str) -> Iterator[tuple[str, str, TestResponse]]:
    api.mailbox.broken = False
    store, sign, is_valid = "/v2/store-invite", "/v2/sign-ed25519", "/v2/pubkey/ephemeral/isvalid"
    yield "post", store, api.store_invite(token, "nonsense")
    yield "post", store, api.store_invite(token, "7700900000", medium="msisdn")
    yield "post", store, api.store_invite(token, sender="@other:hs.test")
    stored = api.store_invite(token)
    yield "post", store, stored
    api.deliver()
    for key in stored.get_json()["public_keys"]:
        yield "get", is_valid, api.get("/pubkey/ephemeral/isvalid", public_key=key["public_key"])
    secrets = dict(parse_qsl(urlsplit(signurl_in(api.mailbox.newest.text)).query))
    yield "post", sign, api.post("/sign-ed25519", {"mxid": "@bob:hs.test", **secrets}, token)
    yield "post", sign, api.post("/sign-ed25519", {"mxid": "@bob:hs.test", **secrets, "token": "none"}, token)
    api.bound("bob@example.org", "@bob:hs.test")
    yield "post", store, api.store_invite(token)
    yield "post", "/v2/3pid/unbind", api.signed_unbind("bob@example.org", "@bob:hs.test")
    yield "post", "/v2/3pid/unbind", api.signed_unbind("bob@example.org", "@bob:hs.test", "evil.test")


def test_answers_have_the_form_the_specification_gives_them(specification: Specification, launch: Launch) -> None:
    api = launch(sms={"allowed_countries": ["GB"]})
    checked = set()
    for method, route, answer in answers(api):
        specification.check(method, route, answer)
        checked.add((method, route))
    human = {("get", f"/v2/validate/{medium}/submitToken") for medium in ("email", "msisdn")}
    assert checked | human == set(specification.operations)


def test_terms_have_the_form_the_specification_gives_them(
    specification: Specification, launch: Launch, tmp_path: Path
) -> None:
    (tmp_path / "terms.toml").write_text(TERMS)
    api = launch(terms={"file": tmp_path / "terms.toml"})
    specification.check("get", "/v2/terms", api.get("/terms"))
    token = api.register()
    for method, route, answer in (
        ("get", "/v2/account", api.get("/account", token)),
        ("post", "/v2/3pid/bind", api.bind(token, "none")),
        ("post", "/v2/validate/email/requestToken", api.request_token(token)),
    ):
        assert answer.status_code == 403
        specification.check(method, route, answer)
