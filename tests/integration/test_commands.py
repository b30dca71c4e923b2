"""The command line, as it is installed."""

import os
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import get_args

import pytest
import urllib3

from sydent_py.settings import Settings, load
from tests.integration.conftest import COMMAND, IdentityServer, free_port

ROOT = Path(__file__).parents[2]


@pytest.fixture
def engine() -> str:
    return "sqlite"


def run(directory: Path, *arguments: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [COMMAND, *arguments],
        cwd=directory,
        env={**os.environ, **environ},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def wait_for(output: Path, text: str) -> str:
    deadline = time.monotonic() + 30
    while text not in output.read_text():
        assert time.monotonic() < deadline, output.read_text()
        time.sleep(0.05)
    return output.read_text()


def test_serve_needs_no_configuration(tmp_path: Path) -> None:
    output = tmp_path / "output.txt"
    with output.open("wb") as stream:
        port = free_port()
        environ = {**os.environ, "SYDENT_PY_SERVER__BIND": f"127.0.0.1:{port}"}
        server = subprocess.Popen([COMMAND, "serve"], cwd=tmp_path, env=environ, stdout=stream, stderr=stream)
    try:
        said = wait_for(output, "Try it: curl")
        # The listener is open before the workers are: the answer comes as soon as one of them is up.
        assert urllib3.request("GET", f"http://127.0.0.1:{port}/ready", timeout=30).status == 200
    finally:
        server.send_signal(signal.SIGTERM)
        assert server.wait(30) == 0
    assert "MAIL IS PRINTED HERE AND NOT SENT" in said
    assert "sydent.example.toml" in said
    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "data").iterdir()}
    assert (modes["signing.key"], modes["sealing.key"]) == (0o600, 0o600)
    assert (tmp_path / "data").stat().st_mode & 0o777 == 0o700
    assert "sydent.db" in modes


def test_keys_that_are_there_are_kept(tmp_path: Path) -> None:
    assert run(tmp_path, "migrate").returncode == 0
    before = {path.name: path.read_bytes() for path in (tmp_path / "data").glob("*.key")}
    assert run(tmp_path, "migrate").returncode == 0
    assert {path.name: path.read_bytes() for path in (tmp_path / "data").glob("*.key")} == before


@pytest.mark.parametrize(
    ("config", "said"),
    [
        ("[server]\nnaem = 'x'", "server.naem: unknown key"),
        ("[server", "not valid TOML"),
        ("[email]\nsmtp_host = 'x'\nsmtp_password_file = '/nonexistent'", "smtp_password_file"),
        ("[federation]\nca_file = '/nonexistent'", "federation.ca_file"),
        ("[terms]\nfile = '/nonexistent'", "/nonexistent"),
        ("[email]\ntemplates_dir = '/nonexistent'", "templates_dir"),
        ("[limits]\nstorage_url = 'nonsense://x'", "limits.storage_url"),
        ("[limits]\nstorage_url = 'valkey://127.0.0.1:1'", "limits.storage_url"),
        ("[database]\nurl = 'sqlite:////nonexistent/x.db'", "database"),
        ("[federation]\nallow_networks = ['10.1.2.3/24']", "is not a network such as"),
        ("[database]\nurl = 'postgresql+psycopg://nobody@127.0.0.1:1/x'", "database"),
        ("[server]\ndata_dir = '/dev/null/x'", "data directory"),
    ],
)
def test_what_stops_the_start_is_said_in_plain_words(tmp_path: Path, config: str, said: str) -> None:
    (tmp_path / "sydent.toml").write_text(config)
    done = run(tmp_path, "--config", "sydent.toml", "serve")
    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("name", ["signing.key", "sealing.key"])
def test_a_key_that_went_missing_is_not_replaced(tmp_path: Path, name: str) -> None:
    assert run(tmp_path, "migrate").returncode == 0
    (tmp_path / "data" / name).rename(tmp_path / "backup")
    done = run(tmp_path, "migrate")
    assert done.returncode == 1
    assert f"{tmp_path}/data/{name} is missing" in done.stderr
    assert not (tmp_path / "data" / name).exists()
    (tmp_path / "backup").rename(tmp_path / "data" / name)
    assert run(tmp_path, "migrate").returncode == 0


def test_everything_in_the_data_directory_is_for_its_owner(tmp_path: Path) -> None:
    assert run(tmp_path, "migrate").returncode == 0
    assert {path.stat().st_mode & 0o077 for path in (tmp_path / "data").iterdir()} == {0}


def test_servers_that_start_at_once_in_one_directory_share_its_keys(tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(lambda _: run(tmp_path, "migrate"), range(4)))
    assert [one.returncode for one in done] == [0] * 4, [one.stderr for one in done]
    assert sorted(path.name for path in (tmp_path / "data").glob(".*")) == []


