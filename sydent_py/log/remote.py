"""The log of another server: its files, several of them fetched at once."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from types import TracebackType
from typing import Self

from sydent_py.federation.remote import BaseUrl, NotThere, Remote
from sydent_py.federation.transport import RequestFailed
from sydent_py.log.audit import Missing
from sydent_py.tlog.note import MAX_NOTE_BYTES
from sydent_py.tlog.tiles import TILE_BYTES

PATH = "_matrix/identity/unstable/sydent_py/log"
# 256 entries of less than 200 bytes each.
MAX_BUNDLE_BYTES = 64 * 1024
THREADS = 8
# So many files are fetched and not yet asked for, at most.
AHEAD = 16


def log_at(url: BaseUrl) -> BaseUrl:
    """Where the log of the server at ``url`` is; a URL that ends in ``/log`` is that of a log already."""
    return url if url.path.endswith("/log") else url / PATH


class Unavailable(Exception):
    """The server did not give the file ``name`` of its log, and did not say that there is none; ``failure`` says why."""

    def __init__(self, name: str, failure: RequestFailed) -> None:
        super().__init__(f"{name}: {failure}")
        self.name = name
        self.failure = failure


class RemoteLog:
    """Fetches the files of the log at ``remote``, in the order in which they are asked for or expected to be."""

    def __init__(self, remote: Remote) -> None:
        self.url = str(remote.url)
        self._remote = remote
        self._pool = ThreadPoolExecutor(THREADS, thread_name_prefix="log")
        self._expected: Iterator[str] = iter(())
        self._ahead: dict[str, Future[bytes]] = {}

    def fetch(self, name: str) -> bytes:
        """The file of a name; ``Missing``, ``Unavailable``."""
        future = self._ahead.pop(name, None)
        self._fetch_ahead()
        return self._get(name) if future is None else future.result()

    def expect(self, names: Iterator[str]) -> None:
        """Begin to fetch what will be asked for soon."""
        self._expected = names
        self._fetch_ahead()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _value: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(cancel_futures=True)
        self._remote.close()

    def _fetch_ahead(self) -> None:
        for name in islice(self._expected, AHEAD - len(self._ahead)):
            self._ahead[name] = self._pool.submit(self._get, name)

    def _get(self, name: str) -> bytes:
        try:
            return self._remote.get(name, max_bytes(name))
        except NotThere as error:
            raise Missing(name) from error
        except RequestFailed as error:
            raise Unavailable(name, error) from error


def max_bytes(name: str) -> int:
    """How large a file of a log may be: whatever is longer is none."""
    if name.startswith("tile/entries/"):
        return MAX_BUNDLE_BYTES
    return TILE_BYTES if name.startswith("tile/") else MAX_NOTE_BYTES
