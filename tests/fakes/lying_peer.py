"""A peer that keeps a log as it should, until a test says what to do wrong."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from canonicaljson import encode_canonical_json
from flask import Flask, Response, jsonify, request
from nacl.signing import SigningKey
from unpaddedbase64 import encode_base64

from sydent_py.federation.remote import NotThere
from sydent_py.log.leaf import Leaf
from sydent_py.tlog import merkle, tiles
from sydent_py.tlog.checkpoint import Checkpoint
from sydent_py.tlog.note import SigningKey as LogKey
from sydent_py.tlog.text import HASH_BYTES, Malformed
from sydent_py.tlog.tiles import TileName
from tests.fakes.clock import FakeClock

OWN = "/_matrix/identity/unstable/sydent_py"
BUNDLE = "tile/entries/000"
YEAR_MS = 365 * 86_400_000

Lie = Callable[[Any], Any]


@dataclass
class LyingPeer:
    """Its log is what ``write`` and ``put`` were told; ``lies`` change, by name of the file, what it answers.

    It is what ``Follow`` reads from, and a web application that everybody may ask.
    """

    name: str
    seed: bytes
    log_key: LogKey
    clock: FakeClock
    entries: list[bytes] = field(default_factory=list)
    given: list[Any] = field(default_factory=list)
    lies: dict[str, Lie] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    # What it writes

    def bind(self, address: str, user_id: str, **different: Any) -> bytes:
        """An entry that says so, in the ways that ``different`` has: its commitment."""
        return self.write("bind", self.sign(self.claim(address, user_id, **different)))

    def unbind(self, address: str, user_id: str) -> bytes:
        """An entry that takes it back."""
        content = {"medium": "email", "address": address, "mxid": user_id, "ts": self.clock.now_ms()}
        return self.write("unbind", self.sign(content))

    def erase(self, *commitments: bytes) -> bytes:
        """An entry that says that others are erased."""
        erased = {"erased": [encode_base64(each) for each in commitments], "ts": self.clock.now_ms()}
        return self.write("erase", self.sign(erased))

    def claim(self, address: str, user_id: str, **different: Any) -> dict[str, Any]:
        """An association, unsigned."""
        now_ms = self.clock.now_ms()
        times = {"ts": now_ms, "not_before": now_ms, "not_after": now_ms + YEAR_MS}
        return {"medium": "email", "address": address, "mxid": user_id, **times, **different}

    def sign(
        self, content: Mapping[str, Any], *, name: str = "", key_id: str = "ed25519:0", seed: bytes = b""
    ) -> dict[str, Any]:
        """``content`` with its signature, or somebody's."""
        signature = SigningKey(seed or self.seed).sign(encode_canonical_json(dict(content))).signature
        return {**content, "signatures": {name or self.name: {key_id: encode_base64(signature)}}}

    def write(self, kind: Any, payload: Any, ts: int | None = None) -> bytes:
        """An entry about ``payload``: its commitment."""
        nonce = hashlib.sha256(b"%d" % len(self.entries)).digest()
        commitment = hashlib.sha256(nonce + encode_canonical_json(payload)).digest()
        leaf = Leaf(kind, self.clock.now_ms() if ts is None else ts, commitment)
        self.put(leaf.encode(), {"nonce": encode_base64(nonce), "payload": payload})
        return commitment

    def put(self, entry: bytes, given: Any) -> None:
        """Any entry, and what is given for its payload."""
        self.entries.append(entry)
        self.given.append(given)

    # What it answers

    def sign_checkpoint(self, entries: list[bytes], key: LogKey | None = None) -> bytes:
        """What says that these are all."""
        checkpoint = Checkpoint(self.log_key.name, len(entries), root_of(entries))
        return str((key or self.log_key).sign(str(checkpoint))).encode()

    def checkpoint(self) -> bytes:
        return self._answer("checkpoint", self.sign_checkpoint(self.entries))

    def file(self, name: TileName) -> bytes:
        if name.level is None:
            start = name.index * tiles.WIDTH
            content = tiles.format_bundle(self.entries[start : start + name.width])
        else:
            grown = {(tile.level, tile.index): tile.hashes for tile in _tiles(self.entries)}
            content = grown.get((name.level, name.index), b"")[: name.width * HASH_BYTES]
        if not content:
            raise NotThere(404, "no such file")
        return self._answer(str(name).partition(".")[0], content)

    def payloads(self, first_index: int, limit: int) -> list[Any]:
        return list(self._answer("payloads", self.given[first_index : first_index + limit]))

    def _answer(self, name: str, content: Any) -> Any:
        self.asked.append(name)
        return self.lies.get(name, lambda truth: truth)(content)

    @property
    def app(self) -> Flask:
        app = Flask(__name__)

        @app.get(f"{OWN}/log/checkpoint")
        def checkpoint() -> Response:
            return Response(self.checkpoint())

        @app.get(f"{OWN}/log/<path:name>")
        def file(name: str) -> Response:
            try:
                return Response(self.file(TileName.parse(name)))
            except (NotThere, Malformed):
                return Response("nothing there", 404)

        @app.get(f"{OWN}/log/payloads")
        def payloads() -> Response:
            return jsonify(payloads=self.payloads(int(request.args["from"]), int(request.args["limit"])))

        @app.post(f"{OWN}/peers/nudge")
        def nudge() -> Response:
            return jsonify({})

        return app


def root_of(entries: list[bytes]) -> bytes:
    """The root of the tree of all entries."""
    grown = {(tile.level, tile.index): tile.hashes for tile in _tiles(entries)}
    return merkle.root(len(entries), tiles.hashes_from(lambda level, index: grown[level, index]))


def _tiles(entries: list[bytes]) -> list[tiles.Tile]:
    return tiles.grow(0, [], [merkle.leaf_hash(entry) for entry in entries])
