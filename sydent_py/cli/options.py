"""Options that several commands share."""

from collections.abc import Callable
from functools import update_wrapper
from pathlib import Path
from typing import Any

import click

from sydent_py.settings import CONFIG_VARIABLE

config_option = click.option(
    "--config",
    type=click.Path(path_type=Path, readable=False),
    metavar="FILE",
    help=f"The configuration file (TOML). Otherwise ${CONFIG_VARIABLE}, otherwise the embedded defaults.",
)


def takes_config(command: Callable[..., None]) -> Callable[..., Any]:
    """Give ``command`` the configuration file, whether it is named before the command or after it."""

    @config_option
    @click.pass_obj
    def run(named_before: Path | None, /, config: Path | None, **options: Any) -> None:
        command(config or named_before, **options)

    return update_wrapper(run, command)
