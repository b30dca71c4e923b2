"""What of an entry is sealed, and the keyed indexes that find it."""

from typing import Any

from sydent_py.sealing import Sealer


def seal(sealer: Sealer, nonce: bytes, payload: bytes) -> dict[str, bytes]:
    """Nonce and payload as they are stored."""
    return {"nonce": sealer.seal(nonce.hex(), "log.nonce"), "payload": sealer.seal(payload.decode(), "log.payload")}


def nonce_of(sealer: Sealer, row: Any) -> bytes:
    """The nonce of a stored entry; ``SealBroken``, also where there is none."""
    return bytes.fromhex(sealer.unseal(row.nonce or b"", "log.nonce"))


def payload_of(sealer: Sealer, row: Any) -> bytes:
    """The canonical JSON of a stored entry's payload; ``SealBroken``, also where there is none."""
    return sealer.unseal(row.payload or b"", "log.payload").encode()


def address_index(sealer: Sealer, medium: str, address: str) -> bytes:
    """What finds the entries about an address."""
    return sealer.index("log.address", medium, address)


def user_index(sealer: Sealer, mxid: str) -> bytes:
    """What finds the entries about a user."""
    return sealer.index("log.user", mxid)
