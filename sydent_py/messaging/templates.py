"""The words of every mail: the package's templates, an operator's own before them, and a brand's own before those."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import (
    Environment,
    FileSystemLoader,
    StrictUndefined,
    Template,
    TemplateError,
    TemplateSyntaxError,
    select_autoescape,
)
from markupsafe import Markup

from sydent_py.identifiers import ThreePid
from sydent_py.messaging.email import Mail
from sydent_py.messaging.names import unlinked
from sydent_py.settings import ConfigurationError

PACKAGE_DIR = Path(__file__).parent / "templates"
PARTS = ("subject.txt", "body.txt", "body.html")

_BRAND = re.compile(r"[a-z0-9_-]{1,32}", re.ASCII)
# What ends a header line, hides in one or turns its direction, and what no encoding carries.
_UNPRINTABLE = re.compile(r"[\s\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]+")

# Every kind of mail with examples of what its templates are given: at start each template is rendered with them, so that
# a misspelt variable stops the start and not the first mail.
_INVITE = {
    "server_name": "id.example.org",
    "sender": "@alice:example.org",
    "sender_name": "Alice",
    "room_name": "Walks",
    "room_alias": "#walks:example.org",
    "is_space": False,
    "address": "bob@example.org",
    "link": "https://app.example.org/invite/example",
    "opt_out_link": "https://id.example.org/opt-out/example",
    "valid_days": 90,
}
_EXAMPLES: Mapping[str, tuple[Mapping[str, Any], ...]] = {
    "verify_email": (
        {
            "server_name": "id.example.org",
            "user_id": "@alice:example.org",
            "address": "alice@example.org",
            "link": "https://id.example.org/confirm/example",
            "valid_hours": 24,
        },
    ),
    "invite": (
        _INVITE,
        {**_INVITE, "sender_name": "", "room_name": "", "room_alias": "", "is_space": True, "valid_days": 1},
    ),
    "binding_displaced": (
        {
            "server_name": "id.example.org",
            "address": "alice@example.org",
            "old_user_id": "@alice:example.org",
            "new_user_id": "@alice:example.net",
            "origin": "id.example.net",
        },
    ),
    "keys_reset": (
        {
            "server_name": "id.example.org",
            "user_id": "@alice:example.org",
            "address": "alice@example.org",
            "counts_from": "2026-01-04 12:00 UTC",
        },
    ),
    "keys_erased": (
        {
            "server_name": "id.example.org",
            "user_id": "@alice:example.org",
            "address": "alice@example.org",
            "counts_from": "2026-01-04 12:00 UTC",
        },
    ),
    "keys_differ": (
        {
            "server_name": "id.example.org",
            "user_id": "@alice:example.org",
            "address": "alice@example.org",
            "origins": "id.example.org, id.example.net",
        },
    ),
    "remove_binding": (
        {
            "server_name": "id.example.org",
            "user_id": "@alice:example.org",
            "address": "alice@example.org",
            "link": "https://id.example.org/remove/example",
        },
    ),
}
# What a body must show, where it is given.
_LINKS = ("link", "opt_out_link")

# What else there is beside the directories of brands.
_NO_BRANDS = {*_EXAMPLES, "pages"}


@dataclass(frozen=True)
class _Kind:
    subject: Template
    text: Template
    html: Template

    def render(self, to: ThreePid, headers: Mapping[str, str], context: Mapping[str, Any]) -> Mail:
        subject = _UNPRINTABLE.sub(" ", self.subject.render(context)).strip()
        return Mail(to, subject, self.text.render(context), self.html.render(context), headers)


class Templates:
    """Renders mail. Every file is looked up as ``BRAND/KIND/PART`` and ``KIND/PART`` in ``directory``, then in the package.

    ``PART`` is ``subject.txt``, ``body.txt`` or ``body.html``; ``layout.html``, which every body extends, can be replaced
    in the same way. All templates are compiled and tried here: ``ConfigurationError`` names the one that is broken.
    """

    def __init__(self, directory: Path | None = None) -> None:
        own = [directory] if directory else []
        try:
            self._default = _compile([*own, PACKAGE_DIR])
            self._by_brand = {path.name: _compile([path, *own, PACKAGE_DIR]) for path in _brand_dirs(directory)}
        except OSError as error:
            raise ConfigurationError(f"email.templates_dir: {directory} cannot be read: {error}") from error

    def render(
        self, kind: str, brand: str | None, to: ThreePid, headers: Mapping[str, str] | None = None, **context: Any
    ) -> Mail:
        """The mail of this ``kind`` to ``to``, with ``headers`` beyond those every mail has.

        ``brand`` may be anything a client sends: an unknown one is the default.
        """
        kinds = self._default if brand is None else self._by_brand.get(brand, self._default)
        return kinds[kind].render(to, headers or {}, context)


def _brand_dirs(directory: Path | None) -> list[Path]:
    """The directories of brands. Listed once, so that a client's brand is looked up among names and never becomes a path."""
    if directory is None:
        return []
    return [
        path
        for path in sorted(directory.iterdir())
        if path.is_dir() and _BRAND.fullmatch(path.name) and path.name not in _NO_BRANDS
    ]


def _compile(directories: list[Path]) -> dict[str, _Kind]:
    environment = Environment(
        loader=FileSystemLoader(directories),
        autoescape=select_autoescape(["html"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.filters["inert"] = _inert
    environment.filters["unlinked"] = lambda value: unlinked(str(value))
    return {kind: _compile_kind(environment, directories, kind) for kind in _EXAMPLES}


def _compile_kind(environment: Environment, directories: list[Path], kind: str) -> _Kind:
    templates = [_compile_part(environment, directories, kind, part) for part in PARTS]
    return _Kind(*templates)


def _compile_part(environment: Environment, directories: list[Path], kind: str, part: str) -> Template:
    name = f"{kind}/{part}"
    path = next(directory / name for directory in directories if (directory / name).is_file())
    try:
        template = environment.get_template(name)
        tried = [(example, template.render(example)) for example in _EXAMPLES[kind]]
    except (TemplateError, ArithmeticError, LookupError, TypeError, ValueError, OSError, RecursionError) as error:
        where = f"{error.filename}, line {error.lineno}" if isinstance(error, TemplateSyntaxError) else path
        raise ConfigurationError(f"email.templates_dir: the mail template {where} cannot be used: {error}") from error
    for example, rendered in tried if part.startswith("body.") else ():
        for link in _LINKS:
            if example.get(link, "") not in rendered:
                raise ConfigurationError(f"email.templates_dir: the mail template {path} does not show {{{{ {link} }}}}")
    return template


def _inert(value: str) -> Markup:
    """``value`` in HTML so that no mail client makes a link of it: a stranger may have chosen ``@www.evil.example:evil.example``.

    Nothing inside an anchor is turned into a link, and an anchor without a target leads nowhere.
    """
    return Markup('<a style="color:inherit;text-decoration:none">{}</a>').format(value)
