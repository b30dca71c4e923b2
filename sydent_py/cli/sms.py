"""``sydent-py sms``: what text messages cost, and what was stopped."""

import json
from pathlib import Path

import click

from sydent_py.cli.database import services_of
from sydent_py.cli.options import takes_config
from sydent_py.cli.times import moment
from sydent_py.settings import load
from sydent_py.sms.status import Report


@click.group(short_help="Text messages: budgets, circuit breakers, conversion.")
def sms() -> None:
    """Text messages: what is left of their budgets, which circuit breakers are open, and how many codes were entered."""


@sms.command(short_help="Show budgets, circuit breakers and conversion.")
@click.option("--json", "as_json", is_flag=True, help="For scripts.")
@takes_config
def status(config: Path | None, *, as_json: bool) -> None:
    """Show what all processes of the server have counted together."""
    with services_of(load(config)) as built:
        report = built.sms.status.report()
    click.echo(json.dumps(report.to_json(), indent=2) if as_json else _in_words(report))


@sms.command("reset-breaker", short_help="Let text messages through again.")
@click.argument("subject")
@takes_config
def reset_breaker(config: Path | None, *, subject: str) -> None:
    """Close the circuit breaker of SUBJECT: a country (GB) or a prefix as `sms status` shows it (+44740012xxxx)."""
    with services_of(load(config)) as built:
        closed = built.sms.traffic.breakers.reset(subject)
    if not closed:
        raise click.ClickException(f"No circuit breaker of {subject} is open. See: sydent-py sms status")
    click.echo(f"Text messages to {subject} go out again.")


def _in_words(report: Report) -> str:
    lines = [f"Provider: {report.provider}", "", "Left of the budgets that all share:"]
    lines += [f"  {budget.budget} {budget.subject:3} {budget.left:>7} of {budget.rate}" for budget in report.budgets]
    lines += ["", "Circuit breakers that are not closed:"]
    for breaker in report.breakers:
        more = (
            f"until {moment(breaker.open_until_ms)}" if breaker.state == "open" else f"{breaker.trials_left} messages left"
        )
        lines.append(f"  {breaker.subject:20} {breaker.country} {breaker.state}, {more}")
    lines += [] if report.breakers else ["  none"]
    lines += ["", "The last 24 hours:", "  country    sent  entered  delivered  undelivered"]
    for country in report.countries:
        share = "" if country.conversion is None else f"  {country.conversion:.0%} entered"
        counts = f"{country.sent:>8} {country.converted:>8} {country.delivered:>10} {country.undelivered:>12}"
        lines.append(f"  {country.country:6} {counts}{share}")
    return "\n".join(lines)
