"""The trusted servers of the configuration, as values."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from nacl.signing import VerifyKey

from sydent_py.peer_settings import Peer as PeerSettings
from sydent_py.peer_settings import Scope, read_verify_key
from sydent_py.tlog.note import COSIGNATURE, VerifierKey


@dataclass(frozen=True)
class Peer:
    """A trusted server: ``keys`` sign its requests and its payloads, by key ID, today ``key_id``; ``log_key`` its log.

    ``scope`` is whom and what it may speak for.
    """

    name: str
    base_url: str
    key_id: str
    keys: Mapping[str, VerifyKey]
    log_key: VerifierKey
    ca_file: Path | None
    is_followed: bool
    is_served: bool
    scope: Scope

    @property
    def scope_text(self) -> str:
        """The scope, as it is remembered: what was taken over under another one is taken over anew."""
        return self.scope.model_dump_json()

    @property
    def witness_key(self) -> VerifierKey:
        """What it cosigns with: the key of its log, in another name and for another type of signature (ADR 0013)."""
        return VerifierKey(witness_name(self.name), COSIGNATURE, self.log_key.public_key)


def witness_name(server_name: str) -> str:
    """The name that a server cosigns in."""
    return f"{server_name}/witness"


def read(settings: PeerSettings) -> Peer:
    """A peer of the configuration."""
    keys = dict(map(read_verify_key, (*settings.old_verify_keys, settings.verify_key)))
    key_id, _ = read_verify_key(settings.verify_key)
    return Peer(
        name=settings.name,
        base_url=settings.base_url,
        key_id=key_id,
        keys=keys,
        log_key=VerifierKey.parse(settings.log_key),
        ca_file=settings.ca_file,
        is_followed=settings.direction != "serve",
        is_served=settings.direction != "follow",
        scope=settings.scope,
    )
