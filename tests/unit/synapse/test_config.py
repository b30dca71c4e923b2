from typing import Any

import pytest

from sydent_py.synapse.config import parse
from sydent_py.synapse.reading import Misconfigured

URL = {"identity_server": "https://id.example.org"}


def test_everything_is_off_unless_it_is_turned_on() -> None:
    config = parse(URL)
    assert (config.server.url, config.server.name) == ("https://id.example.org", "id.example.org")
    assert not any((config.asks, config.publish.is_on, config.lookups.is_on, config.follows_invites, config.status))
    assert not any((config.invites.has_policy, config.invites.pull, config.registration.require_invite))


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://id.example.org/", "id.example.org"),
        ("https://id.example.org:443", "id.example.org"),
        ("https://id.example.org:8443", "id.example.org:8443"),
        ("http://127.0.0.1:8090", "127.0.0.1:8090"),
        ("http://[::1]:8090", "[::1]:8090"),
        ("http://localhost:8090", "localhost:8090"),
    ],
)
def test_the_identity_server_has_the_name_of_its_url(url: str, name: str) -> None:
    assert parse({"identity_server": url}).server.name == name
    assert parse({"identity_server": url, "server_name": "id.other"}).server.name == "id.other"


@pytest.mark.parametrize(
    ("content", "path", "fix"),
    [
        ({}, "identity_server", "this is missing"),
        ("https://id.example.org", "", "must be a section"),
        ({"identity_server": "id.example.org"}, "identity_server", "must be a URL"),
        ({"identity_server": "https://id.example.org/path"}, "identity_server", "take the path out"),
        ({"identity_server": "https://id.example.org:99999"}, "identity_server", "is not a URL"),
        ({"identity_server": "https://user@id.example.org"}, "identity_server", "must be a URL"),
        ({"identity_server": "http://id.example.org"}, "identity_server", "use https://"),
        ({**URL, "identity_sever": "x"}, "identity_sever", "correct it to one of: identity_server"),
        ({**URL, "publish": {"medai": []}}, "publish.medai", "media"),
        ({**URL, "publish": ["email"]}, "publish", "must be a section"),
        ({**URL, "publish": {"media": "email"}}, "publish.media", "must be a list"),
        ({**URL, "publish": {"media": ["phone"]}}, "publish.media", "email, msisdn"),
        ({**URL, "publish": {"media": ["msisdn"], "domains": ["example.org"]}}, "publish.domains", 'add "email"'),
        ({**URL, "publish": {"media": ["email"], "domains": ["@example.org"]}}, "publish.domains", "such as example.org"),
        ({**URL, "publish": {"consent": "maybe"}}, "publish.consent", "opt_out, opt_in"),
        ({**URL, "publish": {"dry_run": "yes"}}, "publish.dry_run", "true or false"),
        ({**URL, "publish": {"reconcile_hours": True}}, "publish.reconcile_hours", "whole number"),
        ({**URL, "lookups": {"timeout_ms": 60_000}}, "lookups.timeout_ms", "from 100 to 10000"),
        ({**URL, "invites": {"pull": True}}, "invites.pull", "give publish.media"),
        ({**URL, "invites": {"join": True}}, "invites.join", "pull: true"),
        (
            {**URL, "invites": {"allowed_domains": ["a.org"], "denied_domains": ["A.org"]}},
            "invites.denied_domains",
            "'a.org'",
        ),
        ({**URL, "registration": {"domains": ["example.org"]}}, "registration.domains", "require_invite: true"),
        ({**URL, "status": "on"}, "status", "true or false"),
    ],
)
def test_what_is_wrong_is_named_with_the_way_to_put_it_right(content: Any, path: str, fix: str) -> None:
    with pytest.raises(Misconfigured) as refused:
        parse(content)
    assert ".".join(refused.value.path) == path
    assert fix in refused.value.message
