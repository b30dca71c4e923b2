"""The composition root: settings in, WSGI application out."""

from flask import Flask
from jinja2 import StrictUndefined, TemplateError

from sydent_py.api import (
    access,
    account,
    bindings,
    delegate,
    homeservers,
    invites,
    keys,
    log,
    lookup,
    peers,
    pubkey,
    sms,
    status,
    terms,
    validation,
    web,
    witness,
)
from sydent_py.pages import confirm, confirm_phone, front, opt_out, page, remove
from sydent_py.services import Services
from sydent_py.settings import ConfigurationError

_BLUEPRINTS = (
    status.bp,
    account.bp,
    terms.bp,
    lookup.bp,
    keys.bp,
    validation.bp,
    bindings.bp,
    pubkey.bp,
    invites.bp,
    homeservers.bp,
    sms.bp,
    log.bp,
    peers.bp,
    witness.bp,
    page.bp,
    front.bp,
    confirm.bp,
    confirm_phone.bp,
    opt_out.bp,
    remove.bp,
)


def create_app(services: Services) -> Flask:
    """The WSGI application over these services.

    Raises ``ConfigurationError`` for a page template of the operator's that cannot be used.
    """
    app = Flask("sydent_py", static_folder=None, template_folder=services.page_templates_dir)
    app.extensions[web.EXTENSION] = services
    web.install(app)
    access.install(app)
    for blueprint in _BLUEPRINTS:
        app.register_blueprint(blueprint)
    if services.delegate_networks:
        app.register_blueprint(delegate.bp)
    _try_pages(app)
    return app


def _try_pages(app: Flask) -> None:
    """Find a broken template at the start, and not when the first person opens the page."""
    app.jinja_env.undefined = StrictUndefined
    for name, example in page.EXAMPLES.items():
        problem = f"email.templates_dir: the page template {app.template_folder}/{name} cannot be used"
        try:
            shown = app.jinja_env.get_template(name).render(example)
        except TemplateError as error:
            raise ConfigurationError(f"{problem}: {error}") from error
        if any(needed not in shown for needed in page.NEEDED.get(name, ())):
            raise ConfigurationError(f"{problem}: it shows no form with {{{{ action }}}} and all {{{{ fields }}}}")
