"""The keys that a client has uploaded to its homeserver are published, and show when the homeserver serves others."""

import json
import time
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import pytest
from nacl.signing import SigningKey
from signedjson.key import decode_verify_key_base64, read_signing_keys
from signedjson.sign import verify_signed_json
from unpaddedbase64 import encode_base64

from sydent_py.keys.compare import Match, compare_with_homeserver
from sydent_py.keys.verify import Current, Pins, verify
from tests.driver import OWN
from tests.fakes.key_owner import KeyOwner, cross_signing_key, public, signed
from tests.synapse.homeserver import Synapse
from tests.synapse.identity import Account, PublicIdentityServer
from tests.synapse.person import Person
from tests.synapse.waiting import eventually

KEYS = f"{OWN}/keys"


@dataclass(frozen=True)
class Client:
    """What a client does with its keys at its homeserver."""

    person: Person

    def upload(self, master: SigningKey) -> None:
        """Make a self-signing key and upload it and ``master``; the homeserver asks for the password where it has others."""
        user_id, self_signing = self.person.user_id, SigningKey.generate()
        body: dict[str, Any] = {
            "master_key": cross_signing_key(user_id, master),
            "self_signing_key": signed(cross_signing_key(user_id, self_signing, "self_signing"), user_id, master),
        }
        path = "/keys/device_signing/upload"
        status, answer = self.person.request("POST", path, body)
        if status == 401:
            auth = {
                "type": "m.login.password",
                "identifier": {"type": "m.id.user", "user": user_id},
                "password": self.person.password,
                "session": answer["session"],
            }
            status, answer = self.person.request("POST", path, {**body, "auth": auth})
        assert (status, answer) == (200, {})

    def sign_by_device(self, master: SigningKey) -> None:
        """Have the device sign the master key, as a client does so that its other devices believe it."""
        user_id, device = self.person.user_id, SigningKey.generate()
        device_id = self.person.do("GET", "/account/whoami")["device_id"]
        device_keys = {
            "user_id": user_id,
            "device_id": device_id,
            "algorithms": ["m.olm.v1.curve25519-aes-sha2", "m.megolm.v1.aes-sha2"],
            "keys": {
                f"curve25519:{device_id}": encode_base64(bytes(device.to_curve25519_private_key().public_key)),
                f"ed25519:{device_id}": public(device),
            },
        }
        self.person.do("POST", "/keys/upload", {"device_keys": _signed_as(device_keys, user_id, device_id, device)})
        key = _signed_as(cross_signing_key(user_id, master), user_id, device_id, device)
        answer = self.person.do("POST", "/keys/signatures/upload", {user_id: {public(master): key}})
        assert answer == {"failures": {}}


def _signed_as(content: dict[str, Any], user_id: str, name: str, key: SigningKey) -> dict[str, Any]:
    """Signed with a key that is not named by itself, but by its device."""
    [signature] = signed(content, user_id, key)["signatures"][user_id].values()
    return {**content, "signatures": {user_id: {f"ed25519:{name}": signature}}}


def query(whoever: Person, user_id: str) -> dict[str, Any]:
    return dict(whoever.do("POST", "/keys/query", {"device_keys": {user_id: []}}))


@dataclass
class Publisher:
    """Somebody who publishes keys at an identity server."""

    account: Account
    user_id: str
    owner: KeyOwner

    @classmethod
    def of(cls, person: Person, identity: PublicIdentityServer) -> "Publisher":
        return cls(person.account_at(identity), person.user_id, KeyOwner(person.user_id, f"{identity.name}/log"))

    def state(self, op: str, keys: dict[str, Any], *signers: SigningKey) -> None:
        challenge = self._send("POST", f"{KEYS}/challenge", {})["challenge"]
        now_ms = int(time.time() * 1000)
        statement = self.owner.state(op, signers[-1], *signers, ts=now_ms, nonce=challenge, keys=keys)
        self._send("PUT", f"{KEYS}/{quote(self.user_id, safe='')}", statement)
        self.owner.made.append(statement)

    def proved(self, pins: Pins) -> Current:
        """What everybody is shown, verified, once the newest statement has its place in the log."""
        answer = eventually(self._shown, "a proof")
        return verify(answer, self.user_id, pins, int(time.time() * 1000))

    def _shown(self) -> Any:
        server = self.account.server
        answer = server.request("GET", f"{KEYS}/{quote(self.user_id, safe='')}").json()
        origin = answer["origins"][server.name]
        newest = origin.get("pending", origin["current"])
        is_newest = newest["payload"]["statement"] == self.owner.made[-1]
        return answer if is_newest and newest["proof"] else None

    def _send(self, method: str, path: str, body: dict[str, Any]) -> Any:
        answer = self.account.server.request(method, path, self.account.token, body=json.dumps(body).encode())
        assert answer.status == 200, answer.data
        return answer.json()


