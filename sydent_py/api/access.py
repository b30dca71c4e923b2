"""Who may call a route: every view says so, and one that does not is refused."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from flask import Flask, current_app, g, request

from sydent_py.api.web import services
from sydent_py.errors import Forbidden, Unauthorized
from sydent_py.identifiers import UserId

View = TypeVar("View", bound=Callable[..., Any])


@dataclass(frozen=True)
class Access:
    """What a view asks of its caller."""

    token: bool = True
    terms: bool = True
    query_token: bool = False


def _declare(access: Access) -> Callable[[View], View]:
    def tag(view: View) -> View:
        view.access = access  # type: ignore[attr-defined]
        return view

    return tag


public = _declare(Access(token=False))
"""Anyone."""

account = _declare(Access())
"""A registered account that has accepted the terms."""

account_without_terms = _declare(Access(terms=False))
"""A registered account, also before it accepts the terms."""

account_by_query = _declare(Access(query_token=True))
"""As ``account``; the token may come as ``?access_token=``, because Synapse sends it only so."""


def install(app: Flask) -> None:
    """Check the caller of every route before its view runs."""
    app.before_request(_check)


def caller() -> UserId:
    """The account that calls."""
    return cast(UserId, g.account)


def access_token() -> str:
    """The token in the request; ``Unauthorized`` if there is none."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token.strip():
        return token.strip()
    raise Unauthorized


def declared(view: Callable[..., Any]) -> Access | None:
    """What ``view`` declares."""
    return getattr(view, "access", None)


def _check() -> None:
    if request.endpoint is None:
        return
    access = declared(current_app.view_functions[request.endpoint])
    if access is None:
        raise Forbidden("This endpoint does not say who may call it, so nobody may.")
    if access.token:
        token = request.args.get("access_token") if access.query_token and "Authorization" not in request.headers else None
        g.account = services().accounts.authenticate(token or access_token(), terms_required=access.terms)
