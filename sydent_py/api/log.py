"""The log for everybody: checkpoint, tiles, key and proofs, as C2SP's tools read them."""

from flask import Blueprint, Response, request

from sydent_py.api.access import public
from sydent_py.api.web import Parameters, query, services
from sydent_py.errors import InvalidParam, Unrecognized
from sydent_py.log.leaf import COMMITMENT_BYTES
from sydent_py.signing import decode_bytes
from sydent_py.tlog.text import Malformed
from sydent_py.tlog.tiles import TileName

bp = Blueprint("log", __name__, url_prefix="/_matrix/identity/unstable/sydent_py/log")

TEXT = "text/plain; charset=utf-8"
# A checkpoint is replaced as often as five times a second; a cache in front of us may answer for one of them.
FRESH = "public, max-age=1"
# A year: a tile never changes.
IMMUTABLE = "public, max-age=31536000, immutable"
KEY = "public, max-age=3600"


class ProofQuery(Parameters):
    """Which entry: the SHA-256 hash that its receipt names, in base64 of either alphabet."""

    commitment: str


@bp.get("/checkpoint")
@public
def checkpoint() -> Response:
    """The newest checkpoint (c2sp.org/tlog-checkpoint)."""
    return cached(services().published_log.checkpoint().encode(), TEXT, FRESH)


@bp.get("/tile/<path:path>")
@public
def tile(path: str) -> Response:
    """A tile of hashes or entries (c2sp.org/tlog-tiles): ``tile/<L>/<N>[.p/<W>]``, ``tile/entries/<N>[.p/<W>]``."""
    try:
        name = TileName.parse(f"tile/{path}")
    except Malformed as error:
        raise Unrecognized from error
    return cached(services().published_log.file(name), "application/octet-stream", IMMUTABLE)


@bp.get("/vkey")
@public
def vkey() -> Response:
    """The key that the log's checkpoints are verified with (c2sp.org/signed-note)."""
    return cached(f"{services().published_log.verifier_key}\n".encode(), TEXT, KEY)


@bp.get("/proof")
@public
def proof() -> Response:
    """That an entry is in the log, at the newest checkpoint (c2sp.org/tlog-proof)."""
    commitment = _commitment(query(ProofQuery).commitment)
    return cached(str(services().published_log.proof(commitment)).encode(), TEXT, FRESH)


def _commitment(text: str) -> bytes:
    commitment = decode_bytes(text)
    if commitment is None or len(commitment) != COMMITMENT_BYTES:
        raise InvalidParam("commitment: the base64 of 32 bytes.")
    return commitment


def cached(content: bytes, content_type: str, cache_control: str) -> Response:
    """An answer that caches may keep, and need not fetch again while it is the same."""
    response = Response(content, content_type=content_type, headers={"Cache-Control": cache_control})
    response.add_etag()
    response.make_conditional(request)
    return response
