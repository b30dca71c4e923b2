"""The configuration of Sydent peers."""

from pathlib import Path

import pytest

from sydent_py.settings import ConfigurationError, load

KEY = "ed25519:0 S4dalC/oec981KVfYE+x+qjy0Y3oEjiHZZ174LSRrMM"
PEER = f"[[sydent_peers]]\nname = 'sydent.test'\nverify_key = '{KEY}'"
CERTIFICATE = "[sydent_replication]\ncertificate_file = '/c'\nkey_file = '/k'"


def configured(tmp_path: Path, text: str):
    path = tmp_path / "sydent.toml"
    path.write_text(text)
    return load(path)


def test_a_peer_needs_a_name_and_a_key_alone(tmp_path: Path) -> None:
    [peer] = configured(tmp_path, PEER).sydent_peers
    assert (peer.name, peer.push_url, peer.receive, peer.scope.homeservers) == ("sydent.test", "", True, ())


@pytest.mark.parametrize("bind", ["", "0.0.0.0:4434", "[::]:4434", "localhost:4434"])
def test_what_can_be_listened_on(tmp_path: Path, bind: str) -> None:
    assert configured(tmp_path, f"{CERTIFICATE}\nbind = '{bind}'").sydent_replication.bind == bind


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[sydent_replication]\nbind = '0.0.0.0:4434'", "bind needs certificate_file and key_file"),
        (f"{CERTIFICATE}\nbind = '0.0.0.0'", "nothing to listen on"),
        (f"{CERTIFICATE}\nbind = 'unix:/run/x'", "nothing to listen on"),
        (f"{CERTIFICATE}\nport = 5", "sydent_replication.port: unknown key"),
        (PEER.replace("sydent.test", "a b"), r"sydent_peers\.0\.name"),
        (PEER.replace(KEY, "ed25519:0 x"), r"sydent_peers\.0\.verify_key"),
        (f"{PEER}\npush_url = 'http://sydent.test:4434'", "https://"),
        (f"{PEER}\npush_url = 'https://sydent.test:4434'", "push_url needs"),
        (f"{PEER}\n{PEER}", "a name of its own"),
        (f"[server]\nname = 'sydent.test'\n{PEER}", "none has this server's"),
    ],
)
def test_what_does_not_fit_is_said(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        configured(tmp_path, text)
