"""Bodies, answers, errors and CORS: what every route of the API shares."""

import ipaddress
from functools import lru_cache
from typing import Annotated, Any, TypeVar, cast

import structlog
from flask import Flask, Response, current_app, json, request
from flask.json.provider import DefaultJSONProvider
from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from werkzeug.datastructures import MultiDict
from werkzeug.exceptions import ClientDisconnected, HTTPException, MethodNotAllowed, RequestEntityTooLarge
from werkzeug.exceptions import NotFound as NoSuchRoute

from sydent_py import strict_json
from sydent_py.errors import (
    BadJson,
    InvalidParam,
    LimitExceeded,
    MatrixError,
    MissingParams,
    NotJson,
    TooLarge,
    Unknown,
    Unrecognized,
)
from sydent_py.services import Services
from sydent_py.setting_types import Network

MAX_BODY_BYTES = 1024 * 1024
EXTENSION = "sydent_py"
FORM = "application/x-www-form-urlencoded"

CORS_HEADERS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "GET, POST, PUT, DELETE, OPTIONS",
    "Access-Control-Allow-Headers": "Origin, X-Requested-With, Content-Type, Accept, Authorization",
    "Access-Control-Expose-Headers": "Retry-After",
    "Access-Control-Max-Age": "7200",
}

log = structlog.get_logger(__name__)

ClientSecret = Annotated[str, StringConstraints(pattern=r"^[0-9a-zA-Z.=_-]{1,255}$")]
ShortText = Annotated[str, StringConstraints(max_length=255)]


class Parameters(BaseModel):
    """The parameters of an endpoint: exact types, and what it does not know is ignored."""

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore")


P = TypeVar("P", bound=Parameters)


def services() -> Services:
    """The use cases of the server this request came to."""
    return cast(Services, current_app.extensions[EXTENSION])


def parse(model: type[P], *, form: bool = False) -> P:
    """The request body as ``model``: JSON whatever the Content-Type says.

    Where ``form`` is set, the deprecated form encoding is taken too. Raises ``NotJson``, ``BadJson``, ``MissingParams``,
    ``InvalidParam`` and ``TooLarge``.
    """
    body = request.get_data(cache=True)
    if len(body) > MAX_BODY_BYTES:
        raise _body_too_large()
    if form and request.mimetype == FORM and not body.lstrip().startswith(b"{"):
        return _fill(model, _single_values(request.form, BadJson("Each form field must be given once.")))
    return _fill(model, strict_json.parse_object(body))


def query(model: type[P]) -> P:
    """The query string as ``model``; raises ``MissingParams`` and ``InvalidParam``."""
    return _fill(model, _single_values(request.args, InvalidParam("Each parameter must be given once.")))


def client_network() -> str:
    """Where the request came from: an IPv4 address, or the IPv6 /56 that providers give to one customer.

    ``X-Forwarded-For`` is believed from the right for as long as the sender is one of our own proxies.
    """
    trusted = services().trusted_proxies
    hops = [request.remote_addr or "", *reversed(request.headers.get("X-Forwarded-For", "").split(","))]
    network = hops[0]
    for hop in hops:
        address = _network(hop.strip())
        if address is None:
            break
        network = str(address)
        if not any(address.version == proxy.version and address.subnet_of(proxy) for proxy in trusted):  # type: ignore[arg-type]
            break
    return network


@lru_cache(maxsize=1024)
def _network(address: str) -> Network | None:
    """The network that is counted for an address. A unix socket has none, and is our own proxy's."""
    try:
        ip = ipaddress.ip_address(address or "127.0.0.1")
    except ValueError:
        return None
    mapped = getattr(ip, "ipv4_mapped", None)
    if mapped is not None or ip.version == 4:  # noqa: PLR2004 - IPv4
        return ipaddress.ip_network(mapped or ip)
    return ipaddress.ip_network((ip, 56), strict=False)


