"""Which peer sent a request, proved by a signature that is believed once."""

from collections.abc import Mapping
from dataclasses import dataclass

from sydent_py.clock import Clock
from sydent_py.database import Database
from sydent_py.errors import Forbidden
from sydent_py.federation import x_matrix
from sydent_py.federation.x_matrix import SignedRequest
from sydent_py.replication import models
from sydent_py.replication.peers import Peer

# How far the clocks of two peers may be apart.
WINDOW_MS = 5 * 60_000


@dataclass(frozen=True)
class AuthenticatePeer:
    """Believes the pinned keys of the peers, and nobody else's.

    ``own_names`` are the names that requests to us may be addressed to.
    """

    database: Database
    peers: Mapping[str, Peer]
    own_names: tuple[str, ...]
    clock: Clock

    def __call__(self, request: SignedRequest) -> Peer:
        """The peer that has signed ``request``, for us, now, and for the first time; ``Forbidden`` for any other.

        Server-Server API, "Request Authentication", with ``ts`` and ``nonce`` in what is signed.
        """
        credentials = [each for each in x_matrix.parse(request.authorization) if each.destination is not None]
        peer = self.peers.get(credentials[0].origin.text) if credentials else None
        if peer is None:
            raise Forbidden("This server is not a peer of ours, or does not say whom it asks.")
        stamp = x_matrix.verify(request, credentials, self.own_names, peer.keys).stamp
        now_ms = self.clock.now_ms()
        if stamp is None or abs(stamp.ts - now_ms) > WINDOW_MS:
            raise Forbidden(f"The request needs a nonce and the time, and ours is {now_ms}: is one of the clocks wrong?")
        with self.database.begin() as db:
            is_new = models.spend_nonce(db, peer.name, stamp.nonce, stamp.ts + WINDOW_MS)
        if not is_new:
            raise Forbidden("This request was seen before.")
        return peer
