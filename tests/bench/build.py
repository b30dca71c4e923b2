"""A database full of bindings, made of the product's own pieces and kept for the next run."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection, insert

from sydent_py import installation, settings, tokens
from sydent_py.accounts import models as accounts
from sydent_py.bindings.associations import HUNDRED_YEARS_MS
from sydent_py.bindings.models import Binding
from sydent_py.clock import SystemClock
from sydent_py.database import Database
from sydent_py.directory.models import Entry
from sydent_py.directory.peppers import Peppers, lookup_hash
from sydent_py.sealing import Sealer, hash_token, read_key_file
from sydent_py.settings import Settings
from tests.bench.databases import COMPLETE, SERVER_NAME, cached, place, show_progress
from tests.bench.work import CALLER, Dataset, address, user_id

NAME = "bindings"
BATCH = 20_000
TS = 1_700_000_000_000


@contextmanager
def dataset(kind: str, bindings: int, cache: Path) -> Iterator[tuple[Dataset, Path]]:
    """A database with so many bindings, and the configuration file of a server on it.

    The cache is keyed by kind, number and schema; what was not finished is built anew.
    """
    directory = cached(cache, f"{kind}-{bindings}")
    facts = directory / COMPLETE
    with place(kind, directory) as databases:
        if not facts.exists():
            loaded = settings.load(databases.create(NAME))
            facts.write_text(json.dumps(_build(kind, loaded, bindings)))
            databases.settle(NAME)
        config, known = databases.config(NAME), json.loads(facts.read_text())
        key = read_key_file(settings.load(config).sealing_key_path)
        yield Dataset(bindings, known["pepper"], known["token"], key, databases.url(NAME)), config


def _build(kind: str, loaded: Settings, bindings: int) -> dict[str, str]:
    """Fill the database: what is needed to ask it."""
    installation.set_up(loaded)
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
            show_progress(f"{kind}, bindings", persons.stop, bindings, BATCH)
    finally:
        database.close()
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
