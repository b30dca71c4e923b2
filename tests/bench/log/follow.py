"""Following a peer's log, all of which was fetched before; and beside it the signatures of its payloads by themselves."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from canonicaljson import encode_canonical_json
from nacl.signing import VerifyKey
from unpaddedbase64 import decode_base64

from sydent_py import installation, settings
from sydent_py.bindings.register import AddressRegister
from sydent_py.clock import SystemClock
from sydent_py.directory.peppers import Peppers
from sydent_py.directory.publish import Directory
from sydent_py.keys.notices import KeyNotices
from sydent_py.keys.register import KeyRegister
from sydent_py.log.audit import reading_order
from sydent_py.log.payloads import MAX_PAYLOADS, Payloads
from sydent_py.outbox.outbox import Outbox
from sydent_py.peer_settings import Scope
from sydent_py.replication.follow import Follow
from sydent_py.replication.peers import Peer
from sydent_py.replication.registers import Registers
from sydent_py.replication.take_over import TakeOver
from sydent_py.replication.witness import Witness
from sydent_py.strict_json import parse_object
from sydent_py.tlog.cosignature import WitnessKey
from sydent_py.tlog.tiles import TileName
from tests.bench.log.build import Server, server_of
from tests.bench.log.cost import Cost, WrongResult, cost_of


@dataclass(frozen=True)
class Fetched:
    """A peer's log, as it came over the network."""

    encoded: bytes
    files: dict[str, bytes]
    pages: dict[int, bytes]

    def checkpoint(self) -> bytes:
        return self.encoded

    def file(self, name: TileName) -> bytes:
        return self.files[str(name)]

    def payloads(self, first_index: int, limit: int) -> list[Any]:
        return list(parse_object(self.pages[first_index])["payloads"])[:limit]


def follow(config: Path, origin: Path, entries: int) -> dict[str, Cost]:
    """Follow the log of ``origin`` from its first entry, into the empty database of ``config``."""
    with server_of(origin) as peer, server_of(config) as server:
        fetched, payloads = _fetch(peer, entries)
        follower = _follower(server, peer, fetched)
        cost = cost_of(follower, entries, server.backends())
        with server.database.begin() as db:
            taken = db.exec_driver_sql("SELECT size FROM peers").scalar_one()
        if taken != entries:
            raise WrongResult(f"{taken} entries of {entries} were taken over")
        key = VerifyKey(decode_base64(peer.signer.public_keys[0]))
        signed = [(encode_canonical_json(_unsigned(each)), _signature(each)) for each in payloads]
        alone = cost_of(lambda: [key.verify(message, signature) for message, signature in signed], entries)
    return {"follow": cost, "signatures": alone}


def _fetch(peer: Server, entries: int) -> tuple[Fetched, list[dict[str, Any]]]:
    read = Payloads(peer.database, peer.log.sealer)
    files = {str(name): peer.published.file(name) for name in reading_order(entries)}
    given = {first: read(first, MAX_PAYLOADS) for first in range(0, entries, MAX_PAYLOADS)}
    pages = {first: json.dumps({"payloads": page}).encode() for first, page in given.items()}
    payloads = [each["payload"] for page in given.values() for each in page if each]
    return Fetched(peer.published.checkpoint().encode(), files, pages), payloads


def _follower(server: Server, peer: Server, source: Fetched) -> Follow:
    clock, sealer = SystemClock(), installation.read_sealer(settings.load(server.config))
    directory = Directory(Peppers(server.database, sealer, clock))
    addresses, outbox = AddressRegister(directory, sealer, clock, "follower.test"), Outbox(sealer, clock)
    registers = Registers(addresses, KeyRegister(sealer, clock, "follower.test"))
    known = Peer(
        name=peer.signer.server_name,
        base_url="https://peer.test",
        key_id=peer.signer.key_id,
        keys={peer.signer.key_id: VerifyKey(decode_base64(peer.signer.public_keys[0]))},
        log_key=peer.key.verifier_key,
        ca_file=None,
        is_followed=True,
        is_served=False,
        scope=Scope(),
    )
    return Follow(
        peer=known,
        source=source,
        database=server.database,
        take_over=TakeOver(known, registers, sealer, lambda _db, _displaced: None, KeyNotices(addresses, outbox, sealer)),
        clock=clock,
        witness=Witness(server.database, WitnessKey("follower.test/witness", bytes(32)), {}, clock),
        poll_ms=1000,
    )


def _unsigned(payload: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in payload.items() if name != "signatures"}


def _signature(payload: dict[str, Any]) -> bytes:
    [(_, signatures)] = payload["signatures"].items()
    [signature] = signatures.values()
    return decode_base64(signature)
