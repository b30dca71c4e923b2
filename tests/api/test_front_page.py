"""What everybody may know about the server, on one page."""

import html
import re
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from sydent_py import signing
from tests.conftest import SIGNING_KEY, Launch
from tests.driver import Driver, refusal

OWN = "/_matrix/identity/unstable/sydent_py"
TERMS = """
[policies.privacy_policy]
version = "1.2"
[policies.privacy_policy.en]
name = "Privacy policy"
url = "https://id.test/privacy-1.2-en.html"
[policies.privacy_policy.fr]
name = "Politique de confidentialité"
url = "http://id.test/privacy-1.2-fr.html?a=1&b=2"
[policies.conduct]
version = "<3>"
[policies.conduct.en]
name = "<b>Conduct</b>"
url = "javascript:alert(1)"
[policies.conduct.'"><script>']
name = "Conduite"
url = "HTTPS://id.test/\\"><script>"
"""
HOSTILE = "<script>alert(1)</script>\u202e\"'&"


@pytest.fixture
def engine() -> str:
    """No query here differs between databases."""
    return "sqlite"


def front(api: Driver) -> str:
    page = api.request("GET", "/")
    assert (page.status_code, page.mimetype) == (200, "text/html")
    return page.text


def seen(page: str) -> str:
    """The page as a person reads it."""
    body = page.partition("<body>")[2]
    return html.unescape(" ".join(re.sub(r"<[^>]*>", "", body).split()))


def links(page: str) -> list[str]:
    return [html.unescape(link) for link in re.findall(r'href="([^"]*)"', page)]


def test_it_says_what_the_server_is(api: Driver) -> None:
    page = front(api)
    assert "<h1><bdi>id.test</bdi></h1>" in page
    assert "This is an identity server for Matrix" in seen(page)
    assert "Did you get a mail from here?" in seen(page)
    assert "phone number" not in seen(page)
    assert "http://" not in page


def test_it_speaks_of_phone_numbers_where_they_are_served(launch: Launch) -> None:
    page = seen(front(launch(sms={"allowed_countries": ["GB"]})))
    assert "by their email address or phone number prove" in page
    assert "Did you get a mail or a text message from here?" in page
    assert "pass no link or code in it on" in page


@pytest.mark.parametrize(
    ("operator", "said", "link"),
    [
        ({}, "Whoever runs this server has given no name and no contact here.", None),
        ({"name": "Example University"}, "Who runs it Example University Did you", None),
        (
            {"contact": "Admin@Example.org"},
            "has given no name here, but can be reached: admin@example.org",
            "mailto:admin@example.org",
        ),
        ({"name": " U ", "contact": "a?b%c@example.org"}, "Who runs it U a?b%c@example.org", "mailto:a%3Fb%25c@example.org"),
        ({"contact": "https://example.org/a?b&c#d"}, "reached: https://example.org/a?b&c#d", "https://example.org/a?b&c#d"),
    ],
)
def test_it_says_who_runs_the_server(launch: Launch, operator: dict[str, str], said: str, link: str | None) -> None:
    page = front(launch(operator=operator))
    assert said in seen(page)
    assert (link in links(page)) if link else ("mailto:" not in page)


@pytest.mark.parametrize(
    "contact",
    [
        "nobody",
        "http://example.org/",
        "https://",
        "https://a@b/",
        "https://a b/",
        "https://b/\n",
        "javascript:x",
        "a@b, c@d",
        "https://ä.test/",
    ],
)
def test_a_contact_is_an_email_address_or_a_secure_page(launch: Launch, contact: str) -> None:
    with pytest.raises(ValueError, match=r"operator\.contact"):
        launch(operator={"contact": contact})


def test_it_links_the_policies_in_their_languages(launch: Launch, tmp_path: Path) -> None:
    (tmp_path / "terms.toml").write_text(TERMS)
    page = front(launch(terms={"file": tmp_path / "terms.toml"}))
    assert "Privacy policy · Politique de confidentialité version 1.2" in seen(page)
    assert "<b>Conduct</b> · Conduite version <3>" in seen(page)
    assert 'hreflang="fr" lang="fr"' in page
    assert {"https://id.test/privacy-1.2-en.html", "http://id.test/privacy-1.2-fr.html?a=1&b=2"} <= set(links(page))


def test_without_a_terms_file_it_speaks_of_no_policies(api: Driver) -> None:
    assert "Policies" not in seen(front(api))


def test_what_stands_in_the_configuration_is_text(launch: Launch, tmp_path: Path) -> None:
    (tmp_path / "terms.toml").write_text(TERMS)
    page = front(launch(operator={"name": HOSTILE}, terms={"file": tmp_path / "terms.toml"}))
    assert f"<bdi>{html.escape(HOSTILE).replace('&quot;', '&#34;').replace('&#x27;', '&#39;')}</bdi>" in page
    assert "<script" not in page
    assert "<b>" not in page
    assert all(urlsplit(link).scheme in {"https", "http", ""} for link in links(page))
    assert "javascript" not in page


def test_it_shows_the_keys_and_which_one_signs(launch: Launch, tmp_path: Path) -> None:
    api = launch()
    assert f"Signs bindings: ed25519:0 {api.get('/pubkey/ed25519:0').get_json()['public_key']}" in seen(front(api))
    assert "Signed bindings before" not in seen(front(api))
    (tmp_path / "signing.key").write_text(signing.new_key_line("new") + SIGNING_KEY)
    api = launch()
    new, old = (api.get(f"/pubkey/ed25519:{version}").get_json()["public_key"] for version in ("new", "0"))
    page = seen(front(api))
    assert (
        f"Signs bindings: ed25519:new {new} Signed bindings before, and stays valid: ed25519:0 {old} Signs the log" in page
    )


