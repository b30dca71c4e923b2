"""What a person sees who opens the link in a mail."""

import html
import re
from urllib.parse import urlsplit

import pytest

from sydent_py.settings import ConfigurationError
from tests.conftest import Launch
from tests.driver import SECRET, Driver, mailed_token

V2 = "/_matrix/identity/v2"


def path_of(link: str) -> str:
    assert link.startswith("https://id.test/")
    return link.removeprefix("https://id.test")


def press(api: Driver, page: str):
    """Submit the form on a page as a browser would."""
    action = re.search(r'<form[^>]* action="([^"]*)"', page)
    assert action, page
    fields = dict(re.findall(r'<input type="hidden" name="([^"]*)" value="([^"]*)"', page))
    return api.request("POST", html.unescape(action[1]), data=fields)


def open_link(api: Driver, sid: str, token: str, client_secret: str = SECRET):
    """Follow the link that the specification describes."""
    query = {"sid": sid, "client_secret": client_secret, "token": token}
    return api.request("GET", f"{V2}/validate/email/submitToken", query_string=query)


def is_validated(api: Driver, token: str, sid: str) -> bool:
    return api.get("/3pid/getValidated3pid", token, sid=sid, client_secret=SECRET).status_code == 200


def test_the_link_shows_who_asked_and_its_button_validates(api: Driver) -> None:
    token = api.register("@alice:hs.test")
    sid, _ = api.start(token, "alice@example.org")
    page = api.request("GET", path_of(api.mailbox.link()))
    assert (page.status_code, page.mimetype) == (200, "text/html")
    assert "alice@example.org" in page.text
    assert "@alice:hs.test" in page.text
    assert not is_validated(api, token, sid)
    done = press(api, page.text)
    assert (done.status_code, done.mimetype) == (200, "text/html")
    assert "alice@example.org" in done.text
    assert is_validated(api, token, sid)


def test_a_scanner_that_opens_every_link_validates_nothing(api: Driver) -> None:
    token = api.register()
    sid, _ = api.start(token)
    for method in ("GET", "HEAD", "OPTIONS"):
        for link in re.findall(r'https?://[^\s"<>]+', api.mailbox.newest.text + html.unescape(api.mailbox.newest.html)):
            api.request(method, urlsplit(link)._replace(scheme="", netloc="").geturl())
    assert not is_validated(api, token, sid)


def test_the_mail_does_not_tell_the_clients_secret(api: Driver) -> None:
    api.start(api.register(), client_secret="the_secret_of_the_client")
    assert "the_secret_of_the_client" not in api.mailbox.newest.text + api.mailbox.newest.html


def test_pressing_twice_is_as_good_as_once(api: Driver) -> None:
    api.start(api.register())
    page = api.request("GET", path_of(api.mailbox.link())).text
    assert press(api, page).status_code == 200
    assert press(api, page).status_code == 200
    assert "<form" not in api.request("GET", path_of(api.mailbox.link())).text


def test_after_the_button_the_person_goes_on_to_the_next_link(launch: Launch) -> None:
    api = launch(validation={"next_link_origins": ["https://app.test"]})
    api.start(api.register(), next_link="https://app.test/done?x=1#y")
    page = api.request("GET", path_of(api.mailbox.link()))
    assert "form-action 'self' https://app.test;" in page.headers["Content-Security-Policy"]
    answer = press(api, page.text)
    assert (answer.status_code, answer.headers["Location"]) == (303, "https://app.test/done?x=1#y")


@pytest.mark.parametrize(
    "query", ["", "?sid=x", "?token=x", "?sid=&token=", f"?sid={'x' * 300}&token=x", "?sid=%00&token=%ff", "?sid=x&token=y"]
)
def test_a_link_that_leads_nowhere_says_what_to_do(api: Driver, query: str) -> None:
    page = api.request("GET", f"/confirm{query}")
    assert page.status_code in {400, 404}
    assert page.mimetype == "text/html"
    assert "link" in page.text.lower()


def test_a_wrong_token_shows_no_address(api: Driver) -> None:
    sid, _ = api.start(api.register(), "alice@example.org")
    page = api.request("GET", f"/confirm?sid={sid}&token=wrong")
    assert page.status_code == 404
    assert "alice@example.org" not in page.text
    assert api.request("POST", "/confirm", data={"sid": sid, "token": "wrong"}).status_code == 404


def test_an_expired_link_says_so(api: Driver) -> None:
    api.start(api.register())
    api.clock.advance(25 * 3600)
    page = api.request("GET", path_of(api.mailbox.link()))
    assert page.status_code == 400
    assert "expired" in page.text


def test_pages_are_not_framed_cached_or_leaked(api: Driver) -> None:
    api.start(api.register())
    headers = api.request("GET", path_of(api.mailbox.link())).headers
    assert headers["Cache-Control"] == "no-store"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["X-Frame-Options"] == "DENY"
    assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
    assert "default-src 'none'" in headers["Content-Security-Policy"]


