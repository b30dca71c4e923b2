"""``sydent-py worker``: the background work without the web server."""

import signal
from pathlib import Path

import click

from sydent_py import wiring, worker
from sydent_py.cli.options import takes_config
from sydent_py.cli.serve import set_up
from sydent_py.settings import load


@click.command("worker", short_help="Do the background work alone.")
@takes_config
def work(config: Path | None) -> None:
    """Do the background work in a process of its own, for servers that run with: sydent-py serve --no-worker.

    Several may run on one database: one is active, and another takes over within seconds when it ends.
    """
    settings = load(config)
    set_up(settings)
    built = wiring.build(settings)
    stop = worker.StopRequest()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop.ask)
    click.echo(f"sydent-py does the background work of {settings.server.name}. Stop it with Ctrl-C or SIGTERM.", err=True)
    worker.run(built, stop)
    built.close()
