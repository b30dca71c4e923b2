"""A real Sydent in a process of its own, which exchanges bindings with a peer over mutual TLS."""

import configparser
import itertools
import json
import os
import signal
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import urllib3
from signedjson.key import (
    encode_signing_key_base64,
    encode_verify_key_base64,
    generate_signing_key,
    get_verify_key,
)

from sydent_py.directory.peppers import lookup_hash
from tests.fakes.tls import CertificateAuthority
from tests.integration.conftest import free_port
from tests.synapse.waiting import eventually

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".venv-sydent" / "bin" / "python"
V2 = "/_matrix/identity/v2"
HUNDRED_YEARS_MS = 100 * 365 * 24 * 3_600_000


class Sydent:
    """``name`` is its server name and that of its certificate; it is reached as ``localhost``."""

    _numbers = itertools.count(1)

    def __init__(self, directory: Path, name: str, authority: CertificateAuthority) -> None:
        self.directory = directory
        self.name = name
        self.port, self.push_port = free_port(), free_port()
        self.push_url = f"https://localhost:{self.push_port}"
        self.log = directory / "sydent.log"
        self.key = generate_signing_key("0")
        self.verify_key = f"ed25519:0 {encode_verify_key_base64(get_verify_key(self.key))}"
        self._peers: dict[str, str] = {}
        self._reader = ""
        self._http = urllib3.PoolManager(retries=False, timeout=30)
        certificate, key = authority.write_certificate(directory, "localhost", common_name=name)
        (directory / "both.pem").write_bytes(key.read_bytes() + certificate.read_bytes())
        authority.write_root(directory / "ca.pem")

    def add_peer(self, name: str, push_url: str, public_key: str) -> None:
        """Make it a peer, as an operator does: in the configuration, and in the database."""
        self._peers[name] = push_url
        self._reader = self.register("@reader:hs.test")
        with self.database() as db:
            db.execute("INSERT INTO peers (name, port, active) VALUES (?, ?, 1)", (name, int(push_url.rpartition(":")[2])))
            db.execute("INSERT INTO peer_pubkeys (peername, alg, key) VALUES (?, 'ed25519', ?)", (name, public_key))

    def start(self) -> None:
        self._write_configuration()
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [PYTHON, "-m", "sydent.sydent"],
                cwd=self.directory,
                env={**os.environ, "SYDENT_CONF": str(self.directory / "sydent.conf")},
                stdout=log,
                stderr=log,
            )
        eventually(self._is_up, f"{self.name} is up (its log is {self.log})", within_s=60)

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        self._http.clear()
        self._process.send_signal(how)
        self._process.wait(30)

    @contextmanager
    def down(self) -> Iterator[None]:
        """It is killed, and comes back afterwards."""
        self.stop(signal.SIGKILL)
        try:
            yield
        finally:
            self.start()

    @contextmanager
    def database(self) -> Iterator[sqlite3.Connection]:
        """While it is down: after a lookup it may keep its database locked until it writes again."""
        assert self._process.poll() is not None
        with closing(sqlite3.connect(self.directory / "sydent.db")) as db, db:
            yield db

    def register(self, mxid: str) -> str:
        """An access token, without the homeserver that would be asked."""
        token = f"token{next(self._numbers)}"
        with self.database() as db:
            db.execute("INSERT OR IGNORE INTO accounts (user_id, created_ts) VALUES (?, 0)", (mxid,))
            db.execute("INSERT INTO tokens (token, user_id) VALUES (?, ?)", (token, mxid))
        return token

    def validated(self, address: str, mxid: str, medium: str = "email") -> dict[str, str]:
        """What a user has who has proved an address: the credentials of the session."""
        token, secret = self.register(mxid), f"secret{next(self._numbers)}"
        with self.database() as db:
            values = (medium, address, secret, int(time.time() * 1000))
            session = "INSERT INTO threepid_validation_sessions (medium, address, clientSecret, validated, mtime)"
            sid = db.execute(f"{session} VALUES (?, ?, ?, 1, ?)", values).lastrowid
        return {"sid": str(sid), "client_secret": secret, "mxid": mxid, "token": token}

    def bind(self, proof: dict[str, str]) -> None:
        body = dict(proof)
        status, answer = self.request("POST", f"{V2}/3pid/bind", body.pop("token"), body)
        assert status == 200, answer

    def unbind(self, proof: dict[str, str], address: str, medium: str = "email") -> None:
        body = {**proof, "threepid": {"medium": medium, "address": address}}
        status, answer = self.request("POST", f"{V2}/3pid/unbind", body.pop("token"), body)
        assert status == 200, answer

    def insert(self, address: str, mxid: str | None, medium: str = "email", ts: int = 1_700_000_000_000) -> int:
        """Write a binding, or with no ``mxid`` its removal, into its database, whatever that is: the row's id."""
        times = (None, None) if mxid is None else (ts, ts + HUNDRED_YEARS_MS)
        with self.database() as db:
            statement = "INSERT OR REPLACE INTO local_threepid_associations (medium, address, mxid, ts, notBefore, notAfter)"
            row_id = db.execute(f"{statement} VALUES (?, ?, ?, ?, ?, ?)", (medium, address, mxid, ts, *times)).lastrowid
        assert row_id
        return row_id

    def lookup(self, address: str, medium: str = "email") -> str | None:
        """The user ``address`` is bound to."""
        token = self._reader
        pepper = self.request("GET", f"{V2}/hash_details", token)[1]["lookup_pepper"]
        key = lookup_hash(f"{address} {medium}", pepper)
        body = {"algorithm": "sha256", "pepper": pepper, "addresses": [key]}
        status, answer = self.request("POST", f"{V2}/lookup", token, body)
        assert status == 200, answer
        found: dict[str, str] = answer["mappings"]
        return found.get(key)

    def request(self, method: str, path: str, token: str = "", body: Any = None) -> tuple[int, Any]:
        content = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        answer = self._http.request(method, f"http://127.0.0.1:{self.port}{path}", body=content, headers=headers)
        return answer.status, answer.json()

    def _is_up(self) -> bool:
        assert self._process.poll() is None, self.log.read_text()
        try:
            return self.request("GET", "/_matrix/identity/api/v1")[0] == 200
        except urllib3.exceptions.HTTPError:
            return False

    def _write_configuration(self) -> None:
        configuration = configparser.ConfigParser()
        configuration["general"] = {"server.name": self.name, "log.level": "DEBUG"}
        configuration["db"] = {"db.file": str(self.directory / "sydent.db")}
        configuration["http"] = {
            "clientapi.http.bind_address": "127.0.0.1",
            "clientapi.http.port": str(self.port),
            "replication.https.certfile": str(self.directory / "both.pem"),
            "replication.https.cacert": str(self.directory / "ca.pem"),
            "replication.https.bind_address": "127.0.0.1",
            "replication.https.port": str(self.push_port),
        }
        configuration["crypto"] = {"ed25519.signingkey": f"ed25519 0 {encode_signing_key_base64(self.key)}"}
        for name, push_url in self._peers.items():
            configuration[f"peer.{name}"] = {"base_replication_url": push_url}
        with (self.directory / "sydent.conf").open("w") as file:
            configuration.write(file)
