"""What the database holds, and what it does not."""

import json

import pytest
from sqlalchemy import MetaData, event, select, text

from sydent_py.bindings.bind import Bindings
from sydent_py.database import Base, Database
from sydent_py.directory.publish import Directory
from tests.conftest import Launch
from tests.driver import SECRET, Driver, refusal


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
    sealer = api.services.bindings.sealer
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


@pytest.mark.parametrize("part", ["directory", "log"])
def test_a_binding_is_whole_or_not_at_all(api: Driver, part: str) -> None:
    token = api.register()
    sid = api.validate(token)

    class Full:
        def __getattr__(self, _name: str) -> object:
            raise _FullDiskError

    whole = api.services.bindings
    fields = {name: getattr(whole, name) for name in whole.__dataclass_fields__} | {part: Full()}
    object.__setattr__(api.services, "bindings", Bindings(**fields))
    assert refusal(api.bind(token, sid)) == (500, "M_UNKNOWN")
    object.__setattr__(api.services, "bindings", whole)
    assert [rows(api.services.database, table) for table in ("bindings", "directory", "log_pending")] == [0, 0, 0]
    assert api.bind(token, sid).status_code == 200


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


def test_a_lookup_is_answered_by_primary_key(api: Driver) -> None:
    database = api.services.database
    statement = "SELECT key, user_id FROM directory WHERE generation = 1 AND key IN (x'00', x'01')"
    with database.begin() as db:
        if database.is_sqlite:
            plan = str(db.execute(text(f"EXPLAIN QUERY PLAN {statement}")).all())
            assert "SEARCH directory USING PRIMARY KEY (generation=? AND key=?)" in plan
        else:
            db.execute(text("SET LOCAL enable_seqscan = off"))
            plan = str(
                db.execute(text("EXPLAIN SELECT key, user_id FROM directory WHERE generation = 1 AND key = ANY('{}')")).all()
            )
            assert "pk_directory" in plan


def test_the_budget_costs_one_statement(api: Driver) -> None:
    token = api.register()
    api.lookup(token, "a@example.org")
    seen: list[str] = []
    engine = api.services.database._statements
    event.listen(engine, "before_cursor_execute", lambda *args: seen.append(args[2]))
    pepper = api.pepper(token)
    seen.clear()
    api.post("/lookup", {"algorithm": "sha256", "pepper": pepper, "addresses": ["a", "b"]}, token)
    assert len([statement for statement in seen if "lookup_budgets" in statement]) == 1
    assert len(seen) == 3


def test_every_table_of_the_models_is_known() -> None:
    assert Directory
    assert set(Base.metadata.tables) >= {"accounts", "access_tokens", "peppers", "directory", "rate_limits"}
