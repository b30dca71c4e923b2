"""Several servers in one process that are each other's peers."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from nacl.signing import SigningKey
from sqlalchemy import create_engine, text
from unpaddedbase64 import encode_base64

from sydent_py import installation, services, wiring
from sydent_py.app import create_app
from sydent_py.settings import Settings
from sydent_py.tlog.note import SigningKey as LogKey
from tests.conftest import SEALING_KEY, PostgreSql, make_settings
from tests.driver import Driver
from tests.fakes.clock import FakeClock
from tests.fakes.handset import Handset
from tests.fakes.homeservers import FakeHomeservers
from tests.fakes.mailbox import Mailbox
from tests.fakes.peers import Network


def seed(name: str, purpose: str) -> bytes:
    return f"{purpose} of {name}".encode().ljust(32, b".")[:32]


def log_key(name: str) -> LogKey:
    return LogKey(f"{name}/log", seed(name, "log"))


def verify_key(name: str, purpose: str = "signing", key_id: str = "ed25519:0") -> str:
    """As the configuration has it."""
    return f"{key_id} {encode_base64(bytes(SigningKey(seed(name, purpose)).verify_key))}"


def peer_section(name: str, **more: Any) -> dict[str, Any]:
    """The ``[[peers]]`` of the server of this name."""
    return {
        "name": name,
        "base_url": f"https://{name}",
        "verify_key": verify_key(name),
        "log_key": str(log_key(name).verifier_key),
        **more,
    }


@dataclass
class Server:
    """One of them."""

    name: str
    driver: Driver
    settings: Settings

    def bind(self, email: str, user_id: str, secret: str = "s") -> str:
        """Prove and bind an address here: the access token."""
        token = self.driver.register(user_id)
        sid = self.driver.validate(token, email, client_secret=secret)
        answer = self.driver.bind(token, sid, user_id, secret=secret)
        assert answer.status_code == 200, answer.text
        return token

    def lookup(self, *emails: str) -> dict[str, str]:
        return self.driver.lookup(self.driver.register("@witness:hs.test"), *emails)

    def work(self) -> None:
        """A round of what the worker does for the log and the peers."""
        built = self.driver.services
        built.sequencer()
        for each in (*built.peering.nudge.values(), *built.peering.follow.values()):
            each()

    def state(self, peer: str) -> Any:
        """How far a peer is followed."""
        with self.driver.services.database.begin() as db:
            return db.execute(text("SELECT * FROM peers WHERE name = :name"), {"name": peer}).one()

    def quarantine(self) -> list[tuple[str, int, str]]:
        with self.driver.services.database.begin() as db:
            rows = db.execute(text("SELECT peer, entry_index, reason FROM quarantine ORDER BY peer, entry_index"))
            return [tuple(row) for row in rows]

    def log_size(self) -> int:
        return self.driver.services.published_log.size()


@dataclass
class Federation:
    """All of them, on one clock and one network."""

    clock: FakeClock
    network: Network
    launch: Callable[..., Server]
    servers: dict[str, Server]

    def __getitem__(self, name: str) -> Server:
        return self.servers[f"{name}.test"]

    def settle(self, rounds: int = 3) -> None:
        """Let everybody work until there is nothing left to do."""
        for _ in range(rounds):
            self.clock.advance(31)
            for server in self.servers.values():
                server.work()


Federate = Callable[..., Federation]


def copied(template: Path, path: Path) -> str:
    """The URL of a copy of a migrated database, for whichever server takes it."""
    shutil.copy(template, path)
    disown(f"sqlite:///{path}")
    return f"sqlite:///{path}"


def disown(url: str) -> None:
    """The log of a copied database is that of the server which the template was made for, and has no entries."""
    engine = create_engine(url)
    with engine.begin() as db:
        db.execute(text("DELETE FROM log_head"))
    engine.dispose()


@pytest.fixture
def database_of(engine: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Callable[[str], str]]:
    """The URL of a migrated database for the server of a name, always the same for one name."""
    created: dict[str, str] = {}

    def sqlite(name: str) -> str:
        path = tmp_path / f"{name}.db"
        if name not in created:
            created[name] = copied(request.getfixturevalue("migrated_sqlite"), path)
        return created[name]

    def postgresql(name: str) -> str:
        server: PostgreSql = request.getfixturevalue("postgresql")
        if name not in created:
            created[name] = server.create(template=request.getfixturevalue("migrated_postgresql"))
            disown(server.url(created[name]))
        return server.url(created[name])

    yield sqlite if engine == "sqlite" else postgresql
    if engine == "postgresql":
        for name in created.values():
            request.getfixturevalue("postgresql").drop(name)


@pytest.fixture
def federate(database_of: Callable[[str], str], tmp_path: Path) -> Iterator[Federate]:
    """Builds servers with these names, each the peer of all others; all on one kind of database."""
    with federating(tmp_path, database_of) as build:
        yield build


@contextmanager
def federating(parent: Path, database_of: Callable[[str], str]) -> Iterator[Federate]:
    """What ``federate`` is, for whoever needs several in one test."""
    clock, network = FakeClock(), Network()
    servers: dict[str, Server] = {}

    def launch(name: str, **sections: Any) -> Server:
        """Start a server, or start it again."""
        if name in servers:
            servers[name].driver.services.close()
        directory = parent / name
        directory.mkdir(exist_ok=True)
        for file, purpose in (("signing.key", "signing"), ("log.key", "log")):
            (directory / file).write_text(f"ed25519 0 {encode_base64(seed(name, purpose))}\n")
        (directory / "sealing.key").write_text(SEALING_KEY)
        own = {"name": name, "public_base_url": f"https://{name}", **sections.pop("server", {})}
        settings = make_settings(directory, database_of(name), server=own, **sections)
        installation.prepare(settings, clock)
        mailbox, handset, homeservers = Mailbox(), Handset(), FakeHomeservers(clock)
        built = wiring.build(settings, services.Outside(clock, mailbox, homeservers, handset, network.way_from(name)))
        network.apps[name] = create_app(built)
        servers[name] = Server(name, Driver(network.apps[name], built, clock, mailbox, homeservers, handset), settings)
        return servers[name]

    def build(*names: str, **sections: Any) -> Federation:
        full = [f"{name}.test" for name in names]
        for name in full:
            launch(name, peers=[peer_section(other) for other in full if other != name], **sections)
        return Federation(clock, network, launch, servers)

    try:
        yield build
    finally:
        for server in servers.values():
            server.driver.services.close()
