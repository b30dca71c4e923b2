"""The witness for everybody: cosignatures of the logs of this server's peers (c2sp.org/tlog-witness)."""

from flask import Blueprint, Response, json, request

from sydent_py.api.access import public
from sydent_py.api.log import FRESH, TEXT, cached
from sydent_py.api.web import services
from sydent_py.errors import TooLarge
from sydent_py.replication.witness import OtherSize

bp = Blueprint("witness", __name__, url_prefix="/_matrix/identity/unstable/sydent_py")

# 63 hashes, and a checkpoint with as many signatures as it may have.
MAX_SUBMISSION_BYTES = 32 * 1024
SIZE = "text/x.tlog.size"


@bp.post("/log/add-checkpoint")
@public
def add_checkpoint() -> Response:
    """Cosign a checkpoint of a peer's log: signature lines; 409 with the size that was cosigned last where that is another."""
    if (request.content_length or 0) > MAX_SUBMISSION_BYTES or len(body := request.get_data()) > MAX_SUBMISSION_BYTES:
        raise TooLarge(f"A submission may have at most {MAX_SUBMISSION_BYTES} bytes.")
    answer = services().peering.witness.add_checkpoint(body)
    if isinstance(answer, OtherSize):
        return Response(f"{answer.size}\n", 409, content_type=SIZE)
    return Response(answer, content_type=TEXT)


@bp.get("/peers/checkpoints")
@public
def checkpoints() -> Response:
    """What this server has cosigned last of each log: ``{"checkpoints": [{"log": <origin>, "checkpoint": <note>}, ...]}``."""
    content = json.dumps({"checkpoints": services().peering.witness.checkpoints()})
    return cached(content.encode(), "application/json", FRESH)
