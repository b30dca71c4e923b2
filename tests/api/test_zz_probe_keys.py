from typing import Any
import json, pytest
from sqlalchemy import text
from tests.conftest import Launch
from tests.driver import OWN, Driver, refusal
from tests.fakes.key_owner import cross_signing_key, master_key, public
from tests.key_owner import ALICE, Person, path
OLD, NEW = master_key("old"), master_key("new")

@pytest.mark.parametrize("users", [["\ud800"], [1], "x", [None], [True], ["a"*900000], ["x"]*200000, [["a"]], None, {}])
def test_query(api: Driver, users: Any) -> None:
    a = api.request("POST", f"{OWN}/keys/query", data=json.dumps({"users": users}).encode())
    print(a.status_code, a.text[:90]); assert a.status_code < 500

@pytest.mark.parametrize("body", [b'{"users":["\\u0000"]}', b'{"users":["a","a\\u0000"]}'])
def test_query_raw(api: Driver, body: bytes) -> None:
    a = api.request("POST", f"{OWN}/keys/query", data=body); print(a.status_code, a.text[:90]); assert a.status_code < 500

def test_full_sized(api: Driver) -> None:
    alice = Person(api)
    for fill in ("x", "\u00e9", "\U0001f4a9", "\x01", "\x7f", "\u2028"):
        key = {**cross_signing_key(ALICE, OLD), "unsigned": {}}
        for n in range(3400, 100, -20):
            key["unsigned"] = {"f": fill * (n // len(json.dumps(fill, ensure_ascii=False).encode()))}
            a = alice.send("publish", OLD, keys={"master": key})
            if a.status_code == 200: break
            if a.status_code == 429: api.clock.advance(86400)
        print(repr(fill), a.status_code, a.text[:80], n)
        if a.status_code != 200: continue
        api.sequence()
        got = api.request("GET", path(ALICE)); print(len(got.data))
        a = alice.done("revoke", OLD, keys={"master": key}); alice.owner.made.clear()

def test_restart_after_key_id(api: Driver) -> None:
    alice = Person(api)
    # cancel for nobody, with everything valid
    c = alice.owner.state("cancel", OLD, ts=api.clock.now_ms())
    a = alice.deliver(c); print(a.status_code, a.text)
    with api.services.database.begin() as db:
        assert db.execute(text("select count(*) from log_pending")).scalar() == 0