@pytest.mark.parametrize("arguments", [("--config", "sydent.toml", "migrate"), ("migrate", "--config", "sydent.toml")])
def test_the_configuration_is_named_before_the_command_or_after_it(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    (tmp_path / "sydent.toml").write_text('[server]\ndata_dir = "elsewhere"')
    assert run(tmp_path, *arguments).returncode == 0
    assert (tmp_path / "elsewhere" / "sydent.db").is_file()


def test_a_configuration_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    done = run(tmp_path, "serve", "--config", "nothing.toml")
    assert (done.returncode, done.stderr) == (
        1,
        "sydent-py: --config: nothing.toml cannot be read: No such file or directory\n",
    )


def test_wrong_usage_is_status_2(tmp_path: Path) -> None:
    assert run(tmp_path, "sevre").returncode == 2
    assert run(tmp_path, "serve", "--fast").returncode == 2
    assert run(tmp_path, "generate-key", "--version", "a b").returncode == 2


def test_generate_key_prints_a_key_or_writes_it_for_its_owner(tmp_path: Path) -> None:
    assert re.fullmatch(r"ed25519 1 [A-Za-z0-9+/]{43}\n", run(tmp_path, "generate-key", "--version", "1").stdout)
    done = run(tmp_path, "generate-key", "--output", "new.key")
    assert done.returncode == 0
    assert (tmp_path / "new.key").stat().st_mode & 0o777 == 0o600
    again = run(tmp_path, "generate-key", "--output", "new.key")
    assert (again.returncode, "never overwritten" in again.stderr) == (1, True)
    assert run(tmp_path, "generate-key", "--output", "no/such/dir").returncode == 1


def test_a_port_in_use_is_said_and_not_waited_for(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    with IdentityServer(tmp_path / "one", {}) as server:
        done = run(tmp_path, "serve", SYDENT_PY_SERVER__BIND=f"127.0.0.1:{server.port}")
    assert done.returncode == 1
    assert "in use" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_example_configuration_says_what_the_defaults_are() -> None:
    example, defaults = load(ROOT / "config" / "sydent.example.toml"), load(None)
    changed = {"server": {"name", "public_base_url"}, "email": {"sender"}}
    for section in type(defaults).model_fields:
        ours, theirs = getattr(example, section), getattr(defaults, section)
        if theirs == ():
            assert ours == ()
            continue
        for key in type(theirs).model_fields:
            if key not in changed.get(section, set()):
                assert getattr(ours, key) == getattr(theirs, key), f"{section}.{key}"


def test_every_key_is_in_the_example() -> None:
    text = (ROOT / "config" / "sydent.example.toml").read_text()
    for section, field in Settings.model_fields.items():
        # A list of tables is shown in comments, because its default is that there is none.
        model, heading = (get_args(field.annotation) or [field.annotation])[0], f"[{section}]"
        assert (f"[{heading}]" if field.default == () else heading) in text
        for name, key in model.model_fields.items():
            assert re.search(rf"(^|# |or |# \[{section}\.){re.escape(key.alias or name)}\b", text, re.MULTILINE), (
                f"{section}.{name}"
            )


def test_an_installed_wheel_needs_no_checkout(tmp_path: Path) -> None:
    """Built, installed with the locked dependencies and nothing else, and serving from an empty directory."""

    def do(*command: str | Path, cwd: Path = ROOT) -> None:
        environ = {**os.environ, "UV_PROJECT_ENVIRONMENT": str(tmp_path / "env")}
        done = subprocess.run(command, cwd=cwd, env=environ, capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stderr

    uv, python = COMMAND.parent / "uv", tmp_path / "env" / "bin" / "python"
    do(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", tmp_path / "dist")
    do(uv, "sync", "--frozen", "--no-dev", "--no-install-project", "--python", sys.executable)
    do(uv, "pip", "install", "--no-deps", "--python", python, next((tmp_path / "dist").glob("*.whl")))
    (tmp_path / "empty").mkdir()
    installed = tmp_path / "env" / "bin" / "sydent-py"
    with IdentityServer(tmp_path / "empty", {}, command=installed) as server:
        assert server.get("/terms") == (200, {"policies": {}})
        assert server.request("GET", "/static/page.css").status == 200
        assert server.request("GET", "/confirm?sid=x&token=y").status == 404
    do(
        python,
        "-c",
        "import importlib.util as u; assert not u.find_spec('pytest'); assert not u.find_spec('trustme')",
        cwd=tmp_path,
    )
    do(
        python,
        "-c",
        "from pathlib import Path; import sydent_py as s; assert (Path(s.__file__).parent / 'config' / 'sydent.example.toml').is_file()",
        cwd=tmp_path,
    )
