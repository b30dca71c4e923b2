"""The pages are rendered by sydent_py.pages; here only what stands in the files is shown."""

from pathlib import Path

import pytest
from jinja2 import Environment, FileSystemLoader, StrictUndefined

import sydent_py
from sydent_py.pages.page import EXAMPLES, NEEDED

PAGES = Path(sydent_py.__file__).parent / "pages"
ENVIRONMENT = Environment(loader=FileSystemLoader(PAGES / "templates"), autoescape=True, undefined=StrictUndefined)
COMMON = {"server_name": "id.example.org", "stylesheet": "/prefix/static/page.css"}
CONFIRM = {
    "user_id": "@<b>mallory</b>:example.org",
    "address": "alice@example.org",
    "action": "/prefix/confirm",
    "fields": {"sid": "abc", "token": 'd"ef'},
}
CONFIRMED = {"address": "alice@example.org", "next_link": None}
OPT_OUT = {"address": "alice@example.org", "action": "/prefix/opt-out", "fields": {"t": 'a"b'}}
OPTED_OUT = {**OPT_OUT, "action": "/prefix/opt-in"}
OPTED_IN = {"address": "alice@example.org"}
PROBLEM = {"title": "This link has expired", "message": "It worked for 24 hours."}


def render(name: str, **context: object) -> str:
    return ENVIRONMENT.get_template(name).render(COMMON | context)


@pytest.mark.parametrize(
    ("name", "context"),
    [
        ("confirm", CONFIRM),
        ("confirmed", CONFIRMED),
        ("opt_out", OPT_OUT),
        ("opted_out", OPTED_OUT),
        ("opted_in", OPTED_IN),
        ("problem", PROBLEM),
    ],
)
def test_a_page_is_small_private_and_self_contained(name: str, context: dict[str, object]) -> None:
    page = render(f"{name}.html", **context)
    assert '<html lang="en">' in page
    assert '<meta name="viewport" content="width=device-width, initial-scale=1">' in page
    assert '<meta name="robots" content="noindex">' in page
    assert '<meta name="referrer" content="no-referrer">' in page
    assert '<link rel="stylesheet" href="/prefix/static/page.css">' in page
    assert "id.example.org</title>" in page
    assert "<script" not in page
    assert "style=" not in page
    assert "http" not in page


def test_the_confirmation_page_names_both_sides_and_changes_nothing_by_itself() -> None:
    page = render("confirm.html", **CONFIRM)
    assert "@&lt;b&gt;mallory&lt;/b&gt;:example.org" in page
    assert "alice@example.org" in page
    assert '<form method="post" action="/prefix/confirm">' in page
    assert '<input type="hidden" name="sid" value="abc">' in page
    assert '<input type="hidden" name="token" value="d&#34;ef">' in page
    assert page.count("<button") == 1
    assert "Confirm this address" in page
    assert "If you did not ask for this, close this page; nothing will change." in page


@pytest.mark.parametrize(
    ("name", "context", "button"),
    [("opt_out", OPT_OUT, "Send no more invitations to this address"), ("opted_out", OPTED_OUT, "Allow invitations again")],
)
def test_a_page_about_invitations_names_the_address_and_has_one_button(
    name: str, context: dict[str, object], button: str
) -> None:
    page = render(f"{name}.html", **context)
    assert "alice@example.org" in page
    assert f'<form method="post" action="{context["action"]}">' in page
    assert '<input type="hidden" name="t" value="a&#34;b">' in page
    assert page.count("<button") == 1
    assert f"{button}</button>" in page


def test_every_template_is_tried_at_the_start() -> None:
    assert {path.name for path in (PAGES / "templates").iterdir()} == {"layout.html", *EXAMPLES}
    assert set(NEEDED) == {path.name for path in (PAGES / "templates").iterdir() if "<form" in path.read_text()}


def test_the_stylesheet_asks_nobody_for_anything() -> None:
    css = (PAGES / "static" / "page.css").read_text()
    assert "url(" not in css
    assert "@import" not in css
    assert "prefers-color-scheme: dark" in css
    assert ":focus-visible" in css
