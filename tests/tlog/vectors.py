"""Writes tests/vectors/aics_tlog.json, from the independent implementation alone.

.venv-tlog/bin/python tests/tlog/vectors.py > tests/vectors/aics_tlog.json
"""

import base64
import hashlib
import json
import sys
from typing import Any

import aics_tlog
from aics_tlog import Checkpoint, MerkleTree, Note, TileWriter
from aics_tlog.tiles import entry_bundle_path, tile_path
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

LARGE = 70_000
SIZES = [*range(10), 15, 16, 17, 255, 256, 257, 511, 512, 513, 1_000, 65_535, 65_536, 65_537, LARGE]
INCLUSIONS = [
    (0, 1), (0, 2), (1, 2), (2, 3), (4, 5), (0, 7), (6, 7), (255, 256), (0, 257), (256, 257), (511, 1_000), (999, 1_000), (65_535, 65_536),
    (65_536, 65_537), (0, LARGE), (65_535, LARGE), (65_536, LARGE), (69_999, LARGE),
]  # fmt: skip
CONSISTENCIES = [
    (0, 0), (0, 5), (1, 1), (1, 2), (2, 3), (3, 7), (6, 8), (255, 256), (255, 257), (256, 257), (512, 1_000), (999, 1_000), (1_000, 1_000),
    (65_535, LARGE), (65_536, LARGE), (65_537, LARGE), (1_000, LARGE), (69_999, LARGE),
]  # fmt: skip
TILED = [0, 1, 255, 256, 257, 1_000, 65_536, LARGE]
NAMES = [
    (level, index, width)
    for level in (None, 0, 1, 9, 63)
    for index in (0, 999, 1_000, 1_234_067, 10**9)
    for width in (None, 1, 255)
]
KEYS = [("example.com/log", bytes(32)), ("log.example", bytes(range(32))), ("naïve/日本", b"\xff" * 32)]
TEXTS = ["text\n", "\n", "two\n\nparts\n", "— not a signature\n", "è, 日本, \U0001f600\n"]
TIMES = [0, 1_679_315_147, 2**63 - 1]


def encoded(values: list[bytes]) -> list[str]:
    return [base64.b64encode(value).decode() for value in values]


def digest(files: dict[str, bytes]) -> str:
    """One hash of all the files of a tree: of lines of path and hash, in the order of the paths."""
    lines = [f"{path} {hashlib.sha256(content).hexdigest()}\n" for path, content in sorted(files.items())]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def tree() -> dict[str, Any]:
    entries = [str(number).encode() for number in range(LARGE)]
    merkle = MerkleTree(entries)
    tiled = {size: TileWriter(entries[:size]).materialise() for size in TILED}
    return {
        "entries": "The index of each, in decimal digits",
        "roots": [[size, *encoded([merkle.root(size)])] for size in SIZES],
        "inclusion": [[index, size, encoded(merkle.inclusion_proof(index, size))] for index, size in INCLUSIONS],
        "consistency": [[old, new, encoded(merkle.consistency_proof(old, new))] for old, new in CONSISTENCIES],
        "tiles": [[size, len(files), digest(files)] for size, files in tiled.items()],
    }


def names() -> list[list[Any]]:
    return [
        [level, index, width or 256, entry_bundle_path(index, width) if level is None else tile_path(level, index, width)]
        for level, index, width in NAMES
    ]


def notes(name: str, seed: bytes) -> dict[str, Any]:
    key = Ed25519PrivateKey.from_private_bytes(seed)
    log, witness = aics_tlog.vkey_from_ed25519(name, key.public_key()), aics_tlog.cosignature_vkey(name, key.public_key())
    checkpoint = Checkpoint(name, 20_852_163, hashlib.sha256(seed).digest(), ("an extension", "another"))
    signed = aics_tlog.sign_checkpoint(checkpoint, key, name)
    head = (checkpoint.origin, checkpoint.size, checkpoint.root, checkpoint.extension_lines)
    cosigned = [
        Note(signed.text, (*signed.signatures, aics_tlog.sign_cosignature(key, name, time, *head)[1])) for time in TIMES
    ]
    return {
        "name": name,
        "seed": seed.hex(),
        "log_key": aics_tlog.format_vkey(log),
        "witness_key": aics_tlog.format_vkey(witness),
        "notes": [[text, Note(text, (aics_tlog.sign_note(text, key, name),)).serialise()] for text in TEXTS],
        "cosigned": [[time, note.serialise()] for time, note in zip(TIMES, cosigned, strict=True)],
    }


def main() -> None:
    vectors = {
        "source": f"aics-tlog {aics_tlog.__version__} (Apache-2.0), which tests/tlog/vectors.py has asked",
        "tree": tree(),
        "tile_names": names(),
        "keys": [notes(name, seed) for name, seed in KEYS],
    }
    json.dump(vectors, sys.stdout, ensure_ascii=False, indent=1)
    print()


if __name__ == "__main__":
    main()
