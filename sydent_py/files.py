"""Files that hold secrets."""

import os
from pathlib import Path
from tempfile import mkstemp


class KeyFileError(Exception):
    """A key file cannot be used; the message says why and what to do."""


def create_secret_file(path: Path, content: str) -> None:
    """
    Write a new file that its owner alone may read, whole or not at all; ``FileExistsError`` if there is one.

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
