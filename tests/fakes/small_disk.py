"""A file system that holds little, for a server of its own."""

import contextlib
import os
import shlex
import subprocess
from pathlib import Path

import pytest

UNSHARE = ("unshare", "--user", "--map-root-user", "--mount")
MOUNT = 'mount -t tmpfs -o size="$0" tmpfs "$1" && shift && exec "$@"'


class SmallDisk:
    """``directory`` is one for the command that ``command_on`` makes of another, and for whatever that starts."""

    def __init__(self, directory: Path, size: str = "24m") -> None:
        self.directory = directory
        self._size = size
        directory.mkdir()

    def command_on(self, command: Path, script: Path) -> Path:
        """A script that runs ``command`` with the disk."""
        words = [*UNSHARE, "sh", "-c", MOUNT, self._size, str(self.directory), str(command)]
        script.write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n')
        script.chmod(0o700)
        return script

    def seen_by(self, pid: int) -> Path:
        """The directory as the process with the disk has it."""
        return Path(f"/proc/{pid}/root{self.directory}")

    def fill(self, pid: int) -> None:
        """Leave no room."""
        with (self.seen_by(pid) / "filler").open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                os.write(file.fileno(), bytes(4096))

    def clear(self, pid: int) -> None:
        """Make room again."""
        (self.seen_by(pid) / "filler").unlink()


def require() -> None:
    """Skip where this system lets nobody but root mount anything."""
    found = subprocess.run([*UNSHARE, "mount", "-t", "tmpfs", "tmpfs", "/mnt"], capture_output=True, check=False)
    if found.returncode:
        pytest.skip(f"NO FULL DISK IS TESTED: {found.stderr.decode().strip()}")
