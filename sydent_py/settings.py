"""The configuration file as frozen models: TOML, overridden by the environment, strict about every key."""

import ipaddress
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, SettingsError

from sydent_py.homeserver_settings import TrustedHomeservers
from sydent_py.peer_settings import Peer, Replication
from sydent_py.setting_types import (
    BaseUrl,
    Contact,
    DatabaseUrl,
    LinkTemplate,
    Listening,
    Name,
    NetworkText,
    OptionalPath,
    Origin,
    OwnName,
    Port,
    Rate,
    Recipient,
    Section,
    Sender,
    StorageUrl,
    is_loopback,
    parse_mailbox,
)
from sydent_py.sms_settings import HomeserverDelegate, Sms, SmsLimits
from sydent_py.sydent_settings import SydentPeer, SydentReplication, refuse_what_cannot_work

ENV_PREFIX = "SYDENT_PY_"
CONFIG_VARIABLE = "SYDENT_PY_CONFIG"


class ConfigurationError(Exception):
    """The configuration cannot be used; the message names every key at fault."""


class Server(Section):
    """``[server]``"""

    name: Name = "localhost"
    aliases: tuple[OwnName, ...] = ()
    public_base_url: BaseUrl = "http://127.0.0.1:8090"
    bind: Listening = "127.0.0.1:8090"
    workers: int = Field(default=2, ge=1)
    threads: int = Field(default=8, ge=1)
    data_dir: Path = Path("data")
    trusted_proxies: tuple[NetworkText, ...] = (ipaddress.ip_network("127.0.0.1/32"), ipaddress.ip_network("::1/128"))


class Operator(Section):
    """``[operator]``: who runs the server, as the page at ``/`` says it."""

    name: str = ""
    contact: Contact = ""


class DatabaseSection(Section):
    """``[database]``; an empty ``url`` is the SQLite file in the data directory."""

    url: DatabaseUrl = ""


class Email(Section):
    """``[email]``; an empty ``smtp_host`` prints mail to the log."""

    sender: str = Field(default="Matrix identity server <noreply@localhost>", alias="from")
    smtp_host: str = ""
    smtp_port: Port = 587
    smtp_security: Literal["none", "starttls", "tls"] = "starttls"
    smtp_username: str = ""
    smtp_password: SecretStr = SecretStr("")
    smtp_password_file: OptionalPath = None
    ca_file: OptionalPath = None
    templates_dir: OptionalPath = None

    @model_validator(mode="after")
    def _usable(self) -> Self:
        _ = self.sender_parts
        if self.smtp_password_file and self.smtp_password.get_secret_value():
            raise ValueError("give smtp_password or smtp_password_file, not both")
        if self.smtp_security == "none" and self.smtp_host and not is_loopback(self.smtp_host):
            raise ValueError("smtp_security = 'none' is for a mail server on this machine alone; use 'starttls' or 'tls'")
        return self

    @property
    def sender_parts(self) -> tuple[str, str]:
        """The display name and the address of ``from``."""
        return parse_mailbox(self.sender)

    @property
    def password(self) -> str:
        """The SMTP password, read from its file where one is named."""
        if self.smtp_password_file is None:
            return self.smtp_password.get_secret_value()
        return read_text(self.smtp_password_file, "email.smtp_password_file").strip()


class Validation(Section):
    """``[validation]``"""

    next_link_origins: tuple[Origin, ...] = ()


class Federation(Section):
    """``[federation]``"""

    ca_file: OptionalPath = None
    allow_networks: tuple[NetworkText, ...] = ()
    allowed_homeservers: tuple[Name, ...] = ()


class Lookup(Section):
    """``[lookup]``"""

    max_addresses: int = Field(default=10_000, ge=1)
    algorithms: tuple[Literal["sha256", "none"], ...] = ("sha256",)

    @model_validator(mode="after")
    def _has_sha256(self) -> Self:
        if "sha256" not in self.algorithms:
            raise ValueError("algorithms must hold 'sha256': the specification requires it")
        return self


class Invites(Section):
    """``[invites]``"""

    client_link: LinkTemplate = "https://matrix.to/#/{room_id}?via={via}&email={email}&signurl={signurl}"
    lifetime_days: int = Field(default=30, ge=1, le=3650)
    blocked_senders: tuple[Sender, ...] = ()
    blocked_recipients: tuple[Recipient, ...] = ()


class Terms(Section):
    """``[terms]``"""

    file: OptionalPath = None


