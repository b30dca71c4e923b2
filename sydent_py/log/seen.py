"""What was verified of a log, on disk, so that the next verification knows what the log has to continue."""

import fcntl
import hashlib
import json
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import mkstemp

from sydent_py.errors import MatrixError
from sydent_py.strict_json import parse_object
from sydent_py.tlog.checkpoint import Checkpoint, Unsigned, open_checkpoint
from sydent_py.tlog.note import VerifierKey

_UNSAFE = re.compile(r"[^A-Za-z0-9.-]+")
_NAME_CHARACTERS = 80


class StateError(Exception):
    """The state file cannot be used; the message says why and what to do."""


@dataclass(frozen=True)
class Seen:
    """A checkpoint that was verified, as it was served; of which log, with which key, and when."""

    log: str
    key: VerifierKey
    checkpoint: bytes
    verified_at_ms: int

    @classmethod
    def parse(cls, content: bytes) -> "Seen":
        """What ``encode`` wrote; ``ValueError`` for anything else, and for a checkpoint that the key has not signed."""
        try:
            fields = parse_object(content)
            seen = cls(
                str(fields["log"]),
                VerifierKey.parse(fields["key"]),
                fields["checkpoint"].encode(),
                int(fields["verified_at_ms"]),
            )
            seen.opened()
        except (MatrixError, KeyError, TypeError, AttributeError, Unsigned) as error:
            raise ValueError(str(error)) from error
        return seen

    def opened(self) -> Checkpoint:
        """The checkpoint itself."""
        return open_checkpoint(self.checkpoint, self.key)

    def encode(self) -> bytes:
        """As JSON."""
        fields = {"log": self.log, "key": str(self.key), "verified_at_ms": self.verified_at_ms}
        return f"{json.dumps({**fields, 'checkpoint': self.checkpoint.decode()}, indent=2)}\n".encode()


@dataclass(frozen=True)
class StateFile:
    """The file in which a log's newest verified checkpoint is kept. ``content`` is what was read of it, None before it exists."""

    path: Path
    content: bytes | None = None

    def read(self, log: str) -> tuple["StateFile", Seen | None]:
        """What is known of ``log``, None before its first verification; ``StateError`` rather than forget what was known."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            content = self.path.read_bytes()
        except FileNotFoundError:
            return self, None
        except OSError as error:
            raise StateError(f"The state file {self.path} cannot be read: {error.strerror}.") from error
        try:
            seen = Seen.parse(content)
        except ValueError as error:
            raise StateError(
                f"The state file {self.path} is damaged. Put it back from a backup. If there is none, move it away: the next "
                "verification will be like the first one, and cannot tell whether the log was rewritten before."
            ) from error
        if seen.log != log:
            raise StateError(f"The state file {self.path} is of another log, {seen.log}. Name another one with --state.")
        return replace(self, content=content), seen

    def write(self, seen: Seen) -> None:
        """Put ``seen`` in place of what was read, whole or not at all; ``StateError`` where that is not what is there now."""
        encoded = seen.encode()
        try:
            with _alone_in(self.path.parent):
                if (self.path.read_bytes() if self.path.exists() else None) != self.content:
                    raise StateError(
                        f"Another verification has changed the state file {self.path} meanwhile. Please run this one again."
                    )
                _replace(self.path, encoded)
        except OSError as error:
            raise StateError(f"The state file {self.path} cannot be written: {error.strerror}.") from error

    def keep(self, evidence: Sequence[bytes]) -> list[Path]:
        """Write evidence beside the state file, the same each time into the same files: their paths, in order."""
        digests = [hashlib.sha256(each).hexdigest()[:8] for each in evidence]
        paths = [self.path.with_name(f"{self.path.stem}-evidence-{digest}.txt") for digest in digests]
        try:
            for path, content in zip(paths, evidence, strict=True):
                _replace(path, content)
        except OSError as error:
            raise StateError(f"The evidence cannot be written to {self.path.parent}: {error.strerror}.") from error
        return paths


def default_path(log: str) -> Path:
    """The state file of a log (XDG Base Directory Specification): a name that says which, and is no other log's."""
    configured = Path(os.environ.get("XDG_STATE_HOME", ""))
    base = configured if configured.is_absolute() else Path.home() / ".local" / "state"
    readable = _UNSAFE.sub("_", log.partition("://")[2])[:_NAME_CHARACTERS]
    return base / "sydent-py" / f"{readable}-{hashlib.sha256(log.encode()).hexdigest()[:8]}.json"


def _replace(path: Path, content: bytes) -> None:
    """Write a file so that it is either as it was or complete, whenever the machine dies."""
    descriptor, name = mkstemp(prefix=f".{path.name}.", dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    with _open_directory(path.parent) as directory:
        os.fsync(directory)


@contextmanager
def _alone_in(directory: Path) -> Iterator[None]:
    with _open_directory(directory) as descriptor:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield


@contextmanager
def _open_directory(directory: Path) -> Iterator[int]:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
