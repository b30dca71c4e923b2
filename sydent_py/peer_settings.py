"""What the configuration says of peers: trusted identity servers whose logs are followed, and which follow ours."""

from typing import Annotated, Literal, Self, get_args

from nacl.signing import VerifyKey
from pydantic import AfterValidator, Field, model_validator
from signedjson.key import decode_verify_key_bytes, is_signing_algorithm_supported
from unpaddedbase64 import decode_base64

from sydent_py.setting_types import BaseUrl, Name, OptionalPath, Section
from sydent_py.tlog.note import ED25519
from sydent_py.tlog.note import VerifierKey as LogKey

KEY_BYTES = 32


def _verify_key(value: str) -> str:
    try:
        read_verify_key(value)
    except ValueError as error:
        raise ValueError(f"{value!r} is not a key such as 'ed25519:0 <base64>', as the peer's page at / shows it") from error
    return value


def _log_key(value: str) -> str:
    try:
        key = LogKey.parse(value)
    except ValueError as error:
        raise ValueError(f"{value!r} is not the key of a log, as the peer's log/vkey shows it: {error}") from error
    if key.algorithm != ED25519:
        raise ValueError("the key of a log signs checkpoints, and this one is for cosignatures")
    return value


def read_verify_key(value: str) -> tuple[str, VerifyKey]:
    """The key ID and the key in ``ed25519:0 <base64>``; ``ValueError``."""
    key_id, _, encoded = value.partition(" ")
    key_bytes = decode_base64(encoded.strip())
    if not is_signing_algorithm_supported(key_id) or len(key_bytes) != KEY_BYTES:
        raise ValueError("not an Ed25519 key")
    return key_id, VerifyKey(bytes(decode_verify_key_bytes(key_id, key_bytes)))


SigningKeyText = Annotated[str, AfterValidator(_verify_key)]
Domain = Annotated[Name, AfterValidator(str.lower)]
LogKeyText = Annotated[str, AfterValidator(_log_key)]


Kind = Literal["bind", "unbind", "erase", "key", "key_revoke"]


class Scope(Section):
    """``[peers.scope]``: whom and what a peer may speak for; an empty list is everyone and everything."""

    homeservers: tuple[Name, ...] = ()
    domains: tuple[Domain, ...] = ()
    media: tuple[Literal["email", "msisdn"], ...] = ("email", "msisdn")
    kinds: tuple[Kind, ...] = get_args(Kind)


class Peer(Section):
    """``[[peers]]``"""

    name: Name
    base_url: BaseUrl
    verify_key: SigningKeyText
    old_verify_keys: tuple[SigningKeyText, ...] = ()
    log_key: LogKeyText
    ca_file: OptionalPath = None
    direction: Literal["both", "follow", "serve"] = "both"
    scope: Scope = Scope()

    @model_validator(mode="after")
    def _keys_differ(self) -> Self:
        key_ids = [read_verify_key(key)[0] for key in (self.verify_key, *self.old_verify_keys)]
        if len(set(key_ids)) != len(key_ids):
            raise ValueError("verify_key and old_verify_keys: each has a name of its own, such as ed25519:0 and ed25519:1")
        return self


class Replication(Section):
    """``[replication]``"""

    prefer: Literal["newest", "local"] = "newest"
    poll_seconds: int = Field(default=30, ge=1, le=3600)
