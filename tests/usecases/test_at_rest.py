"""What the database holds, and what it does not."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from sqlalchemy import MetaData, event, select, text

from sydent_py.database import Database
from tests.conftest import Launch
from tests.driver import SECRET, Driver, refusal, signurl_in


def everything(database: Database) -> str:
    """Every value of every row, readable; raw bytes as latin-1, so that text within them shows."""
    values: list[str] = []
    with database.begin() as db:
        metadata = MetaData()
        metadata.reflect(db)
        assert {"bindings", "directory", "validation_sessions", "log_pending"} <= set(metadata.tables)
        for table in metadata.tables.values():
            for row in db.execute(select(table)):
                values += [value.decode("latin-1") if isinstance(value, bytes) else str(value) for value in row]
    return "\n".join(values)


def rows(database: Database, table: str) -> int:
    with database.begin() as db:
        return int(db.execute(text(f"SELECT count(*) FROM {table}")).scalar_one())


def test_no_address_token_or_secret_is_readable_in_the_database(launch: Launch) -> None:
    api = launch(validation={"next_link_origins": ["https://app.test"]})
    token = api.register()
    _, mailed = api.start(token, "unfinished@example.org", next_link="https://app.test/very-private")
    sid = api.validate(token, "alice@example.org")
    association = api.bind(token, sid).get_json()
    dump = everything(api.services.database)
    assert "@alice:hs.test" in dump
    for secret in ("alice@example", "unfinished", "example.org", token, mailed, SECRET, "very-private"):
        assert secret not in dump
    assert association["signatures"]["id.test"]["ed25519:0"] not in dump


def test_no_invited_address_or_secret_of_an_invitation_is_readable_in_the_database(api: Driver) -> None:
    token = api.register()
    invite = api.invited(token, "invited@example.org", room_name="Private Room")
    waiting = api.store_invite(token, "waiting@example.org", room_name="Waiting Room").get_json()
    private_key = parse_qs(urlsplit(signurl_in(api.mailbox.newest.text)).query)["private_key"][0]
    bob = api.register("@bob:hs.test")
    api.bind(bob, api.validate(bob, "invited@example.org"), "@bob:hs.test")
    dump = everything(api.services.database)
    for secret in ("example.org", "Private Room", "Waiting Room", invite["token"], waiting["token"], private_key):
        assert secret not in dump


def test_no_address_token_or_secret_is_logged(api: Driver, capfd: pytest.CaptureFixture[str]) -> None:
    token, sid = api.bound("alice@example.org")
    api.mailbox.broken = True
    api.request_token(token, "broken@example.org")
    api.submit(token, sid, "wrong-token")
    api.post("/account/register", {"access_token": "openid-secret", "matrix_server_name": "down.test"})
    output = "".join(capfd.readouterr())
    assert "homeserver.not_asked" in output
    for secret in ("example.org", token, "wrong-token", "openid-secret", SECRET):
        assert secret not in output


def test_binding_and_unbinding_are_queued_for_the_log_signed(api: Driver) -> None:
    token, sid = api.bound()
    api.unbind(token, sid)
    sealer = api.services.bindings.bind.associations.register.sealer
    with api.services.database.begin() as db:
        entries = db.execute(text("SELECT kind, payload, nonce FROM log_pending ORDER BY id")).all()
    assert [entry.kind for entry in entries] == ["bind", "unbind"]
    bind, unbind = (json.loads(sealer.unseal(bytes(entry.payload), "log.payload")) for entry in entries)
    assert bind["mxid"] == unbind["mxid"] == "@alice:hs.test"
    assert unbind["ts"] > bind["ts"]
    assert all("id.test" in payload["signatures"] for payload in (bind, unbind))
    nonces = {sealer.unseal(bytes(entry.nonce), "log.nonce") for entry in entries}
    assert {len(bytes.fromhex(nonce)) for nonce in nonces} == {32}
    assert len(nonces) == 2


class _FullDiskError(Exception):
    pass


class _Full:
    def __getattr__(self, _name: str) -> object:
        raise _FullDiskError


@pytest.mark.parametrize("part", ["register", "log", "outbox"])
def test_a_binding_is_whole_or_not_at_all(api: Driver, part: str) -> None:
    inviter = api.register("@inviter:hs.test")
    api.invited(inviter, "alice@example.org", sender="@inviter:hs.test")
    token = api.register()
    sid = api.validate(token)
    whole = api.services.bindings
    if part == "outbox":
        broken = replace(whole.bind, outbox=_Full())
    else:
        broken = replace(whole.bind, associations=replace(whole.bind.associations, **{part: _Full()}))
    object.__setattr__(api.services, "bindings", replace(whole, bind=broken))
    assert refusal(api.bind(token, sid)) == (500, "M_UNKNOWN")
    object.__setattr__(api.services, "bindings", whole)
    assert [rows(api.services.database, name) for name in ("bindings", "directory", "log_pending", "outbox")] == [0] * 4
    assert api.bind(token, sid).status_code == 200
    api.deliver()
    [(_, content)] = api.homeservers.onbinds
    assert len(content["invites"]) == 1


def test_unbinding_what_is_not_bound_changes_nothing(api: Driver) -> None:
    token = api.register()
    sid = api.validate(token)
    assert api.unbind(token, sid).get_json() == {}
    assert rows(api.services.database, "log_pending") == 0


def test_unbinding_needs_a_session_for_that_very_address(api: Driver) -> None:
    api.bound("alice@example.org")
    mallory = api.register("@mallory:hs.test")
    sid = api.validate(mallory, "mallory@example.org")
    assert refusal(api.unbind(mallory, sid, "alice@example.org")) == (403, "M_FORBIDDEN")
    assert api.lookup(mallory, "alice@example.org") == {"alice@example.org": "@alice:hs.test"}


def test_times_of_one_address_strictly_increase_even_when_the_clock_is_set_back(api: Driver) -> None:
    token, _ = api.bound()
    first = api.clock.now_ms()
    api.clock.advance(-3600)
    sid = api.validate(token, client_secret="another")
    assert api.bind(token, sid, secret="another").get_json()["ts"] == first + 1


def statements_of(api: Driver, do: Callable[[], object]) -> list[tuple[str, Any]]:
    """What ``do`` sends to the database in autocommit, with its parameters."""
    seen: list[tuple[str, Any]] = []
    event.listen(api.services.database._statements, "before_cursor_execute", lambda *args: seen.append((args[2], args[3])))
    do()
    return seen


def test_a_lookup_is_three_statements_and_reads_by_primary_key(api: Driver) -> None:
    """Whose token it is, what it costs, and the answers; the pepper is remembered."""
    token, _ = api.bound()
    body = {"algorithm": "sha256", "pepper": api.pepper(token), "addresses": [f"{number}" for number in range(50)]}
    api.post("/lookup", body, token)
    seen = statements_of(api, lambda: api.post("/lookup", body, token))
    assert [table for sql, _ in seen for table in ("access_tokens", "lookup_budgets", "FROM directory") if table in sql] == [
        "access_tokens",
        "lookup_budgets",
        "FROM directory",
    ]
    sql, parameters = seen[-1]
    with api.services.database.begin() as db:
        if api.services.database.is_sqlite:
            plan = str(db.exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}", parameters).all())
            assert "SEARCH directory USING PRIMARY KEY (generation=? AND key=?)" in plan
        else:
            db.exec_driver_sql(
                "INSERT INTO directory SELECT 1, decode(md5(n::text), 'hex'), '@x:y' FROM generate_series(1, 20000) n"
            )
            db.exec_driver_sql("ANALYZE directory")
            plan = str(db.exec_driver_sql(f"EXPLAIN {sql}", parameters).all())
            assert "pk_directory" in plan
            assert "Seq Scan" not in plan