def test_it_shows_the_log_and_how_to_verify_it(api: Driver) -> None:
    page = front(api)
    vkey = api.request("GET", f"{OWN}/log/vkey").text.strip()
    checkpoint = api.request("GET", f"{OWN}/log/checkpoint").text
    assert f"Signs the log {vkey}" in seen(page)
    assert "Name id.test/log Entries 0 Newest checkpoint, signed on 20" in seen(page)
    assert html.unescape(re.findall(r"<pre>(.*?)</pre>", page, re.DOTALL)[0]) == checkpoint
    assert f"sydent-py log verify https://id.test --key {vkey}" in seen(page)
    assert f"https://id.test{OWN}/log" in seen(page)


def test_it_shows_how_the_log_grows(api: Driver) -> None:
    for number in range(1, 3):
        api.bound(f"alice{number}@example.org")
        api.clock.advance(3600)
        api.services.sequencer()
        now = datetime.fromtimestamp(api.clock.now_ms() // 1000, UTC)
        page = front(api)
        assert f"Entries {number} Newest checkpoint, signed on {now:%Y-%m-%d at %H:%M:%S} UTC id.test/log {number} " in seen(
            page
        )
        assert f'<time datetime="{now:%Y-%m-%dT%H:%M:%SZ}">' in page
        assert html.escape(api.request("GET", f"{OWN}/log/checkpoint").text) in page


def test_many_entries_are_easy_to_read(api: Driver) -> None:
    with api.services.database.begin() as db:
        log = api.services.bindings.mine.associations.log
        for number in range(1234):
            log.append(db, "bind", {"number": number})
    while "Entries 1,234 " not in seen(front(api)):
        assert api.services.published_log.status().pending
        api.services.sequencer()


def test_it_names_no_address_and_no_account(api: Driver) -> None:
    token, _ = api.bound("alice@example.org")
    api.start(token, "other@example.org")
    api.invited(token, "friend@example.org")
    api.services.sequencer()
    page = front(api)
    assert "alice" not in page
    assert "hs.test" not in page
    assert "@" not in page


def test_every_link_on_it_leads_somewhere(launch: Launch) -> None:
    for prefix in ("", "/identity"):
        api = launch(server={"public_base_url": f"https://id.test{prefix}/"})
        page = front(api)
        own = [link for link in links(page) if link.startswith("/")]
        assert own == [f"{prefix}{path}" for path in ("/static/page.css", f"{OWN}/log/checkpoint", f"{OWN}/log/vkey")]
        assert [api.request("GET", link.removeprefix(prefix)).status_code for link in own] == [200, 200, 200]
        assert f"GET {prefix}{OWN}/bindings/mine" in seen(page)
        assert f"https://id.test{prefix}{OWN}/log" in seen(page)
        assert f"sydent-py log verify https://id.test{prefix} --key" in seen(page)


def test_the_requests_it_names_exist(api: Driver) -> None:
    named = re.findall(r"<dd><code>([A-Z]+) (\S+)</code></dd>", front(api))
    assert len(named) == 3
    token, _ = api.bound("alice@example.org")
    for method, template in named:
        path = template.replace("<var>ADDRESS</var>", "alice@example.org")
        assert refusal(api.request(method, path)) == (401, "M_UNAUTHORIZED")
        assert api.request(method, path, token).status_code == 200


def test_it_may_be_cached_for_a_minute_and_is_protected_like_every_page(api: Driver) -> None:
    headers = api.request("GET", "/").headers
    assert headers["Cache-Control"] == "public, max-age=60"
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["X-Frame-Options"] == "DENY"
    assert "Access-Control-Allow-Origin" not in headers


def test_it_may_be_found_by_search_engines_and_other_pages_may_not(api: Driver) -> None:
    assert "noindex" not in front(api)
    assert '<meta name="robots" content="noindex">' in api.request("GET", "/confirm").text


def test_its_head_can_be_asked_for(api: Driver) -> None:
    answer = api.request("HEAD", "/")
    assert (answer.status_code, answer.mimetype, answer.text) == (200, "text/html", "")
    assert int(answer.headers["Content-Length"]) == len(front(api).encode())


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_nothing_can_be_done_there(api: Driver, method: str) -> None:
    answer = api.request(method, "/")
    assert refusal(answer) == (405, "M_UNRECOGNIZED")
    assert set(answer.headers["Allow"].split(", ")) == {"GET", "HEAD", "OPTIONS"}


def test_whatever_is_asked_beside_it_changes_nothing(api: Driver) -> None:
    assert api.request("GET", "/?sid=%00&x=%ff&x=1", headers={"Authorization": "Bearer none"}).text == front(api)


def test_without_a_database_it_is_a_page_that_says_so(api: Driver, tmp_path: Path) -> None:
    api.services.close()
    (tmp_path / "sydent.db").unlink()
    (tmp_path / "sydent.db").mkdir()
    page = api.request("GET", "/")
    assert (page.status_code, page.mimetype, page.headers["Cache-Control"]) == (503, "text/html", "no-store")
    assert "Please try again in a few minutes." in page.text


def test_an_operator_replaces_it(launch: Launch, tmp_path: Path) -> None:
    (tmp_path / "own" / "pages").mkdir(parents=True)
    (tmp_path / "own" / "pages" / "front.html").write_text("{{ operator.name }} runs {{ server_name }}: {{ log.size }}")
    api = launch(email={"templates_dir": tmp_path / "own"}, operator={"name": "<Example>"})
    assert front(api) == "&lt;Example&gt; runs id.test: 0"
