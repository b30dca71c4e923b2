"""Which homeserver sent a request, proved by its signature."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from sydent_py.clock import Clock
from sydent_py.errors import Forbidden
from sydent_py.federation import x_matrix
from sydent_py.federation.patience import Slots, patience
from sydent_py.federation.server_keys import Keys, ServerKeys
from sydent_py.federation.x_matrix import Credentials, SignedRequest


@dataclass(frozen=True)
class AuthenticateHomeserver:
    """Believes the keys that homeservers publish; of those that are ``pinned``, by name, their pinned keys and no others.

    ``own_names`` are the names that requests to us may be addressed to; ``spend`` counts one of a budget for a client's
    network; ``slots`` are the threads that may wait for homeservers at once, those of registration.
    """

    server_keys: ServerKeys
    own_names: tuple[str, ...]
    spend: Callable[[str, str], None]
    clock: Clock
    slots: Slots
    pinned: Mapping[str, Keys] = field(default_factory=dict)

    def __call__(self, request: SignedRequest, network: str) -> Credentials:
        """What a homeserver has signed ``request`` with, which came from ``network``.

        Raises ``Forbidden`` where none did or the request is not for us, ``LimitExceeded``, and the ``Unknown`` (502) of
        registration where the homeserver's keys cannot be had. Server-Server API, "Request Authentication".
        """
        credentials = [each for each in x_matrix.parse(request.authorization) if x_matrix.is_for(each, self.own_names)]
        if not credentials:
            raise Forbidden("The request was signed for another server. This one is: " + ", ".join(self.own_names))
        return x_matrix.verify(request, credentials, self.own_names, self._keys(credentials, network))

    def _keys(self, credentials: list[Credentials], network: str) -> Keys:
        """The keys of the origin, from memory wherever that can decide: only a request that makes us ask is counted."""
        origin = credentials[0].origin
        if origin.text in self.pinned:
            return self.pinned[origin.text]
        keys = self.server_keys.remembered(origin, [each.key_id for each in credentials])
        if keys is None:
            self.spend("server_keys_per_network", network)
            with patience(origin, network, self.clock, self.slots):
                keys = self.server_keys.fetch(origin)
        return keys
