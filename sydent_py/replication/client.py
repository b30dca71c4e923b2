"""Asking a peer: for its log, which everybody may read, and in signed requests for what only peers may."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Protocol

from sydent_py import tokens
from sydent_py.clock import Clock
from sydent_py.errors import MatrixError
from sydent_py.federation import x_matrix
from sydent_py.federation.remote import Answered, Headers, NotThere
from sydent_py.federation.transport import Reason, RequestFailed
from sydent_py.federation.x_matrix import Stamp
from sydent_py.log.remote import PATH as LOG
from sydent_py.log.remote import max_bytes
from sydent_py.replication.peers import Peer
from sydent_py.replication.submit import NotThatSize
from sydent_py.signing import Signer
from sydent_py.strict_json import parse_object
from sydent_py.tlog.note import Signature
from sydent_py.tlog.submission import Submission
from sydent_py.tlog.text import parse_number
from sydent_py.tlog.tiles import TileName

OWN = "_matrix/identity/unstable/sydent_py"
# 256 payloads of 8 KiB, each with its nonce.
MAX_PAYLOADS_BYTES = 256 * 9 * 1024
MAX_ANSWER_BYTES = 16 * 1024


class Transport(Protocol):
    """A way to one server; both raise ``NotThere`` and other ``RequestFailed``, and make the headers anew for each attempt."""

    def get(self, path: str, max_bytes: int, headers: Headers = dict) -> bytes:
        """The file at ``path``."""

    def post(self, path: str, body: bytes, max_bytes: int, headers: Headers = dict) -> bytes:
        """The answer to ``body``."""


@dataclass(frozen=True)
class PeerClient:
    """One peer, in its own terms. Everything raises ``RequestFailed``."""

    peer: Peer
    transport: Transport
    signer: Signer
    clock: Clock

    def checkpoint(self) -> bytes:
        """The newest checkpoint of its log."""
        return self._file("checkpoint")

    def file(self, name: TileName) -> bytes:
        """A file of its log; in place of a partial one, which may be gone, perhaps the whole."""
        try:
            return self._file(str(name))
        except NotThere:
            if name.is_full:
                raise
            return self._file(str(TileName(name.level, name.index)))

    def payloads(self, first_index: int, limit: int) -> list[Any]:
        """What its entries are about, from ``first_index`` on; None for an erased one."""
        path = f"{LOG}/payloads?from={first_index}&limit={limit}"
        payloads = _object(self.transport.get(path, MAX_PAYLOADS_BYTES, lambda: self._sign("GET", path, None))).get(
            "payloads"
        )
        if not isinstance(payloads, list):
            raise RequestFailed(Reason.MALFORMED, "no payloads")
        return payloads

    def nudge(self, size: int) -> None:
        """Tell it that our log has grown to ``size``."""
        path, content = f"{OWN}/peers/nudge", {"size": size}
        self.transport.post(path, json.dumps(content).encode(), MAX_ANSWER_BYTES, lambda: self._sign("POST", path, content))

    def add_checkpoint(self, submission: Submission) -> list[Signature]:
        """Have it cosign our log (c2sp.org/tlog-witness): the signature lines; also raises ``NotThatSize``."""
        try:
            answer = self.transport.post(f"{LOG}/add-checkpoint", str(submission).encode(), MAX_ANSWER_BYTES)
        except Answered as refusal:
            if refusal.status == HTTPStatus.CONFLICT and (size := _size(refusal.body)) is not None:
                raise NotThatSize(size) from refusal
            raise
        try:
            return [Signature.parse(line) for line in answer.decode().removesuffix("\n").split("\n")]
        except ValueError as error:
            raise RequestFailed(Reason.MALFORMED, "no signature lines") from error

    def _file(self, name: str) -> bytes:
        return self.transport.get(f"{LOG}/{name}", max_bytes(name))

    def _sign(self, method: str, path: str, content: Mapping[str, Any] | None) -> dict[str, str]:
        return {
            "Authorization": x_matrix.authorization(
                self.signer,
                method=method,
                uri=f"/{path}",
                destination=self.peer.name,
                content=content,
                stamp=Stamp(self.clock.now_ms(), tokens.new_sid()),
            )
        }


def _size(body: bytes) -> int | None:
    """The size in a ``text/x.tlog.size``; None for another kind of conflict."""
    try:
        return parse_number(body.decode().removesuffix("\n"))
    except ValueError:
        return None


def _object(body: bytes) -> dict[str, Any]:
    try:
        return parse_object(body)
    except MatrixError as error:
        raise RequestFailed(Reason.MALFORMED, "no JSON object") from error
