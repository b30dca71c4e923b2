"""The independent implementation, in a Python of its own: a request a line on standard input, an answer a line on standard output.

A request is ``{"do": <name of a function here>, ...its arguments}``; an answer is ``{"is": <value>}`` or ``{"refused": <why>}``.
Bytes are in base64.
"""

import base64
import json
import sys
from pathlib import Path
from typing import Any

import aics_tlog
from aics_tlog import note as notes
from aics_tlog import tiles
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

raw = base64.b64decode


def b64(value: bytes) -> str:
    return base64.b64encode(value).decode()


def private_key(seed: str) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(raw(seed))


# Keys and notes


def key(text: str) -> list[Any]:
    parsed = notes.parse_vkey(text)
    return [parsed.name, parsed.key_type, b64(parsed.public_key)]


def make_key(name: str, kind: int, public_key: str) -> str:
    return notes.format_vkey(notes.vkey_from_ed25519(name, raw(public_key), kind))


def note(encoded: str) -> list[Any]:
    parsed = notes.parse_note(raw(encoded))
    return [parsed.text, [[line.name, b64(line.key_id), b64(line.signature)] for line in parsed.signatures]]


def sign(name: str, seed: str, text: str) -> str:
    return notes.Note(text, (notes.sign_note(text, private_key(seed), name),)).serialise()


def is_signed(encoded: str, by: str) -> bool:
    return notes.verify_note(notes.parse_note(raw(encoded)), [notes.parse_vkey(by)])


# Checkpoints and cosignatures


def checkpoint(text: str) -> list[Any]:
    parsed = aics_tlog.parse_checkpoint(text)
    return [parsed.origin, parsed.size, b64(parsed.root), list(parsed.extension_lines)]


def sign_checkpoint(name: str, seed: str, head: list[Any]) -> str:
    origin, size, root, extensions = head
    made = aics_tlog.Checkpoint(origin, size, raw(root), tuple(extensions))
    return aics_tlog.sign_checkpoint(made, private_key(seed), name).serialise()


def cosign(name: str, seed: str, time_s: int, head: list[Any]) -> str:
    origin, size, root, extensions = head
    _, line = aics_tlog.sign_cosignature(private_key(seed), name, time_s, origin, size, raw(root), extensions)
    return notes.Note("", (line,)).serialise().strip("\n")


def verify(encoded: str, log: str, witnesses: list[str]) -> dict[str, int]:
    """The times of the witnesses' cosignatures of a checkpoint that the log has signed."""
    keys = list(map(notes.parse_vkey, witnesses))
    result = aics_tlog.verify_checkpoint(notes.parse_note(raw(encoded)), notes.parse_vkey(log), keys)
    if not result.ok:
        raise ValueError(result.error)
    return result.timestamps


# Trees and tiles


def tree(entries: list[str], inclusions: list[list[int]], consistencies: list[list[int]]) -> list[Any]:
    """The root, and proofs of entries at ``(index, size)`` and of growth from ``(old, new)``."""
    merkle = aics_tlog.MerkleTree(map(raw, entries))
    return [
        b64(merkle.root()),
        [list(map(b64, merkle.inclusion_proof(*of))) for of in inclusions],
        [list(map(b64, merkle.consistency_proof(*of))) for of in consistencies],
    ]


def inclusion(leaf: str, index: int, size: int, path: list[str], root: str) -> bool:
    return aics_tlog.verify_inclusion(raw(leaf), index, size, list(map(raw, path)), raw(root))


def consistency(old: int, new: int, path: list[str], roots: list[str]) -> bool:
    return aics_tlog.verify_consistency(old, new, *map(raw, roots), list(map(raw, path)))


def write(directory: str, batches: list[list[str]]) -> str:
    """Append batches of entries to the tiles in a directory: the root."""
    writer = aics_tlog.IncrementalTileWriter(aics_tlog.DirectoryTileStore(directory, fsync=False))
    for batch in batches:
        writer.append(map(raw, batch))
    return b64(writer.root())


def audit(directory: str, size: int, root: str) -> list[int]:
    """How many tiles and bundles there are, all of which belong to the tree."""
    report = aics_tlog.audit_tiles(_tiles(directory), size, raw(root))
    return [report.tiles, report.bundles]


def prove(directory: str, size: int, root: str, index: int, old: int) -> list[Any]:
    """An entry with the proof of it, and the proof of growth, out of tiles that have been checked against the root."""
    reader = aics_tlog.VerifiedTileReader(_tiles(directory), size, raw(root))
    return [
        b64(reader.entry(index)),
        list(map(b64, aics_tlog.inclusion_proof_from_tiles(reader, index, size))),
        list(map(b64, aics_tlog.consistency_proof_from_tiles(reader, old, size))),
    ]


def tile_name(path: str) -> list[Any]:
    if path.startswith("tile/entries/"):
        index, width = tiles.parse_entry_bundle_path(path)
        return [None, index, width or 256]
    level, index, width = tiles.parse_tile_path(path)
    return [level, index, width or 256]


def bundle(encoded: str) -> list[str]:
    return list(map(b64, tiles.parse_entry_bundle(raw(encoded))))


def _tiles(directory: str) -> aics_tlog.HttpTileReader:
    return aics_tlog.HttpTileReader([Path(directory).as_uri()])


DO = {
    function.__name__: function
    for function in (
        key, make_key, note, sign, is_signed, checkpoint, sign_checkpoint, cosign, verify, tree, inclusion, consistency, write, audit, prove,
        tile_name, bundle,
    )
}  # fmt: skip


def main() -> None:
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = {"is": DO[request.pop("do")](**request)}
        except (ValueError, OSError) as error:
            answer = {"refused": str(error)}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
