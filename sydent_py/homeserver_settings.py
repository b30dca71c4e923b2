"""What the configuration says of homeservers that may bind addresses to their users without a validation."""

from collections.abc import Mapping
from typing import Annotated, Literal, Self

from nacl.signing import VerifyKey
from pydantic import AfterValidator, model_validator

from sydent_py.errors import MatrixError
from sydent_py.identifiers import ThreePid
from sydent_py.peer_settings import read_verify_key
from sydent_py.setting_types import Name, Section


def _verify_key(value: str) -> str:
    try:
        read_verify_key(value)
    except ValueError as error:
        raise ValueError(
            f"{value!r} is not a key such as 'ed25519:a_id <base64>', as the homeserver's /_matrix/key/v2/server shows it"
        ) from error
    return value


def _domain(value: str) -> str:
    try:
        return ThreePid.email(f"any@{value}").address.removeprefix("any@")
    except MatrixError as error:
        raise ValueError(f"{value!r} is not a domain of email addresses such as 'example.org'") from error


class TrustedHomeserver(Section):
    """``[[trusted_homeservers]]``: an empty list of media is none, an empty list of domains all; ``verify_keys`` pin it."""

    name: Name
    media: tuple[Literal["email", "msisdn"], ...] = ()
    domains: tuple[Annotated[str, AfterValidator(_domain)], ...] = ()
    lookups: bool = False
    verify_keys: tuple[Annotated[str, AfterValidator(_verify_key)], ...] = ()

    @model_validator(mode="after")
    def _keys_differ(self) -> Self:
        if len(self.keys) != len(self.verify_keys):
            raise ValueError("verify_keys: each has a name of its own, such as ed25519:a_id and ed25519:b_id")
        return self

    @property
    def keys(self) -> Mapping[str, VerifyKey]:
        """The pinned keys, by key ID."""
        return dict(map(read_verify_key, self.verify_keys))


def _each_once(homeservers: tuple[TrustedHomeserver, ...]) -> tuple[TrustedHomeserver, ...]:
    if len({each.name for each in homeservers}) != len(homeservers):
        raise ValueError("each homeserver is named once")
    return homeservers


TrustedHomeservers = Annotated[tuple[TrustedHomeserver, ...], AfterValidator(_each_once)]


def pinned_keys(homeservers: tuple[TrustedHomeserver, ...]) -> dict[str, Mapping[str, VerifyKey]]:
    """The keys of the homeservers that are pinned, by name."""
    return {each.name: each.keys for each in homeservers if each.verify_keys}
