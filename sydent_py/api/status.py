"""Whether the server is there and what it speaks (Identity Service API, "API Version check" and "Status check")."""

from typing import Any

from flask import Blueprint, Response
from prometheus_client import CONTENT_TYPE_LATEST

from sydent_py import metrics
from sydent_py.api.access import local, public
from sydent_py.api.web import services
from sydent_py.errors import Unknown

bp = Blueprint("status", __name__)

VERSIONS = {"versions": [f"v1.{minor}" for minor in range(1, 20)]}


@bp.get("/_matrix/identity/versions")
@public
def versions() -> dict[str, Any]:
    """``GET /_matrix/identity/versions``"""
    return VERSIONS


@bp.get("/_matrix/identity/v2")
@public
def ping() -> dict[str, Any]:
    """``GET /_matrix/identity/v2``"""
    return {}


@bp.get("/health")
@public
def health() -> dict[str, Any]:
    """The process is up."""
    return {"status": "ok"}


@bp.get("/ready")
@public
def ready() -> dict[str, Any]:
    """The database is reachable and its migrations are current; and which peers are followed no more, which is no reason to be replaced."""
    if not services().is_ready():
        raise Unknown("The database schema is not current: run 'sydent-py migrate'.", status=503)
    return {"status": "ready", "stopped_peers": services().peering.status.stopped()}


@bp.get("/metrics")
@local
def show_metrics() -> Response:
    """Prometheus, for programs on this machine alone."""
    return Response(metrics.render(services()), content_type=CONTENT_TYPE_LATEST)
