"""A page of a peer's log, fetched and read."""

import hashlib
from dataclasses import dataclass, field
from typing import Any, Protocol

from canonicaljson import encode_canonical_json
from unpaddedbase64 import decode_base64

from sydent_py.bindings.register import Retraction
from sydent_py.federation.transport import Reason, RequestFailed
from sydent_py.log.append import MAX_PAYLOAD_BYTES
from sydent_py.log.audit import Contradiction
from sydent_py.log.leaf import Leaf, NotALeaf
from sydent_py.replication import entries
from sydent_py.replication.entries import Moment, NotYet, Opened, Said, Unacceptable
from sydent_py.replication.peers import Peer
from sydent_py.tlog import merkle, tiles
from sydent_py.tlog.text import Malformed
from sydent_py.tlog.tiles import TileName


class Source(Protocol):
    """Where entries and their payloads come from."""

    def file(self, name: TileName) -> bytes:
        """A bundle of entries."""

    def payloads(self, first_index: int, limit: int) -> list[Any]:
        """Nonces and payloads."""


@dataclass(frozen=True, slots=True)
class BadEntry:
    """An entry that is not taken over."""

    index: int
    commitment: bytes
    kind: str
    ts: int
    reason: str
    payload: bytes | None


@dataclass
class Page:
    """From the entry at ``start`` on: leaf hashes in order, what the entries say, and those that are not taken over."""

    start: int
    leaves: list[bytes] = field(default_factory=list)
    said: list[Said] = field(default_factory=list)
    bad: list[BadEntry] = field(default_factory=list)


def read_page(source: Source, peer: Peer, start: int, end: int, moment: Moment) -> Page:
    """The entries from ``start`` up to ``end``, and not that one.

    Raises ``RequestFailed`` where they are not all there, and ``Contradiction`` for a payload that is not the entry's.
    """
    page, reader = Page(start), _Reader(peer, moment)
    while (first := start + len(page.leaves)) < end:
        last = min(end, (first // tiles.WIDTH + 1) * tiles.WIDTH)
        encoded = _entries(source, first, last)
        opened = source.payloads(first, last - first)
        if len(opened) != len(encoded):
            raise RequestFailed(Reason.MALFORMED, f"{len(opened)} payloads of {len(encoded)}")
        for entry, given in zip(encoded, opened, strict=True):
            reader.read(page, entry, given)
    return page


def _entries(source: Source, first: int, last: int) -> list[bytes]:
    number = first // tiles.WIDTH
    begin = number * tiles.WIDTH
    try:
        bundle = tiles.parse_bundle(source.file(TileName(None, number, last - begin)))
    except Malformed as error:
        raise RequestFailed(Reason.MALFORMED, str(error)) from error
    if len(bundle) < last - begin:
        raise RequestFailed(Reason.MALFORMED, f"{len(bundle)} entries of {last - begin}")
    return bundle[first - begin : last - begin]


@dataclass(frozen=True)
class _Reader:
    """Reads entries of one peer."""

    peer: Peer
    moment: Moment

    def read(self, page: Page, entry: bytes, given: Any) -> None:
        """Add an entry to the page, with what the peer gave for its payload."""
        index = page.start + len(page.leaves)
        page.leaves.append(merkle.leaf_hash(entry))
        try:
            leaf = Leaf.parse(entry)
        except NotALeaf as error:
            page.bad.append(BadEntry(index, merkle.leaf_hash(entry), "", 0, str(error), None))
            return
        if given is None:
            page.bad.append(_bad(index, leaf, "the peer has no payload for it, and has not said that it was erased"))
            return
        opened = _open(index, leaf, given)
        try:
            page.said.append(entries.read(self.peer, opened, self.moment))
        except NotYet as error:
            raise RequestFailed(
                Reason.MALFORMED, f"entry {index} is from the future: is one of the clocks wrong?"
            ) from error
        except Unacceptable as refusal:
            page.bad.append(
                _bad(index, leaf, str(refusal), opened.encoded if len(opened.encoded) <= MAX_PAYLOAD_BYTES else None)
            )
            page.said += [Retraction(refusal.retracts)] if refusal.retracts else []


def _bad(index: int, leaf: Leaf, reason: str, payload: bytes | None = None) -> BadEntry:
    return BadEntry(index, leaf.commitment, leaf.kind, leaf.ts, reason, payload)


def _open(index: int, leaf: Leaf, given: Any) -> Opened:
    """The entry with what it commits to; ``Contradiction`` where the peer gave anything else."""
    try:
        nonce, payload = decode_base64(given["nonce"]), given["payload"]
        encoded = encode_canonical_json(payload)
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise Contradiction(f"what it gave for entry {index} is no nonce and payload") from error
    if not isinstance(payload, dict) or hashlib.sha256(nonce + encoded).digest() != leaf.commitment:
        raise Contradiction(f"what it gave for entry {index} is not what the entry commits to")
    return Opened(index, leaf, nonce, payload, encoded)
