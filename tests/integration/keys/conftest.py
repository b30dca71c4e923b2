"""``sydent-py keys`` on servers that show whatever a test lets them show."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

import pytest
from click.testing import CliRunner, Result

from sydent_py.cli.published_keys import keys
from tests.driver import OWN, V2
from tests.fakes.http_server import Answer, http_server
from tests.fakes.key_log import HOUR_MS, KeyLog
from tests.fakes.key_owner import KeyOwner
from tests.unit.keys.conftest import ALICE, OLD, OTHER_WITNESS, WITNESS, World

Run = Callable[..., Result]


def new_world(origin: str = "id.test") -> World:
    """A chain that begins five days ago."""
    log = KeyLog(origin, witnesses=(WITNESS, OTHER_WITNESS))
    start_ms = int(time.time() * 1000) - 120 * HOUR_MS
    log.cosigned_at_ms = start_ms + 119 * HOUR_MS
    return World(log, KeyOwner(ALICE, log.name), start_ms)


@dataclass
class Shown:
    """What a server shows of one user, and its own keys: what it shows first comes first, and the last one stays."""

    log: KeyLog
    answers: list[Any] = field(default_factory=list)
    histories: list[Any] = field(default_factory=list)
    url: str = ""

    def show(self, answer: Any, history: Any) -> None:
        self.answers.append(answer)
        self.histories.append(history)

    def world(self, world: World, *shown: int) -> "Shown":
        self.show(world.answer(*shown), world.history())
        return self

    def answer(self, path: str) -> Answer:
        path = unquote(path)
        _, _, public_key = self.log.verify_key.partition(" ")
        texts = {
            f"{OWN}/log/vkey": f"{self.log.key.verifier_key}\n",
            f"{V2}/pubkey/ed25519:0": json.dumps({"public_key": public_key}),
        }
        if path in texts:
            return 200, {}, texts[path].encode()
        listed = {f"{OWN}/keys/{ALICE}": self.answers, f"{OWN}/keys/{ALICE}/history": self.histories}.get(path)
        if not listed:
            return (
                404,
                {},
                json.dumps({"errcode": "M_NOT_FOUND" if listed == [] else "M_UNRECOGNIZED", "error": "?"}).encode(),
            )
        content = listed[0] if len(listed) == 1 else listed.pop(0)
        return 200, {}, content if isinstance(content, bytes) else json.dumps(content).encode()


@pytest.fixture
def serve() -> Iterator[Callable[[KeyLog], Shown]]:
    with ExitStack() as stack:

        def start(log: KeyLog) -> Shown:
            shown = Shown(log)
            port, _ = stack.enter_context(http_server(shown.answer))
            shown.url = f"http://127.0.0.1:{port}"
            return shown

        yield start


@pytest.fixture
def world() -> World:
    return new_world().state("publish", OLD)


@pytest.fixture
def server(serve: Callable[[KeyLog], Shown], world: World) -> Shown:
    """The origin's server, which shows nothing yet."""
    return serve(world.log)


@pytest.fixture
def run() -> Run:
    """``sydent-py keys COMMAND @alice:hs.test --server URL``."""

    def invoke(command: str, server: Shown, *arguments: str, status: int = 0, **options: Any) -> Result:
        result = CliRunner().invoke(keys, [command, ALICE, "--server", server.url, *arguments], **options)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
        assert result.exit_code == status, result.output
        return result

    return invoke


def pins(log: KeyLog) -> list[str]:
    """All that can be known of an origin beforehand."""
    return ["--log-key", str(log.key.verifier_key), "--verify-key", f"{log.origin} {log.verify_key}"]
