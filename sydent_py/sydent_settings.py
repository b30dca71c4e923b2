"""What the configuration says of peers that run Sydent: where they push to us, and where we push to them."""

from collections.abc import Sequence
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, model_validator

from sydent_py.errors import MatrixError
from sydent_py.identifiers import ServerName
from sydent_py.peer_settings import Scope, SigningKeyText
from sydent_py.setting_types import BaseUrl, Name, OptionalPath, Section


def _port(value: str) -> str:
    try:
        listens = not value or ServerName.parse(value).port is not None
    except MatrixError:
        listens = False
    if not listens:
        raise ValueError(f"{value!r} is nothing to listen on, such as '0.0.0.0:4434'; empty: nobody pushes to us")
    return value


class SydentReplication(Section):
    """``[sydent_replication]``: our side of the mutual TLS; with no ``bind`` nobody pushes to us."""

    bind: Annotated[str, AfterValidator(_port)] = ""
    certificate_file: OptionalPath = None
    key_file: OptionalPath = None
    ca_file: OptionalPath = None

    @model_validator(mode="after")
    def _has_a_certificate(self) -> Self:
        if self.bind and not self.has_certificate:
            raise ValueError("bind needs certificate_file and key_file")
        return self

    @property
    def has_certificate(self) -> bool:
        """Whether there is something to show to peers."""
        return self.certificate_file is not None and self.key_file is not None


class SydentPeer(Section):
    """``[[sydent_peers]]``; ``name`` is in its certificate and signs its associations."""

    name: Name
    verify_key: SigningKeyText
    push_url: BaseUrl | Literal[""] = ""
    receive: bool = True
    scope: Scope = Scope()

    @model_validator(mode="after")
    def _is_reached_with_tls(self) -> Self:
        if self.push_url and not self.push_url.startswith("https://"):
            raise ValueError("push_url must start with https://: peers know us by our certificate")
        return self


def refuse_what_cannot_work(replication: SydentReplication, peers: Sequence[SydentPeer]) -> None:
    """``ValueError`` for peers that the rest of the configuration does not fit."""
    if any(peer.push_url for peer in peers) and not replication.has_certificate:
        raise ValueError("sydent_peers: push_url needs [sydent_replication] certificate_file and key_file")
