"""Whether other servers have seen the same log: a log that shows its readers different trees is caught by who compares."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sydent_py.errors import MatrixError
from sydent_py.federation.remote import NotThere, Remote
from sydent_py.federation.transport import RequestFailed
from sydent_py.log.audit import Contradiction, Missing, Verified
from sydent_py.strict_json import parse_object
from sydent_py.tlog import merkle, tiles
from sydent_py.tlog.checkpoint import Checkpoint, Unsigned, open_checkpoint
from sydent_py.tlog.cosignature import claimed_at, cosigned_at
from sydent_py.tlog.note import Note, VerifierKey
from sydent_py.tlog.text import Malformed
from sydent_py.tlog.tiles import TileName

PATH = "_matrix/identity/unstable/sydent_py/peers/checkpoints"
MAX_BYTES = 1024 * 1024


class NotCompared(Exception):
    """The server cannot be asked, or has nothing that could be compared; the message says what it has instead."""


class SplitView(Contradiction):
    """Two checkpoints that the log has signed, of which neither continues the other."""


@dataclass(frozen=True)
class View:
    """What ``server`` has cosigned of a log: a checkpoint, as it is served there.

    ``witness`` has cosigned it at ``cosigned_at_s``: that was verified where ``is_checked``, and else is what the server says.
    """

    server: str
    encoded: bytes
    checkpoint: Checkpoint
    witness: str | None
    cosigned_at_s: int | None
    is_checked: bool


def view_of(remote: Remote, log: VerifierKey, witnesses: Sequence[VerifierKey]) -> View:
    """What a server has cosigned of ``log``; a cosignature in the name of one of ``witnesses`` has to be by that key. ``NotCompared``."""
    encoded = _published(remote, log.name)
    try:
        checkpoint, note = open_checkpoint(encoded, log), Note.parse(encoded)
    except (Malformed, Unsigned) as error:
        raise NotCompared(f"what it has of this log is not signed by it, and says nothing: {error}") from error
    lines = [line for line in note.signatures if line.name != log.name]
    named = [key for key in witnesses if any(line.name == key.name for line in lines)]
    for key in named:
        time_s = cosigned_at(note, key)
        if time_s is None:
            raise NotCompared(f"it has a cosignature of {key.name} that is not valid, or of another key than --witness-key")
        return View(remote.url.host, encoded, checkpoint, key.name, time_s, is_checked=True)
    claims = [(line.name, time_s) for line in lines if (time_s := claimed_at(line)) is not None]
    name, time_s = claims[0] if claims else (None, None)
    return View(remote.url.host, encoded, checkpoint, name, time_s, is_checked=False)


@dataclass(frozen=True)
class Compare:
    """Compares what others have seen of a log with what ``verified`` is, by the files of the log."""

    verified: Verified
    fetch: Callable[[str], bytes]

    def __call__(self, view: View) -> None:
        """Return where one tree continues the other; ``SplitView`` where not."""
        ours, theirs = self.verified.checkpoint, view.checkpoint
        if ours.size == theirs.size:
            if ours.root != theirs.root:
                raise self._split(view, f"{view.server} has seen another tree of {theirs.size:,} entries than this one")
            return
        small, large = sorted((ours, theirs), key=lambda each: each.size)
        try:
            root = merkle.prefix_root(small.size, large.size, large.root, self._hashes(large.size))
        except (Missing, Malformed) as error:
            raise self._split(
                view,
                f"{view.server} has seen {theirs.size:,} entries, and the log does not show how the one goes on to the other",
            ) from error
        if root is None:
            raise self._split(view, f"the log cannot prove that the {theirs.size:,} entries that {view.server} has seen fit")
        if root != small.root:
            reason = f"the first {small.size:,} entries are not the same for {view.server}, which has seen {theirs.size:,}, as here"
            raise self._split(view, reason)

    def _split(self, view: View, reason: str) -> SplitView:
        return SplitView(f"Split view: {reason}.", self.verified.encoded, view.encoded)

    def _hashes(self, size: int) -> merkle.HashAt:
        return tiles.hashes_from(lambda level, index: self._tile(level, index, size))

    def _tile(self, level: int, index: int, size: int) -> bytes:
        """A tile of the tree of ``size``; a partial one may be gone once there is more of it."""
        width = min(tiles.WIDTH, (size >> tiles.HEIGHT * level) - index * tiles.WIDTH)
        try:
            return self.fetch(str(TileName(level, index, width)))
        except Missing:
            if width == tiles.WIDTH:
                raise
            return self.fetch(str(TileName(level, index)))


def _published(remote: Remote, origin: str) -> bytes:
    try:
        listed = parse_object(remote.get(PATH, MAX_BYTES))["checkpoints"]
        found = [each["checkpoint"].encode() for each in listed if each["log"] == origin]
    except NotThere as error:
        raise NotCompared("it does not say what it has cosigned") from error
    except RequestFailed as error:
        raise NotCompared(f"it cannot be asked: {error.detail or error}") from error
    except (MatrixError, KeyError, TypeError, AttributeError) as error:
        raise NotCompared("what it has cosigned cannot be read") from error
    if len(found) != 1:
        raise NotCompared("it has not cosigned this log")
    return bytes(found[0])
