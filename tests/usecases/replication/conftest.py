"""Several servers in one process that are each other's peers."""

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from nacl.signing import SigningKey
from sqlalchemy import create_engine, text
from unpaddedbase64 import encode_base64

from sydent_py import installation, services, wiring
from sydent_py.app import create_app
from sydent_py.cli import cli
from sydent_py.replication.follow import CONTRADICTIONS
from sydent_py.settings import Settings
from sydent_py.tlog.note import Note
from sydent_py.tlog.note import SigningKey as LogKey
from tests.conftest import SEALING_KEY, PostgreSql, make_settings
from tests.driver import Driver
from tests.fakes.clock import FakeClock
from tests.fakes.handset import Handset
from tests.fakes.homeservers import FakeHomeservers
from tests.fakes.lying_peer import LyingPeer
from tests.fakes.mailbox import Mailbox
from tests.fakes.peers import Network

# The name of a peer that does what a test says, and a user of the server itself.
EVIL = "evil.test"
LOCAL = "@local:hs.test"


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
Run = Callable[..., Result]


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


@dataclass
class Hostile:
    """A server whose one peer lies."""

    federation: Federation
    evil: LyingPeer

    @property
    def server(self) -> Server:
        return self.federation["a"]

    def look(self, after_s: float = 31) -> Any:
        """Let the server look at the peer's log: what it notes."""
        self.federation.clock.advance(after_s)
        self.server.driver.services.peering.follow[EVIL]()
        return self.server.state(EVIL)

    def stopped(self, looks: int = CONTRADICTIONS) -> str:
        """Let it look so often, and be stopped for good: why."""
        for _ in range(looks - 1):
            state = self.look()
            assert not state.is_stopped
            assert state.error
            self.works_for_others()
        state = self.look()
        assert state.is_stopped
        asked = len(self.evil.asked)
        self.evil.lies.clear()
        self.look()
        self.server.driver.services.peering.nudged(self.server.driver.services.peering.peers[EVIL], 10**6)
        self.look()
        assert len(self.evil.asked) == asked
        self.works_for_others()
        return str(state.error)

    def works_for_others(self) -> None:
        """Local service goes on."""
        self.server.bind("local@example.org", LOCAL)
        assert self.server.lookup("local@example.org") == {"local@example.org": LOCAL}

    def evidence(self) -> list[Note]:
        """The signed notes that show what the peer did."""
        kept = bytes(self.server.state(EVIL).evidence).decode()
        notes = [f"{EVIL}/log\n{each}".encode() for each in kept.split(f"{EVIL}/log\n") if each]
        return [Note.parse(each.rstrip(b"\n") + b"\n") for each in notes]

    def bindings(self) -> set[tuple[str, str]]:
        """Which users the peer's claims name, and when they were made."""
        with self.server.driver.services.database.begin() as db:
            rows = db.execute(text("SELECT user_id, commitment FROM bindings WHERE origin = :origin"), {"origin": EVIL})
            return {(row.user_id, bytes(row.commitment).hex()) for row in rows}


@pytest.fixture
def hostile(federate: Federate) -> Hostile:
    federation = federate("a")
    evil = LyingPeer(EVIL, seed(EVIL, "signing"), log_key(EVIL), federation.clock)
    federation.network.apps[EVIL] = evil.app
    federation.launch("a.test", peers=[peer_section(EVIL)])
    return Hostile(federation, evil)


def write_config(path: Path, server: Server, url: str) -> None:
    """The configuration of a server of this process, for a command."""
    settings = server.settings
    lines = [
        "[server]",
        f"name = {json.dumps(server.name)}",
        f"data_dir = {json.dumps(str(settings.server.data_dir))}",
        "[database]",
        f"url = {json.dumps(url)}",
    ]
    for peer in settings.peers:
        lines += ["[[peers]]", *(f"{key} = {json.dumps(getattr(peer, key))}" for key in SHOWN)]
    for sydent in settings.sydent_peers:
        lines += ["[[sydent_peers]]", f"name = {json.dumps(sydent.name)}", f"verify_key = {json.dumps(sydent.verify_key)}"]
    path.write_text("\n".join(lines))


SHOWN = ("name", "base_url", "verify_key", "log_key", "direction")


@pytest.fixture
def run(database_of: Callable[[str], str], tmp_path: Path) -> Run:
    """Runs a command for a server."""

    def invoke(server: Server, *arguments: str, **options: Any) -> Result:
        config = tmp_path / f"{server.name}.toml"
        write_config(config, server, database_of(server.name))
        result = CliRunner().invoke(cli, ["--config", str(config), "peers", *arguments], **options)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        return result

    return invoke
