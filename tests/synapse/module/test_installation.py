"""The module in the virtual environments of the newest and of the oldest Synapse, on PostgreSQL, too."""

import subprocess
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import PostgreSql
from tests.fakes.smtp import SmtpServer
from tests.fakes.tls import CertificateAuthority
from tests.integration.conftest import COMMAND
from tests.synapse.homeserver import PYTHON, ROOT
from tests.synapse.module.conftest import MODULE
from tests.synapse.module.homeserver import ModuleSynapse, TrustingServer
from tests.synapse.module.test_lookups import found, log_in
from tests.synapse.waiting import eventually

OLDEST = ROOT / ".venv-synapse-oldest" / "bin" / "python"

# Raises where the module asks for anything of the server, or for what the server is made of.
BLOCKED = """
import importlib.metadata, sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.startswith("sydent_py.") and not name.startswith("sydent_py.synapse"):
            raise ImportError(name)
        if name.partition(".")[0] in {"flask", "sqlalchemy", "alembic", "structlog", "click", "gunicorn", "limits"}:
            raise ImportError(name)
sys.meta_path.insert(0, Block())
import pkgutil, sydent_py.synapse
for module in pkgutil.iter_modules(sydent_py.synapse.__path__):
    __import__("sydent_py.synapse." + module.name)
print(sydent_py.synapse.SydentModule.__name__)
"""


@pytest.fixture(params=[PYTHON, OLDEST], ids=["newest", "oldest"])
def python(request: pytest.FixtureRequest) -> Path:
    path: Path = request.param
    if not path.exists():
        pytest.skip(f"THE MODULE IS NOT TESTED WITH THIS SYNAPSE: {path} is not there; `make test` installs it")
    return path


def test_the_module_moves_nothing_in_synapses_environment(wheel: Path, python: Path) -> None:
    command = [COMMAND.parent / "uv", "pip", "install", "--dry-run", "--offline", "--python", python, wheel]
    planned = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stderr
    changes = [line.split("==")[0] for line in planned.splitlines() if line.startswith((" +", " -", " ~"))]
    assert [change.split(" @ ")[0] for change in changes] == [" + sydent-py-synapse"]
    with zipfile.ZipFile(wheel) as content:
        metadata = next(name for name in content.namelist() if name.endswith("METADATA"))
        assert b"Requires-Dist" not in content.read(metadata)


def test_the_module_needs_nothing_but_synapse(installed: Path, python: Path) -> None:
    environ = {"PYTHONPATH": str(installed)}
    done = subprocess.run([python, "-c", BLOCKED], env=environ, capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout, done.returncode) == ("SydentModule\n", 0), done.stderr


@pytest.fixture(params=["oldest", "postgresql"])
def other_synapse(
    request: pytest.FixtureRequest, synapse: ModuleSynapse, identity: TrustingServer, installed: Path, tmp_path: Path
) -> Iterator[ModuleSynapse]:
    """Another homeserver that the identity server trusts."""
    assert synapse.status()["published"] >= 0  # the identity server runs
    authority: CertificateAuthority = request.getfixturevalue("authority")
    smtp: SmtpServer = request.getfixturevalue("smtp")
    python = OLDEST if request.param == "oldest" else PYTHON
    if not python.exists():
        pytest.skip(f"THE MODULE IS NOT TESTED WITH THIS SYNAPSE: {python} is not there; `make test` installs it")
    ca_file = authority.write_root(tmp_path / "identity_ca.pem")
    server = {"identity_server": identity.proxy.url, "ca_file": str(ca_file), "signing_key_path": "signing.key"}
    module = {**MODULE, **server, "invites": {"revoke": True, "pull": True, "join": True}}
    homeserver = ModuleSynapse(tmp_path, authority, smtp.port, installed=installed, module=module, python=python)
    if request.param == "postgresql":
        postgresql: PostgreSql = request.getfixturevalue("postgresql")
        homeserver.use_postgresql(postgresql.server.get_uri(postgresql.create()))
    identity.trust(homeserver.name, media=["email", "msisdn"], lookups=True)
    identity.restart()
    homeserver.start()
    yield homeserver
    homeserver.close()


def test_everything_works_there(other_synapse: ModuleSynapse, identity: TrustingServer, address: str) -> None:
    alice, bob, guest = (other_synapse.register(name) for name in ("alice", "bob", "guest"))
    moved, left = f"moved.{address}", f"left.{address}"
    other_synapse.give(alice, address, moved)
    other_synapse.give(bob, left)
    account = alice.account_at(identity)
    eventually(lambda: account.lookup(left) == bob.user_id, "the addresses are published")
    other_synapse.give(bob, moved)
    other_synapse.wait_until_told()
    assert (account.lookup(address), account.lookup(moved), account.lookup(left)) == (alice.user_id, bob.user_id, None)

    assert found(bob, address) == [alice.user_id]
    own = f"own.{address}"
    alice.bind(account.prove(own), account)
    assert log_in(other_synapse, "email", own, alice.password)[0] == 200

    invited, revoked = alice.create_room(), alice.create_room()
    for room in (invited, revoked):
        alice.invite_address(room, f"guest.{address}", account)
    (token,) = alice.pending(revoked)
    key = alice.pending(revoked)[token]["public_keys"][-1]["public_key"]
    alice.revoke(revoked, token)
    ended = (200, {"valid": False})
    eventually(lambda: identity.get("/pubkey/ephemeral/isvalid", public_key=key) == ended, "the revocation")
    other_synapse.proxy.down()
    try:
        other_synapse.give(guest, f"guest.{address}")
        eventually(lambda: alice.members(invited).get(guest.user_id) == "join", "the guest is in the room")
    finally:
        other_synapse.proxy.up()

    report = other_synapse.reconcile()
    assert (report["lost"], report["extra"], other_synapse.status()["self_test"]["problems"]) == (0, 0, [])
    with identity.unreachable():
        assert bob.deactivate()[0] == 200
        other_synapse.kill()
        other_synapse.launch()
        other_synapse.wait_until_up()
    other_synapse.wait_until_told()
    assert account.lookup(moved) is None
