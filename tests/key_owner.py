"""A user with an account, who states keys through the HTTP API."""

from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from nacl.signing import SigningKey
from werkzeug.test import TestResponse

from tests.driver import OWN, Driver
from tests.fakes.key_owner import KeyOwner

ALICE = "@alice:hs.test"


def path(user_id: str, rest: str = "") -> str:
    return f"{OWN}/keys/{quote(user_id, safe='')}{rest}"


@dataclass
class Person:
    """A user with an account, at a server."""

    api: Driver
    user_id: str = ALICE
    token: str = ""
    owner: KeyOwner = field(init=False)

    def __post_init__(self) -> None:
        self.token = self.token or self.api.register(self.user_id)
        self.owner = KeyOwner(self.user_id, f"{self.api.services.server_name}/log")

    def challenge(self) -> str:
        answer = self.api.request("POST", f"{OWN}/keys/challenge", self.token, json={})
        assert answer.status_code == 200, answer.text
        return str(answer.get_json()["challenge"])

    def send(self, op: str, master: SigningKey, *signers: SigningKey, **changes: Any) -> TestResponse:
        """Make the next statement and send it where it belongs; it counts as made where it was taken."""
        changes = {"ts": self.api.clock.now_ms(), **changes}
        if op != "cancel":
            changes = {"nonce": self.challenge(), **changes}
        statement = self.owner.state(op, master, *signers, **changes)
        answer = self.deliver(statement)
        if answer.status_code == 200:
            self.owner.made.append(statement)
        return answer

    def deliver(self, statement: dict[str, Any], token: str | None = None) -> TestResponse:
        token = token or self.token
        if statement["op"] == "cancel":
            return self.api.request("POST", path(self.user_id, "/cancel"), json=statement)
        method = "DELETE" if statement["op"] == "revoke" else "PUT"
        return self.api.request(method, path(self.user_id), token, json=statement)

    def done(self, *arguments: Any, **changes: Any) -> dict[str, Any]:
        answer = self.send(*arguments, **changes)
        assert answer.status_code == 200, answer.text
        self.api.sequence()
        return dict(answer.get_json())

    def seen(self) -> dict[str, Any]:
        """What everybody sees of this server's own log."""
        answer = self.api.request("GET", path(self.user_id))
        assert answer.status_code == 200, answer.text
        return dict(answer.get_json()["origins"][self.api.services.server_name])

    def current(self) -> str:
        return master_in(self.seen()["current"])


def master_in(entry: dict[str, Any]) -> str:
    [key] = entry["payload"]["statement"]["keys"]["master"]["keys"].values()
    return str(key)