@pytest.fixture
def pins(identity: PublicIdentityServer) -> Pins:
    """What is pinned of the identity server."""
    with identity.signing_keys.open() as stream:
        lines = [f"{key.alg}:{key.version} {public(SigningKey(bytes(key)))}" for key in read_signing_keys(stream)]
    return Pins.parse(identity.request("GET", f"{OWN}/log/vkey").data.decode().strip(), lines)


@pytest.fixture
def master() -> SigningKey:
    return SigningKey.generate()


@pytest.fixture
def alice(alpha: Synapse, master: SigningKey) -> Person:
    """A user whose homeserver serves her ``master`` key."""
    alice = alpha.register("alice")
    Client(alice).upload(master)
    Client(alice).sign_by_device(master)
    return alice


@pytest.fixture
def publisher(alice: Person, master: SigningKey, identity: PublicIdentityServer) -> Publisher:
    """She has published what her homeserver serves."""
    served = query(alice, alice.user_id)
    publisher = Publisher.of(alice, identity)
    keys = {usage: served[f"{usage}_keys"][alice.user_id] for usage in ("master", "self_signing")}
    publisher.state("publish", keys, master)
    return publisher


def test_keys_are_published_exactly_as_the_homeserver_serves_them(alice: Person, publisher: Publisher, pins: Pins) -> None:
    served, current = query(alice, alice.user_id), publisher.proved(pins)
    assert current.keys["master"] == served["master_keys"][alice.user_id]
    assert current.keys["self_signing"] == served["self_signing_keys"][alice.user_id]
    # The signature of a device is published with the key, and holds.
    [(device_id, device)] = served["device_keys"][alice.user_id].items()
    key = decode_verify_key_base64("ed25519", device_id, device["keys"][f"ed25519:{device_id}"])
    verify_signed_json(dict(current.keys["master"]), alice.user_id, key)


def test_a_homeserver_that_serves_the_published_key_matches(
    alpha: Synapse, beta: Synapse, alice: Person, publisher: Publisher, pins: Pins
) -> None:
    current = publisher.proved(pins)
    for whoever in (alice, alpha.register("bob"), beta.register("carol")):  # the last one through another homeserver
        assert compare_with_homeserver(current, query(whoever, alice.user_id), alice.user_id) is Match.MATCH
    of_nobody = query(alice, alpha.register("nobody").user_id)
    assert compare_with_homeserver(current, of_nobody, alice.user_id) is Match.NOT_SERVED


def test_a_homeserver_that_serves_another_key_is_caught_until_the_user_publishes_it(
    alpha: Synapse, alice: Person, publisher: Publisher, master: SigningKey, pins: Pins
) -> None:
    bob, another = alpha.register("bob"), SigningKey.generate()
    Client(alice).upload(another)
    served = query(bob, alice.user_id)
    assert compare_with_homeserver(publisher.proved(pins), served, alice.user_id) is Match.MISMATCH
    publisher.state("rotate", {"master": served["master_keys"][alice.user_id]}, master, another)
    assert compare_with_homeserver(publisher.proved(pins), served, alice.user_id) is Match.MATCH


def test_a_homeserver_that_serves_the_key_of_a_reset_is_ahead_of_it(alice: Person, publisher: Publisher, pins: Pins) -> None:
    another = SigningKey.generate()
    Client(alice).upload(another)
    served = query(alice, alice.user_id)
    publisher.state("reset", {"master": served["master_keys"][alice.user_id]}, another)
    assert compare_with_homeserver(publisher.proved(pins), served, alice.user_id) is Match.PENDING
