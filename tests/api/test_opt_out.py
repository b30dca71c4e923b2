"""What a person sees, and a mail program does, at the link that ends invitations."""

import re

import pytest

from sydent_py.identifiers import ThreePid
from sydent_py.settings import ConfigurationError
from tests.api.test_pages import path_of, press
from tests.conftest import Launch
from tests.driver import Driver

BOB = ThreePid.email("bob@example.org")
ONE_CLICK = {"List-Unsubscribe": "One-Click"}


def link(api: Driver, threepid: ThreePid = BOB) -> str:
    return path_of(api.services.invites.opt_outs.link(threepid))


def is_opted_out(api: Driver, threepid: ThreePid = BOB) -> bool:
    opt_outs = api.services.invites.opt_outs
    return opt_outs.describe(opt_outs.link(threepid).rpartition("=")[2]).is_opted_out


def test_the_link_names_the_address_and_its_button_ends_invitations(api: Driver) -> None:
    page = api.request("GET", link(api))
    assert (page.status_code, page.mimetype) == (200, "text/html")
    assert "bob@example.org" in page.text
    assert "Send no more invitations to this address" in page.text
    assert not is_opted_out(api)
    done = press(api, page.text)
    assert (done.status_code, done.mimetype) == (200, "text/html")
    assert "bob@example.org" in done.text
    assert "No more invitations</h1>" in done.text
    assert is_opted_out(api)
    assert not is_opted_out(api, ThreePid.email("alice@example.org"))


def test_a_scanner_that_opens_the_link_changes_nothing(api: Driver) -> None:
    for method in ("GET", "HEAD", "OPTIONS"):
        api.request(method, link(api))
    assert not is_opted_out(api)


def test_it_can_be_undone_at_once_and_later(api: Driver) -> None:
    done = press(api, api.request("GET", link(api)).text)
    undone = press(api, done.text)
    assert (undone.status_code, undone.mimetype) == (200, "text/html")
    assert "bob@example.org" in undone.text
    assert "Invitations are allowed again</h1>" in undone.text
    assert not is_opted_out(api)
    press(api, api.request("GET", link(api)).text)
    later = api.request("GET", link(api))
    assert "No more invitations</h1>" in later.text
    assert press(api, later.text).status_code == 200
    assert not is_opted_out(api)


def test_pressing_twice_is_as_good_as_once(api: Driver) -> None:
    page = api.request("GET", link(api)).text
    assert [press(api, page).status_code for _ in range(2)] == [200, 200]
    assert is_opted_out(api)
    undo = api.request("GET", link(api)).text
    assert [press(api, undo).status_code for _ in range(2)] == [200, 200]
    assert not is_opted_out(api)


@pytest.mark.parametrize("content_type", ["application/x-www-form-urlencoded", "multipart/form-data"])
def test_a_mail_programs_one_click_ends_invitations(api: Driver, content_type: str) -> None:
    done = api.request("POST", link(api), data=ONE_CLICK, content_type=content_type)
    assert (done.status_code, done.mimetype) == (200, "text/html")
    assert is_opted_out(api)


@pytest.mark.parametrize(
    "query", ["", "?t", "?t=", "?t=x", "?t=%00", "?t=%ff", f"?t={'x' * 2000}", "?t=x&t=y", "?t=ü", "?u=x"]
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_link_that_is_not_ours_says_what_to_do(api: Driver, method: str, query: str) -> None:
    page = api.request(method, f"/opt-out{query}", data=ONE_CLICK if method == "POST" else None)
    assert page.status_code in {400, 404}
    assert page.mimetype == "text/html"
    assert "Copy the whole link from the mail" in page.text


@pytest.mark.parametrize("path", ["/opt-out", "/opt-in"])
def test_a_token_that_is_not_ours_changes_nothing(api: Driver, path: str) -> None:
    token = link(api).rpartition("=")[2]
    for wrong in ("wrong", token[:-2], token + "A", ("B" if token[0] == "A" else "A") + token[1:]):
        page = api.request("POST", path, data={"t": wrong})
        assert (page.status_code, page.mimetype) == (404, "text/html")
        assert "This link is not valid" in page.text
        assert "bob@example.org" not in page.text
    assert not is_opted_out(api)


def test_the_longest_address_can_be_taken_out(api: Driver) -> None:
    longest = ThreePid.email(f"{'a' * 64}@{'b' * 60}.{'c' * 60}.{'d' * 60}.org")
    assert press(api, api.request("GET", link(api, longest)).text).status_code == 200
    assert is_opted_out(api, longest)


def test_the_pages_are_not_framed_cached_or_leaked_and_run_nothing(api: Driver) -> None:
    page = api.request("GET", link(api))
    for answer in (page, press(api, page.text), api.request("GET", "/opt-out?t=wrong")):
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert answer.headers["X-Frame-Options"] == "DENY"
        assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
        assert "Access-Control-Allow-Origin" not in answer.headers
        assert "<script" not in answer.text


def test_an_address_is_text_on_our_pages(api: Driver) -> None:
    page = api.request("GET", link(api, ThreePid.email("a&b'c@example.org"))).text
    assert "a&amp;b&#39;c@example.org" in page


def test_an_operator_replaces_the_pages(launch: Launch, tmp_path) -> None:
    (tmp_path / "own" / "pages").mkdir(parents=True)
    (tmp_path / "own" / "pages" / "opted_in.html").write_text("Welcome back, {{ address }}")
    api = launch(email={"templates_dir": tmp_path / "own"})
    undo = press(api, api.request("GET", link(api)).text)
    assert press(api, undo.text).text == "Welcome back, bob@example.org"


@pytest.mark.parametrize("name", ["opt_out.html", "opted_out.html"])
def test_a_page_without_its_button_stops_the_start(launch: Launch, tmp_path, name: str) -> None:
    (tmp_path / "own" / "pages").mkdir(parents=True)
    (tmp_path / "own" / "pages" / name).write_text("{{ address }}")
    with pytest.raises(ConfigurationError, match=rf"pages/{re.escape(name)}.*action"):
        launch(email={"templates_dir": tmp_path / "own"})


def test_the_forms_follow_the_path_the_server_is_published_under(launch: Launch) -> None:
    api = launch(server={"public_base_url": "https://id.test/identity"})
    path = link(api).removeprefix("/identity")
    assert path.startswith("/opt-out?t=")
    page = api.request("GET", path)
    assert 'action="/identity/opt-out"' in page.text
    done = api.request("POST", path, data=ONE_CLICK)
    assert 'action="/identity/opt-in"' in done.text