class Limits(SmsLimits):
    """``[limits]``: rates as ``5/hour``, several separated by ``;``."""

    enabled: bool = True
    storage_url: StorageUrl = ""
    email_per_address: Rate = "5/hour; 10/day"
    email_per_account: Rate = "30/hour"
    email_per_network: Rate = "60/hour"
    email_overall: Rate = "20000/day"
    invite_per_sender: Rate = "30/hour; 100/day"
    invite_per_homeserver: Rate = "2000/day"
    invite_per_room: Rate = "200/day"
    invite_per_recipient: Rate = "10/day"
    invite_overall: Rate = "20000/day"
    displaced_per_address: Rate = "2/day"
    key_statements_per_account: Rate = "20/hour; 50/day"
    keys_per_network: Rate = "1200/hour"
    register_per_network: Rate = "300/hour"
    server_keys_per_network: Rate = "600/hour"
    lookup_hashes_per_account: int = Field(default=50_000, ge=1)
    lookup_hashes_per_homeserver: int = Field(default=5_000_000, ge=1)
    homeserver_lookups_per_day: int = Field(default=100_000, ge=1)


class Settings(BaseSettings):
    """The whole configuration. The server reads it once and never writes to it."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        env_prefix=ENV_PREFIX,
        env_nested_delimiter="__",
    )

    server: Server = Server()
    operator: Operator = Operator()
    database: DatabaseSection = DatabaseSection()
    email: Email = Email()
    validation: Validation = Validation()
    sms: Sms = Sms()
    homeserver_delegate: HomeserverDelegate = HomeserverDelegate()
    federation: Federation = Federation()
    lookup: Lookup = Lookup()
    invites: Invites = Invites()
    terms: Terms = Terms()
    limits: Limits = Limits()
    replication: Replication = Replication()
    peers: tuple[Peer, ...] = ()
    sydent_replication: SydentReplication = SydentReplication()
    sydent_peers: tuple[SydentPeer, ...] = ()
    trusted_homeservers: TrustedHomeservers = ()

    @model_validator(mode="after")
    def _peers_are_others(self) -> Self:
        names = [*(peer.name for peer in self.peers), *(peer.name for peer in self.sydent_peers)]
        if len({*names, self.server.name}) != len(names) + 1:
            raise ValueError("peers and sydent_peers: each has a name of its own, and none has this server's")
        refuse_what_cannot_work(self.sydent_replication, self.sydent_peers)
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - the library calls by name
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - as above
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - as above
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment wins over the file, and nothing else is read."""
        return env_settings, init_settings

    @property
    def database_url(self) -> str:
        """Where the data is."""
        return self.database.url or f"sqlite:///{self.server.data_dir / 'sydent.db'}"

    @property
    def own_names(self) -> tuple[str, ...]:
        """What signed requests to this server may be addressed to: its name, its aliases, and where its URL leads."""
        return self.server.name, *self.server.aliases, self.server.public_base_url.partition("://")[2]

    @property
    def signing_key_path(self) -> Path:
        """The Ed25519 keys that sign associations."""
        return self.server.data_dir / "signing.key"

    @property
    def log_key_path(self) -> Path:
        """The Ed25519 key that signs the log."""
        return self.server.data_dir / "log.key"

    @property
    def sealing_key_path(self) -> Path:
        """The key that addresses are sealed with."""
        return self.server.data_dir / "sealing.key"


def load(path: Path | None) -> Settings:
    """The settings in ``path``, or in the file that ``SYDENT_PY_CONFIG`` names, or the defaults; the environment wins.

    Raises ``ConfigurationError`` naming every unknown key and every value that does not fit.
    """
    named = os.environ.get(CONFIG_VARIABLE)
    path = path or (Path(named) if named else None)
    _refuse_unknown_variables(os.environ)
    try:
        return Settings(**(read_toml(path, "--config") if path else {}))
    except ValidationError as error:
        source = f"{path} and the environment" if path else "the environment"
        raise ConfigurationError("\n".join([f"The configuration ({source}) cannot be used:", *explain(error)])) from error
    except SettingsError as error:
        raise ConfigurationError(f"The environment cannot be used: {error}. Lists are JSON: '[\"10.0.0.0/8\"]'.") from error


def read_text(path: Path, key: str) -> str:
    """What ``path`` holds, or a ``ConfigurationError`` that names the key it came from."""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigurationError(f"{key}: {path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{key}: {path} is not text in UTF-8") from error


def read_toml(path: Path, key: str) -> dict[str, Any]:
    """The tables in ``path``, which ``key`` names; ``ConfigurationError``."""
    try:
        return tomllib.loads(read_text(path, key))
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{path} is not valid TOML: {error}") from error


def _refuse_unknown_variables(environ: Mapping[str, str]) -> None:
    sections = set(Settings.model_fields)
    for name in environ:
        section = name[len(ENV_PREFIX) :].partition("__")[0].lower()
        if name.upper().startswith(ENV_PREFIX) and name != CONFIG_VARIABLE and section not in sections:
            raise ConfigurationError(f"The environment variable {name} names no section of the configuration.")


def explain(error: ValidationError) -> list[str]:
    """Where each value does not fit and why, without pydantic's repetition of the value: it may be a secret."""
    return [f"{'.'.join(map(str, problem['loc']))}: {_reason(problem)}" for problem in error.errors()]


def _reason(problem: Mapping[str, Any]) -> str:
    if problem["type"] == "extra_forbidden":
        return "unknown key"
    return str(problem["msg"]).removeprefix("Value error, ")
