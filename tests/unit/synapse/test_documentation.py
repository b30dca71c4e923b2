"""docs/homeserver.md says what is so."""

import dataclasses
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from sydent_py.settings import load
from sydent_py.synapse.config import Config, parse

TEXT = (Path(__file__).parents[3] / "docs" / "homeserver.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


def test_its_configuration_of_the_module_is_read_and_does_what_it_says() -> None:
    [block] = blocks("yaml")
    [module] = yaml.safe_load(block)["modules"]
    assert module["module"] == "sydent_py.synapse.SydentModule"
    config = parse(module["config"])
    assert (config.server.name, config.publish.domains) == ("id.example.org", ("example.org",))
    assert (config.lookups.people_search, config.status) == (True, True)
    assert len(block.splitlines()) == 10


def test_its_configuration_of_the_identity_server_is_read(tmp_path: Path) -> None:
    [block] = blocks("toml")
    path = tmp_path / "sydent.toml"
    path.write_text(block)
    [trusted] = load(path).trusted_homeservers
    [written] = tomllib.loads(block)["trusted_homeservers"]
    assert {name: getattr(trusted, name) for name in written} == {
        name: tuple(value) if isinstance(value, list) else value for name, value in written.items()
    }


def keys(model: Any, prefix: str = "") -> list[str]:
    found = []
    for field in dataclasses.fields(model):
        name = f"{prefix}{field.name}"
        found += keys(field.type, f"{name}.") if dataclasses.is_dataclass(field.type) else [name]
    return found


@pytest.mark.parametrize("key", keys(Config))
def test_every_key_is_in_the_table(key: str) -> None:
    key = {"server.url": "identity_server", "server.name": "server_name"}.get(key, key.removeprefix("server."))
    assert re.search(rf"^\| .*`{re.escape(key)}`.*\|.*\|.*\|$", TEXT, re.MULTILINE)
