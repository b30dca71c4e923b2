"""What the SMS provider reports about the messages we sent."""

from flask import Blueprint, request

from sydent_py.api.access import public
from sydent_py.api.web import services
from sydent_py.errors import Forbidden, InvalidParam
from sydent_py.messaging.sms import CALLBACK_PATH

bp = Blueprint("sms", __name__)

_MAX_CODE_DIGITS = 9
# Twilio's reports are a tenth of it. A signature takes long to refuse where there is much to hash.
_MAX_REPORT_BYTES = 16 * 1024
_SIGNATURE_CHARACTERS = 28  # SHA-1 in base64


@bp.post(CALLBACK_PATH)
@public
def status() -> dict[str, str]:
    """Twilio's status callback. Whoever else posts here is refused: the signature is over the URL and every field."""
    if not _is_signed():
        raise Forbidden("This request is not signed by the SMS provider.")
    ref = request.args.get("ref")
    if not ref:
        raise InvalidParam("The callback names no message.")
    code = request.form.get("ErrorCode", "")
    number = int(code) if code.isascii() and code.isdigit() and len(code) <= _MAX_CODE_DIGITS else None
    services().sms.traffic.report(ref, request.form.get("MessageStatus", ""), number)
    return {}


def _is_signed() -> bool:
    signatures, signature = services().sms.signatures, request.headers.get("X-Twilio-Signature", "")
    if signatures is None or len(signature) != _SIGNATURE_CHARACTERS:
        return False
    if len(request.get_data(cache=True, parse_form_data=False)) > _MAX_REPORT_BYTES:
        return False
    return signatures.verify(request.query_string.decode("utf-8", "replace"), request.form, signature)
