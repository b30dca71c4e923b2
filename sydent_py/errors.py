"""One class per Matrix error code: raised where the cause is known, rendered once by the web layer."""

from typing import Any


class MatrixError(Exception):
    """A refusal that the caller is told about.

    ``errcode`` and ``status`` belong to the class; ``message`` is a full sentence that says what
    is wrong and, where there is one, the way out. ``fields`` are added to the JSON object.
    """

    errcode = "M_UNKNOWN"
    status = 500
    default_message = "Something went wrong on this server."

    def __init__(self, message: str | None = None, *, status: int | None = None, **fields: Any) -> None:
        super().__init__(message or self.default_message)
        self.message = message or self.default_message
        self.status = status or type(self).status
        self.fields = fields

    def to_json(self) -> dict[str, Any]:
        """The standard error response of the Identity Service API."""
        return {"errcode": self.errcode, "error": self.message, **self.fields}


class Unknown(MatrixError):
    """``M_UNKNOWN``: nothing more precise can or may be said."""


class NotFound(MatrixError):
    """``M_NOT_FOUND``"""

    errcode = "M_NOT_FOUND"
    status = 404
    default_message = "There is nothing here."


class Unrecognized(MatrixError):
    """``M_UNRECOGNIZED``: no such endpoint (404), or not with this method (405)."""

    errcode = "M_UNRECOGNIZED"
    status = 404
    default_message = "This server has no such endpoint."


class NotJson(MatrixError):
    """``M_NOT_JSON``: the body is not JSON as RFC 8259 and this server's limits define it."""

    errcode = "M_NOT_JSON"
    status = 400
    default_message = "The request body is not valid JSON."


class BadJson(MatrixError):
    """``M_BAD_JSON``: valid JSON, but not the object this endpoint takes."""

    errcode = "M_BAD_JSON"
    status = 400
    default_message = "The request body must be a JSON object."


class MissingParams(MatrixError):
    """``M_MISSING_PARAMS``"""

    errcode = "M_MISSING_PARAMS"
    status = 400
    default_message = "A required parameter is missing."


class InvalidParam(MatrixError):
    """``M_INVALID_PARAM``"""

    errcode = "M_INVALID_PARAM"
    status = 400
    default_message = "A parameter is not valid."


class InvalidPepper(MatrixError):
    """``M_INVALID_PEPPER``"""

    errcode = "M_INVALID_PEPPER"
    status = 400
    default_message = "Unknown pepper: it may have been rotated. Ask hash_details for the current one."


class InvalidEmail(MatrixError):
    """``M_INVALID_EMAIL``"""

    errcode = "M_INVALID_EMAIL"
    status = 400
    default_message = "This is not an email address that mail can be sent to."


class InvalidPhoneNumber(MatrixError):
    """``M_INVALID_PHONE_NUMBER``"""

    errcode = "M_INVALID_PHONE_NUMBER"
    status = 400
    default_message = "This is not a valid phone number."


class DestinationRejected(MatrixError):
    """``M_DESTINATION_REJECTED``"""

    errcode = "M_DESTINATION_REJECTED"
    status = 400
    default_message = "This server sends no text messages to numbers of this country or kind."


class SendError(MatrixError):
    """``M_SEND_ERROR``"""

    errcode = "M_SEND_ERROR"
    status = 400
    default_message = "The text message could not be sent. Please try again in a few minutes."


class EmailSendError(MatrixError):
    """``M_EMAIL_SEND_ERROR``"""

    errcode = "M_EMAIL_SEND_ERROR"
    status = 400
    default_message = "The mail could not be sent. Please try again in a few minutes."


class ThreePidInUse(MatrixError):
    """``M_THREEPID_IN_USE`` with the ``mxid`` that has it."""

    errcode = "M_THREEPID_IN_USE"
    status = 400
    default_message = "This address belongs to a Matrix account already. Invite that account."


class Conflict(MatrixError):
    """``M_CONFLICT``: another request was faster."""

    errcode = "M_CONFLICT"
    status = 409
    default_message = "Another request was faster. Please look at what there is now, and try again."


class NoValidSession(MatrixError):
    """``M_NO_VALID_SESSION``: unknown sid, wrong secret, foreign session and spent session look alike."""

    errcode = "M_NO_VALID_SESSION"
    status = 404
    default_message = "No valid session was found matching that sid and client secret."


class SessionNotValidated(MatrixError):
    """``M_SESSION_NOT_VALIDATED``"""

    errcode = "M_SESSION_NOT_VALIDATED"
    status = 400
    default_message = "This address has not been confirmed yet. Open the link in the mail, press the button, and try again."


class SessionExpired(MatrixError):
    """``M_SESSION_EXPIRED``"""

    errcode = "M_SESSION_EXPIRED"
    status = 400
    default_message = "This validation session has expired. Please start again."


class TokenIncorrect(MatrixError):
    """``M_TOKEN_INCORRECT``"""

    errcode = "M_TOKEN_INCORRECT"
    status = 400
    default_message = "The token is not correct. If you asked more than once, use the newest message."


class Unauthorized(MatrixError):
    """``M_UNAUTHORIZED``: no valid access token (401), or not for this Matrix user (403)."""

    errcode = "M_UNAUTHORIZED"
    status = 401
    default_message = "The access token is missing or not valid."


class Forbidden(MatrixError):
    """``M_FORBIDDEN``"""

    errcode = "M_FORBIDDEN"
    status = 403
    default_message = "This is not allowed."


class TermsNotSigned(MatrixError):
    """``M_TERMS_NOT_SIGNED``"""

    errcode = "M_TERMS_NOT_SIGNED"
    status = 403
    default_message = "Please accept the terms of this server first."


class TooLarge(MatrixError):
    """``M_TOO_LARGE``"""

    errcode = "M_TOO_LARGE"
    status = 413
    default_message = "The request is too large."


class LimitExceeded(MatrixError):
    """``M_LIMIT_EXCEEDED`` with ``retry_after_ms`` in the body and ``Retry-After`` in the headers."""

    errcode = "M_LIMIT_EXCEEDED"
    status = 429

    def __init__(self, retry_after_ms: int, message: str | None = None) -> None:
        super().__init__(message or "Too many requests. Please try again later.", retry_after_ms=max(1, retry_after_ms))
        self.retry_after_ms = max(1, retry_after_ms)
