"""The migrations make the schema that the models describe."""

import hashlib
import multiprocessing
from concurrent.futures import ProcessPoolExecutor

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import text

import sydent_py.worker  # noqa: F401 - it and every feature below it register their tables
from sydent_py import installation, schema, wiring
from sydent_py.database import Base, Database
from sydent_py.identifiers import ThreePid, UserId
from sydent_py.settings import ConfigurationError
from tests.conftest import make_settings, prepared_settings, write_keys


@pytest.fixture
def database(empty_database_url: str):
    database = Database(empty_database_url, pool_size=2)
    yield database
    database.close()


def test_migrated_and_described_schema_are_the_same(database: Database) -> None:
    schema.migrate(database)
    with database.begin() as db:
        context = MigrationContext.configure(db, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, Base.metadata) == []


def test_readiness_follows_the_migrations(database: Database) -> None:
    with database.begin() as db:
        assert not schema.is_current(db)
    schema.migrate(database)
    with database.begin() as db:
        assert schema.is_current(db)


def test_migrating_twice_changes_nothing(database: Database) -> None:
    schema.migrate(database)
    schema.migrate(database)


def test_every_migration_can_be_undone(database: Database) -> None:
    schema.migrate(database)
    config = schema._config()
    with database.begin() as db:
        config.attributes["connection"] = db
        command.downgrade(config, "base")
    with database.begin() as db:
        assert db.dialect.get_table_names(db) == ["alembic_version"]


def test_servers_that_start_at_once_migrate_one_after_the_other(empty_database_url: str, tmp_path) -> None:
    settings = prepared_settings(tmp_path, empty_database_url)
    with ProcessPoolExecutor(4, multiprocessing.get_context("spawn")) as pool:
        list(pool.map(installation.prepare, [settings] * 4))
    built = wiring.build(settings)
    assert built.is_ready()
    with built.database.begin() as db:
        assert db.execute(text("SELECT count(*) FROM peppers")).scalar_one() == 1
    built.close()


def test_another_sealing_key_than_the_databases_stops_the_start(empty_database_url: str, tmp_path) -> None:
    installation.prepare(prepared_settings(tmp_path, empty_database_url))
    write_keys(tmp_path / "other")
    (tmp_path / "other" / "sealing.key").write_text("00" * 32)
    with pytest.raises(ConfigurationError, match=r"other/sealing\.key is not the sealing key"):
        installation.prepare(make_settings(tmp_path / "other", empty_database_url))


def test_what_an_earlier_version_queued_for_the_log_gets_its_place(empty_database_url: str, tmp_path) -> None:
    settings = prepared_settings(tmp_path, empty_database_url)
    sealer = installation.read_sealer(settings)
    database = Database(empty_database_url, pool_size=1)
    config = schema._config()
    payload = '{"address":"alice@example.org","medium":"email","mxid":"@alice:hs.test"}'
    with database.begin() as db:
        config.attributes["connection"] = db
        command.upgrade(config, "0004")
        old = {"nonce": sealer.seal("ab" * 32, "log.nonce"), "payload": sealer.seal(payload, "log.payload")}
        db.execute(text("INSERT INTO log_pending (kind, ts, nonce, payload) VALUES ('bind', 5, :nonce, :payload)"), old)
    database.close()
    installation.prepare(settings)
    built = wiring.build(settings)
    built.sequencer()
    proof = built.published_log.proof(hashlib.sha256(bytes.fromhex("ab" * 32) + payload.encode()).digest())
    log = built.bindings.bind.associations.log
    with built.database.begin() as db:
        receipt = log.receipt(db, ThreePid("email", "alice@example.org"), UserId.parse("@alice:hs.test"))
    built.close()
    assert proof.index == 0
    assert receipt
    assert (receipt.ts, receipt.nonce.hex(), receipt.index) == (5, "ab" * 32, 0)


def test_a_log_key_is_made_for_a_server_that_had_no_log_and_never_replaced(empty_database_url: str, tmp_path) -> None:
    settings = prepared_settings(tmp_path, empty_database_url)
    (tmp_path / "log.key").unlink()
    database = Database(empty_database_url, pool_size=1)
    config = schema._config()
    with database.begin() as db:
        config.attributes["connection"] = db
        command.upgrade(config, "0004")
    database.close()
    assert installation.set_up(settings) == [tmp_path / "log.key"]
    built = wiring.build(settings)
    with built.database.begin() as db:
        built.bindings.bind.associations.log.append(db, "bind", {"mxid": "@alice:hs.test"})
    built.sequencer()
    built.close()
    key = (tmp_path / "log.key").read_text()
    (tmp_path / "log.key").unlink()
    with pytest.raises(ConfigurationError, match=r"log\.key is missing, but the database was made with it"):
        installation.set_up(settings)
    (tmp_path / "log.key").write_text("ed25519 0 " + "A" * 43 + "\n")
    with pytest.raises(ConfigurationError, match=r"signed with another key.*start with an empty database"):
        installation.set_up(settings)
    (tmp_path / "log.key").write_text(key + "ed25519 1 " + "A" * 43 + "\n")
    with pytest.raises(ConfigurationError, match="a log has one"):
        installation.set_up(settings)
    (tmp_path / "log.key").write_text(key)
    with pytest.raises(ConfigurationError, match=r"is id\.test/log and not id\.renamed\.test/log"):
        installation.set_up(make_settings(tmp_path, empty_database_url, server={"name": "id.renamed.test"}))
    assert installation.set_up(settings) == []