def test_what_others_wrote_is_text_on_our_pages(api: Driver) -> None:
    hostile = "@<script>alert(1)</script>&\"':hs.test"
    api.start(api.register(hostile))
    page = api.request("GET", path_of(api.mailbox.link())).text
    assert "<script" not in page
    assert html.escape(hostile, quote=False)[:20] in page
    assert "<script" not in api.mailbox.newest.html


def test_the_specifications_own_link_validates_for_whoever_holds_all_three_secrets(api: Driver) -> None:
    token = api.register()
    sid, mailed = api.start(token)
    page = open_link(api, sid, mailed)
    assert (page.status_code, page.mimetype) == (200, "text/html")
    assert page.headers["Access-Control-Allow-Origin"] == "*"
    assert is_validated(api, token, sid)


def test_the_specifications_own_link_redirects_to_the_next_link(launch: Launch) -> None:
    api = launch(validation={"next_link_origins": ["https://app.test"]})
    sid, mailed = api.start(api.register(), next_link="https://app.test/")
    answer = open_link(api, sid, mailed)
    assert (answer.status_code, answer.headers["Location"]) == (302, "https://app.test/")


@pytest.mark.parametrize("wrong", ["sid", "client_secret", "token"])
def test_with_a_secret_wrong_it_validates_nothing(api: Driver, wrong: str) -> None:
    token = api.register()
    sid, mailed = api.start(token)
    page = open_link(api, **{"sid": sid, "token": mailed, wrong: "wrong"})
    assert page.status_code in {400, 404}
    assert page.mimetype == "text/html"
    assert not is_validated(api, token, sid)


def test_the_link_counts_guesses_like_the_client(api: Driver) -> None:
    token = api.register()
    sid, mailed = api.start(token)
    for _ in range(5):
        open_link(api, sid, "wrong")
    assert open_link(api, sid, mailed).status_code == 400


def test_an_operator_replaces_a_page(launch: Launch, tmp_path) -> None:
    (tmp_path / "own" / "pages").mkdir(parents=True)
    (tmp_path / "own" / "pages" / "confirmed.html").write_text("Welcome, {{ address }}")
    api = launch(email={"templates_dir": tmp_path / "own"})
    api.start(api.register())
    page = api.request("GET", path_of(api.mailbox.link())).text
    assert press(api, page).text == "Welcome, alice@example.org"


@pytest.mark.parametrize(
    ("name", "words", "said"),
    [
        ("confirmed.html", "{% if %}", r"pages/confirmed\.html"),
        ("confirm.html", "{{ adress }}", r"pages/confirm\.html.*adress"),
        ("confirm.html", "no button", r"pages/confirm\.html.*action"),
    ],
)
def test_a_page_that_cannot_work_stops_the_start_and_is_named(
    launch: Launch, tmp_path, name: str, words: str, said: str
) -> None:
    (tmp_path / "own" / "pages").mkdir(parents=True)
    (tmp_path / "own" / "pages" / name).write_text(words)
    with pytest.raises(ConfigurationError, match=said):
        launch(email={"templates_dir": tmp_path / "own"})


def test_an_operators_own_frame_is_no_brand(launch: Launch, tmp_path) -> None:
    (tmp_path / "own" / "pages").mkdir(parents=True)
    (tmp_path / "own" / "pages" / "layout.html").write_text("{{ stylesheet }} {% block content %}{% endblock %}")
    api = launch(email={"templates_dir": tmp_path / "own"})
    api.start(api.register(), brand="pages")
    assert api.request("GET", path_of(api.mailbox.link())).text.startswith("/static/page.css")


@pytest.mark.parametrize("engine", ["sqlite"], indirect=True)
def test_without_a_database_a_page_is_still_a_page(api: Driver, tmp_path) -> None:
    api.start(api.register())
    api.services.close()
    (tmp_path / "sydent.db").unlink()
    (tmp_path / "sydent.db").mkdir()
    page = api.request("GET", path_of(api.mailbox.link()))
    assert (page.status_code, page.mimetype) == (503, "text/html")


def test_links_follow_the_path_the_server_is_published_under(launch: Launch) -> None:
    api = launch(server={"public_base_url": "https://id.test/identity/"})
    token = api.register()
    sid, mailed = api.start(token)
    assert api.mailbox.link() == f"https://id.test/identity/confirm?sid={sid}&token={mailed_token(api.mailbox.link())}"
    page = api.request("GET", f"/confirm?sid={sid}&token={mailed}").text
    assert 'action="/identity/confirm"' in page
    assert 'href="/identity/static/page.css"' in page
    assert api.request("GET", "/static/page.css").mimetype == "text/css"
