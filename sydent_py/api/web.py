"""Bodies, answers, errors and CORS: what every route of the API shares."""

import ipaddress
from collections.abc import Callable
from functools import lru_cache
from http import HTTPStatus
from typing import Annotated, Any, TypeVar, cast

import structlog
from flask import Flask, Response, current_app, json, request
from flask.json.provider import DefaultJSONProvider
from gunicorn.http.errors import ParseException
from limits.errors import StorageError
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
from sydent_py.identifiers import IpAddress
from sydent_py.services import Services

MAX_BODY_BYTES = 1024 * 1024
IPV6_CUSTOMER_BITS = 56
EXTENSION = "sydent_py"
FORM = "application/x-www-form-urlencoded"
# What proxies add that say for whom they ask in other words than ours, or that somebody asks through them.
OTHER_PROXY_HEADERS = ("Forwarded", "Via", "X-Real-Ip", "X-Forwarded-Host", "X-Forwarded-Proto")

CORS_HEADERS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "GET, POST, PUT, DELETE, OPTIONS",
    "Access-Control-Allow-Headers": "Origin, X-Requested-With, Content-Type, Accept, Authorization",
    "Access-Control-Expose-Headers": "Retry-After, ETag",
    "Access-Control-Max-Age": "7200",
}

log = structlog.get_logger(__name__)

ClientSecret = Annotated[str, StringConstraints(pattern=r"^[0-9a-zA-Z.=_-]{1,255}$")]
ShortText = Annotated[str, StringConstraints(max_length=255)]


class Parameters(BaseModel):
    """The parameters of an endpoint: exact types, and what it does not know is ignored."""

    model_config = ConfigDict(frozen=True, strict=True, extra="ignore")


P = TypeVar("P", bound=Parameters)
X = TypeVar("X")
Y = TypeVar("Y")


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


def item(model: type[P], value: Any) -> P:
    """An element of a list in the request body as ``model``; raises ``BadJson``, ``MissingParams`` and ``InvalidParam``."""
    if not isinstance(value, dict):
        raise BadJson("Each element of this list must be a JSON object.")
    return _fill(model, value)


def attempt(read: Callable[[X], Y], value: X) -> Y | MatrixError:
    """What ``read`` makes of one of many values, or why it refuses it: one refusal is not to be that of all."""
    try:
        return read(value)
    except MatrixError as error:
        return error


def query(model: type[P]) -> P:
    """The query string as ``model``; raises ``MissingParams`` and ``InvalidParam``."""
    return _fill(model, _single_values(request.args, InvalidParam("Each parameter must be given once.")))


def client_network() -> str:
    """Where the request came from: an IPv4 address, or the IPv6 /56 that providers give to one customer."""
    return _network(_senders()[-1])


def client_address() -> IpAddress | None:
    """The address the request came from; None where a proxy passed it on without saying, in words we know, for whom."""
    headers, senders = request.headers, _senders()
    address = address_in(senders[-1])
    unsaid = "X-Forwarded-For" not in headers and any(name in headers for name in OTHER_PROXY_HEADERS)
    cut_off = address is not None and _is_proxy(address) and len(senders) < len(_hops())
    return None if unsaid or cut_off else address


def _senders() -> list[str]:
    """Who passed the request on, from us outwards.

    ``X-Forwarded-For`` is believed from the right for as long as the sender is one of our own proxies.
    """
    senders: list[str] = []
    for hop in _hops():
        address = address_in(hop)
        if address is None:
            break
        senders.append(hop)
        if not _is_proxy(address):
            break
    return senders or _hops()[:1]


def _hops() -> list[str]:
    """The last sender first. A unix socket has no address, and is our own proxy's."""
    forwarded = request.headers.get("X-Forwarded-For")
    named = [hop.strip() for hop in forwarded.split(",")] if forwarded else []
    return [request.remote_addr or "127.0.0.1", *reversed(named)]


def _is_proxy(address: IpAddress) -> bool:
    return any(address in proxy for proxy in services().trusted_proxies)


@lru_cache(maxsize=1024)
def address_in(text: str) -> IpAddress | None:
    """The address in ``text``, unmapped."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


@lru_cache(maxsize=1024)
def _network(text: str) -> str:
    address = address_in(text)
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((address, IPV6_CUSTOMER_BITS), strict=False))
    return str(address)


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
    app.register_error_handler(Exception, lambda error: render_error(refusal_of(error)))
    app.after_request(_add_headers)


def render_error(refusal: MatrixError) -> Response:
    """A refusal as the standard error response."""
    response = _json(refusal.to_json(), refusal.status)
    if isinstance(refusal, LimitExceeded):
        response.headers["Retry-After"] = retry_after(refusal)
    if refusal.status == HTTPStatus.METHOD_NOT_ALLOWED and isinstance(request.routing_exception, MethodNotAllowed):
        response.headers["Allow"] = ", ".join(request.routing_exception.valid_methods or ())
    return response


def retry_after(refusal: LimitExceeded) -> str:
    """The ``Retry-After`` header of a refusal, in seconds."""
    return str(-(-refusal.retry_after_ms // 1000))


def refusal_of(error: Exception) -> MatrixError:
    """What whoever asked is told about ``error``: of what nobody foresaw, nothing."""
    if isinstance(error, MatrixError):
        return error
    if isinstance(error, HTTPException):
        return _refusal_of_http(error)
    if isinstance(error, ParseException):
        return InvalidParam("This is not a valid HTTP request.")  # a body that turned out so while it was read
    if isinstance(error, OperationalError | PoolTimeoutError | StorageError):
        # The driver's first line tells a lock that was not to be had from a server that is gone; values come after it.
        cause = getattr(error, "orig", None) or error.__cause__ or error
        log.error("database.unavailable", route=str(request.url_rule), error=str(cause).partition("\n")[0])
        return Unknown("The database is not available. Please try again in a moment.", status=503)
    log.error("request.failed", route=str(request.url_rule), method=request.method, exc_info=error)
    return Unknown()


def _refusal_of_http(error: HTTPException) -> MatrixError:
    """What Flask refuses by itself, in our vocabulary."""
    if isinstance(error, NoSuchRoute):
        return Unrecognized()
    if isinstance(error, MethodNotAllowed):
        return Unrecognized("This endpoint exists, but not with this method.", status=405)
    if isinstance(error, RequestEntityTooLarge):
        return _body_too_large()
    if isinstance(error, ClientDisconnected):
        return NotJson("The request body ended too early.")
    return InvalidParam("The request could not be understood.", status=error.code or 400)


def _body_too_large() -> TooLarge:
    return TooLarge(f"A request body may have at most {MAX_BODY_BYTES} bytes.")


def _json(value: dict[str, Any], status: int = 200) -> Response:
    return Response(json.dumps(value), status, mimetype="application/json")


def _answer_preflight() -> Response | None:
    return _json({}) if request.method == "OPTIONS" else None


def _add_headers(response: Response) -> Response:
    """CORS on every answer of the API; pages are for this origin alone."""
    if response.mimetype == "application/json" or request.path.startswith("/_matrix/"):
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
