"""How requests to the identity server are signed (Server-Server API, "Request Authentication"), and how it refuses them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from canonicaljson import encode_canonical_json
from signedjson.sign import sign_json
from signedjson.types import SigningKey

BASE = "/_matrix/identity/unstable/sydent_py/homeserver/"

# The identity server takes 64 KiB.
MAX_REQUEST_BYTES = 60_000

OK, TOO_MANY, SERVER_ERROR = 200, 429, 500


class Unreachable(Exception):
    """The identity server did not answer, or not in a way that makes sense. The message names no address."""


class TooSlow(Unreachable):
    """It did not answer in time."""


class Refusal(Exception):
    """The identity server answers that it will not. The message names no address."""

    def __init__(self, status: int, errcode: str, error: str, retry_after_ms: int = 0) -> None:
        super().__init__(f"{status} {errcode}: {error}")
        self.status = status
        self.errcode = errcode
        self.retry_after_ms = retry_after_ms

    @property
    def is_temporary(self) -> bool:
        """Whether it may be another answer in a moment, with nobody doing anything."""
        return self.status >= SERVER_ERROR or self.status == TOO_MANY


@dataclass(frozen=True)
class Identity:
    """Who signs, and for whom."""

    origin: str
    destination: str
    signing_key: SigningKey

    def authorization(self, uri: str, content: Mapping[str, Any]) -> str:
        """The header of a POST request."""
        request = {
            "method": "POST",
            "uri": uri,
            "origin": self.origin,
            "destination": self.destination,
            "content": content,
        }
        [(key_id, signature)] = sign_json(request, self.origin, self.signing_key)["signatures"][self.origin].items()
        return f'X-Matrix origin="{self.origin}",destination="{self.destination}",key="{key_id}",sig="{signature}"'


def encode(content: Mapping[str, Any]) -> bytes:
    """The body of a request."""
    return encode_canonical_json(dict(content))


def refusal(status: int, content: Any) -> Refusal:
    """What an answer other than 200 says."""
    body = content if isinstance(content, dict) else {}
    retry_after_ms = body.get("retry_after_ms")
    return Refusal(
        status,
        str(body.get("errcode", "M_UNKNOWN"))[:100],
        str(body.get("error", ""))[:300],
        retry_after_ms if isinstance(retry_after_ms, int) else 0,
    )
