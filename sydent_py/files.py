"""Files that hold secrets."""

import os
from pathlib import Path
from tempfile import mkstemp


class KeyFileError(Exception):
    """A key file cannot be used; the message says why and what to do."""


def read_secret_file(path: Path) -> str:
    """What a key file holds; ``KeyFileError`` if it is not there, not ours to read, or not ASCII."""
    try:
        return path.read_text(encoding="ascii")
    except FileNotFoundError as error:
        raise KeyFileError(f"There is no {path}. 'sydent-py migrate' creates the keys of a new server.") from error
    except OSError as error:
        reason = f"{path} cannot be read: {error.strerror}. It must belong to the user the server runs as."
        raise KeyFileError(reason) from error
    except UnicodeDecodeError as error:
        raise KeyFileError(f"{path} is not a key file.") from error


def create_secret_file(path: Path, content: str) -> None:
    """Write a new file that its owner alone may read, whole or not at all; ``FileExistsError`` if there is one.

    The content is on disk before the name is, so that a machine that dies in between leaves no empty key behind.
    """
    descriptor, name = mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="ascii") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        os.link(name, path)
    finally:
        Path(name).unlink()
