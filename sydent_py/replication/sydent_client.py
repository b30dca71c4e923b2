"""Asking a Sydent."""

from dataclasses import dataclass

from sydent_py.federation.remote import Remote
from sydent_py.replication import sydent_v1

MAX_ANSWER_BYTES = 16 * 1024


@dataclass(frozen=True)
class SydentClient:
    """One Sydent."""

    remote: Remote

    def push(self, body: bytes) -> None:
        """Hand over a push; ``RequestFailed`` where it is not taken as a whole."""
        headers = {"Content-Type": sydent_v1.CONTENT_TYPE}
        # The connection is not kept: the next push may be hours away, and would find it closed.
        with self.remote:
            self.remote.post(sydent_v1.PATH.removeprefix("/"), body, MAX_ANSWER_BYTES, lambda: headers)
