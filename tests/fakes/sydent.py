"""A Sydent as far as a peer sees one: what it signs, and what it makes of what is pushed to it."""

import json
from typing import Any

from nacl.signing import VerifyKey
from signedjson.key import encode_verify_key_base64, generate_signing_key, get_verify_key
from signedjson.sign import SignatureVerifyException, sign_json, verify_signed_json
from unpaddedbase64 import decode_base64

from sydent_py.federation.transport import Reason, RequestFailed

HUNDRED_YEARS_MS = 100 * 365 * 24 * 3_600_000
TS = 1_790_000_000_000


class FakeSydent:
    """Takes pushes as ``POST /replicate/v1/push`` does: all of one or nothing, every association beside the others."""

    def __init__(self, name: str = "sydent.test") -> None:
        self.name = name
        self.key = generate_signing_key("0")
        self.is_down = False
        self.pushes: list[dict[str, Any]] = []
        self.found: dict[tuple[str, str], list[str]] = {}
        self._verify_keys: dict[str, VerifyKey] = {}
        self._seen: set[str] = set()

    @property
    def verify_key(self) -> str:
        """As the configuration of a peer has it."""
        return f"ed25519:0 {encode_verify_key_base64(get_verify_key(self.key))}"

    def row(self, address: Any, mxid: Any, /, at_ms: int = TS, **changed: Any) -> dict[str, Any]:
        """A signed row; with no ``mxid`` the binding is gone."""
        times: dict[str, Any] = {"ts": at_ms, "not_before": at_ms, "not_after": at_ms + HUNDRED_YEARS_MS}
        if mxid is None:
            times |= {"not_before": None, "not_after": None}
        row = {"medium": "email", "address": address, "mxid": mxid, **times}
        return sign_json({**row, **changed}, self.name, self.key)

    def trust(self, name: str, public_key: str) -> None:
        self._verify_keys[name] = VerifyKey(decode_base64(public_key))
        self._verify_keys[name].alg, self._verify_keys[name].version = "ed25519", "0"

    def push(self, body: bytes) -> None:
        if self.is_down:
            raise RequestFailed(Reason.UNREACHABLE, "Connection refused")
        rows = json.loads(body)["sgAssocs"]
        for row in rows.values():
            self._verify(row)
        self.pushes.append(rows)
        for row_id in sorted(rows, key=int):
            self._take(row_id, rows[row_id])

    def lookup(self, address: str, medium: str = "email") -> str | None:
        """The user an address is bound to: any of those there are, and so the oldest."""
        found = self.found.get((medium, address), [])
        return found[0] if found else None

    def _verify(self, row: dict[str, Any]) -> None:
        [name] = row["signatures"]
        try:
            verify_signed_json(row, name, self._verify_keys[name])
        except SignatureVerifyException as error:
            raise RequestFailed(Reason.STATUS, "M_VERIFICATION_FAILED") from error

    def _take(self, row_id: str, row: dict[str, Any]) -> None:
        place = row["medium"], row["address"]
        if row["mxid"] is None:
            assert row["not_before"] is row["not_after"] is None
            self.found.pop(place, None)
        elif row_id not in self._seen:
            self._seen.add(row_id)
            self.found.setdefault(place, []).append(row["mxid"])


def body_of(rows: dict[int, Any]) -> bytes:
    """A push of these rows, by their ids."""
    return json.dumps({"sgAssocs": {str(row_id): row for row_id, row in rows.items()}}).encode()
