"""X-Matrix: requests a server signs as itself (Server-Server API, "Request Authentication"), with no I/O."""

import base64
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from canonicaljson import encode_canonical_json
from nacl.exceptions import CryptoError
from nacl.signing import VerifyKey
from unpaddedbase64 import decode_base64, encode_base64

from sydent_py.errors import Forbidden, InvalidParam
from sydent_py.identifiers import ServerName
from sydent_py.signing import Signer

MAX_AUTHORIZATION_CHARACTERS = 8192
# A server signs once with each of its keys, and has one or two.
MAX_CREDENTIALS = 5

SIGNATURE_BYTES = 64
_TS = re.compile(r"[1-9][0-9]{0,15}", re.ASCII)
_NONCE = re.compile(r"[A-Za-z0-9_-]{16,64}", re.ASCII)
_KEY_ID = re.compile(r"ed25519:[!-~]{1,100}")
# Every repetition is possessive: whatever is sent, a character is looked at once or twice.
_PARAMETER = re.compile(
    r"""
    [ \t,]*+
    (?:(?P<scheme>x-matrix)[ \t]++)?+
    (?P<name>[a-z0-9!\#$%&'*+.^_`|~-]++)
    [ \t]*+=[ \t]*+
    (?:"(?P<quoted>(?:[^"\\]|\\.)*+)"|(?P<plain>[^\x00-\x20",\\\x7f]++))
    [ \t]*+(?=,|\Z)
    """,
    re.ASCII | re.DOTALL | re.IGNORECASE | re.VERBOSE,
)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """A request as it arrived: ``uri`` is its raw target, ``authorization`` its raw header, several joined by commas."""

    method: str
    uri: str
    content: Mapping[str, Any] | None
    authorization: str


@dataclass(frozen=True, slots=True)
class Stamp:
    """What makes a signed request unlike all others: when it was signed, in ms since the epoch, and a random word.

    Part of the signed content as ``ts`` and ``nonce``, and parameters of the header. The specification has neither.
    """

    ts: int
    nonce: str


@dataclass(frozen=True, slots=True)
class Credentials:
    """What one X-Matrix header says."""

    origin: ServerName
    destination: str | None
    key_id: str
    signature: bytes
    stamp: Stamp | None = None


def parse(authorization: str) -> tuple[Credentials, ...]:
    """The X-Matrix headers in ``authorization``: one for each key that signed, all of one origin, five at most.

    Liberal in form (quotes or none, any case of names, spaces around commas and equals signs, parameters we do not know)
    and strict in meaning. Raises ``Forbidden``.
    """
    if len(authorization) > MAX_AUTHORIZATION_CHARACTERS:
        raise Forbidden("The Authorization header is too long.")
    headers: list[dict[str, str]] = []
    text, position = authorization.rstrip(" \t,"), 0
    while position < len(text):
        parameter = _PARAMETER.match(text, position)
        if parameter is None:
            raise Forbidden("The Authorization header is not in X-Matrix form.")
        if parameter["scheme"]:
            headers.append({})
        name = parameter["name"].lower()
        if not headers or name in headers[-1]:
            raise Forbidden("The Authorization header is not in X-Matrix form, or gives a parameter twice.")
        headers[-1][name] = parameter["plain"] or _ESCAPED.sub(r"\1", parameter["quoted"])
        position = parameter.end()
    credentials = tuple(map(_credentials, headers))
    if len({each.origin for each in credentials}) != 1:
        raise Forbidden("The request must be signed by one homeserver, in an X-Matrix Authorization header.")
    return credentials[:MAX_CREDENTIALS]


def _credentials(parameters: Mapping[str, str]) -> Credentials:
    try:
        origin, key_id = ServerName.parse(parameters["origin"]), parameters["key"]
        signature = decode_exactly(parameters["sig"], SIGNATURE_BYTES)
    except (KeyError, ValueError, InvalidParam) as error:
        raise Forbidden("The X-Matrix header needs a valid origin, key and sig.") from error
    if not is_key_id(key_id):
        raise Forbidden("The key of the X-Matrix header must be an ed25519 key.")
    return Credentials(origin, parameters.get("destination"), key_id, signature, _stamp(parameters))