class CompactJson(DefaultJSONProvider):
    """JSON without spaces, in the order it was built, in UTF-8."""

    sort_keys = False
    compact = True
    ensure_ascii = False


def install(app: Flask) -> None:
    """Make ``app`` answer as the specification says, also where no route does."""
    # One byte more, because a chunked body is cut off at this length without a word.
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES + 1
    app.config["MAX_FORM_MEMORY_SIZE"] = MAX_BODY_BYTES
    app.json = CompactJson(app)
    app.url_map.merge_slashes = False
    app.before_request(_answer_preflight)
    app.register_error_handler(MatrixError, render_error)
    app.register_error_handler(HTTPException, _render_http_error)
    app.register_error_handler(OperationalError, _render_database_error)
    app.register_error_handler(PoolTimeoutError, _render_database_error)
    app.register_error_handler(Exception, _render_unknown_error)
    app.after_request(_add_headers)


def render_error(error: MatrixError) -> Response:
    """A refusal as the standard error response."""
    response = _json(error.to_json(), error.status)
    if isinstance(error, LimitExceeded):
        response.headers["Retry-After"] = str(-(-error.retry_after_ms // 1000))
    return response


def _body_too_large() -> TooLarge:
    return TooLarge(f"A request body may have at most {MAX_BODY_BYTES} bytes.")


def _json(value: dict[str, Any], status: int = 200) -> Response:
    return Response(json.dumps(value), status, mimetype="application/json")


def _answer_preflight() -> Response | None:
    return _json({}) if request.method == "OPTIONS" else None


def _render_http_error(error: HTTPException) -> Response:
    """What Flask refuses by itself, in our vocabulary."""
    refusal: MatrixError
    if isinstance(error, NoSuchRoute):
        refusal = Unrecognized()
    elif isinstance(error, MethodNotAllowed):
        refusal = Unrecognized("This endpoint exists, but not with this method.", status=405)
    elif isinstance(error, RequestEntityTooLarge):
        refusal = _body_too_large()
    elif isinstance(error, ClientDisconnected):
        refusal = NotJson("The request body ended too early.")
    else:
        refusal = InvalidParam("The request could not be understood.", status=error.code or 400)
    response = render_error(refusal)
    if isinstance(error, MethodNotAllowed) and error.valid_methods:
        response.headers["Allow"] = ", ".join(error.valid_methods)
    return response


def _render_database_error(error: Exception) -> Response:
    log.error("database.unavailable", route=str(request.url_rule), error=type(error).__name__)
    response = render_error(Unknown("The database is not available. Please try again in a moment.", status=503))
    response.headers["Retry-After"] = "5"
    return response


def _render_unknown_error(error: Exception) -> Response:
    log.error("request.failed", route=str(request.url_rule), method=request.method, exc_info=error)
    return render_error(Unknown())


def _add_headers(response: Response) -> Response:
    """CORS on every answer of the API; pages are for this origin alone and bring their own."""
    if response.mimetype == "application/json":
        response.headers.update(CORS_HEADERS)
    response.headers.setdefault("Cache-Control", "no-store")
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    return response


def _fill(model: type[P], values: dict[str, Any]) -> P:
    try:
        return model.model_validate(values)
    except ValidationError as error:
        problems = error.errors(include_url=False, include_input=False, include_context=False)
    missing = [_path(problem) for problem in problems if problem["type"] == "missing"]
    if missing:
        raise MissingParams(f"Missing: {', '.join(missing)}.")
    raise InvalidParam("; ".join(f"{_path(problem)}: {problem['msg']}" for problem in problems[:3]) + ".")


def _path(problem: Any) -> str:
    return ".".join(str(part) for part in problem["loc"][:4])


def _single_values(fields: MultiDict[str, str], refusal: MatrixError) -> dict[str, str]:
    """Fields that are given once and can be stored."""
    if any(len(values) != 1 or "\x00" in values[0] for values in fields.listvalues()):
        raise refusal
    return fields.to_dict()
