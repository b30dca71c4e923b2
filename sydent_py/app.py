"""The composition root: settings in, WSGI application out."""

from flask import Flask

from sydent_py.api import access, account, bindings, lookup, pubkey, status, terms, validation, web
from sydent_py.pages import confirm
from sydent_py.services import Services

_BLUEPRINTS = (status.bp, account.bp, terms.bp, lookup.bp, validation.bp, bindings.bp, pubkey.bp, confirm.bp)


def create_app(services: Services) -> Flask:
    """The WSGI application over these services."""
    app = Flask("sydent_py", static_folder=None)
    app.extensions[web.EXTENSION] = services
    web.install(app)
    access.install(app)
    for blueprint in _BLUEPRINTS:
        app.register_blueprint(blueprint)
    return app