def _stamp(parameters: Mapping[str, str]) -> Stamp | None:
    ts, nonce = parameters.get("ts", ""), parameters.get("nonce", "")
    return Stamp(int(ts), nonce) if _TS.fullmatch(ts) and _NONCE.fullmatch(nonce) else None


def is_key_id(text: str) -> bool:
    """Whether ``text`` names an Ed25519 key."""
    return _KEY_ID.fullmatch(text) is not None


def decode_exactly(text: str, length: int) -> bytes:
    """``length`` bytes in base64, padded or not; ``ValueError`` for every other spelling of anything."""
    content = decode_base64(text)
    if len(content) != length or text not in {encode_base64(content), base64.b64encode(content).decode()}:
        raise ValueError("not the one base64 form of this many bytes")
    return content


def is_for(credentials: Credentials, own_names: Collection[str]) -> bool:
    """Whether the destination, where one is given, is one of our names, whichever way it is spelled."""
    return credentials.destination is None or normalised(credentials.destination) in map(normalised, own_names)


def normalised(name: str) -> str:
    """The name of an identity server as a client may spell it when it binds: lower case, no final slash, no ``:443``."""
    return name.lower().removesuffix("/").removesuffix(":443")


def verify(
    request: SignedRequest,
    credentials: Sequence[Credentials],
    own_names: Collection[str],
    keys: Mapping[str, VerifyKey],
) -> Credentials:
    """The first of ``credentials`` that signs ``request``, for us, with one of ``keys``; ``Forbidden`` where none does.

    The destination is signed as ``destination`` (the specification) or as ``destination_is`` (Synapse's unbind). Where
    the header names none, it may be any of our names.
    """
    for each in credentials:
        key = keys.get(each.key_id)
        if key is None or not is_for(each, own_names):
            continue
        if any(is_signature(key, message, each.signature) for message in _messages(request, each, own_names)):
            return each
    raise Forbidden("The signature of this request is not valid, or its key is not one of the homeserver's.")


def is_signature(key: VerifyKey, message: bytes, signature: bytes) -> bool:
    """Whether ``key`` made ``signature`` over ``message``."""
    try:
        key.verify(message, signature)
    except (CryptoError, ValueError):
        return False
    return True


def _messages(request: SignedRequest, credentials: Credentials, own_names: Collection[str]) -> Iterator[bytes]:
    """What may have been signed."""
    try:
        content = b"" if request.content is None else b'"content":' + encode_canonical_json(request.content) + b","
        stamp = asdict(credentials.stamp) if credentials.stamp else {}
        for destination in own_names if credentials.destination is None else [credentials.destination]:
            for field in ("destination_is", "destination"):
                members = {
                    "method": request.method,
                    "uri": request.uri,
                    "origin": credentials.origin.text,
                    field: destination,
                    **stamp,
                }
                # "content" sorts before all others, so that the one member which may be large is encoded once.
                yield b"{" + content + encode_canonical_json(members)[1:]
    except (TypeError, ValueError, RecursionError) as error:
        raise Forbidden("The content of this request cannot be signed.") from error


def authorization(
    signer: Signer,
    *,
    method: str,
    uri: str,
    destination: str,
    content: Mapping[str, Any] | None,
    stamp: Stamp | None = None,
) -> str:
    """The Authorization header of a request that this server sends to ``destination``."""
    stamped = asdict(stamp) if stamp else {}
    members = {"method": method, "uri": uri, "origin": signer.server_name, "destination": destination, **stamped}
    signed = signer.sign(members if content is None else {**members, "content": content})
    [(key_id, signature)] = signed["signatures"][signer.server_name].items()
    parameters = {"origin": signer.server_name, "destination": destination, "key": key_id, "sig": signature, **stamped}
    return "X-Matrix " + ",".join(f'{name}="{value}"' for name, value in parameters.items())
