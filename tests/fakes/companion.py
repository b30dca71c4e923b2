"""The companion module of a homeserver, as an identity server sees it: signed requests, each with a time and an id."""

import itertools
from dataclasses import dataclass
from typing import Any

from werkzeug.test import TestResponse

from tests.driver import OWN, Driver

HOMESERVER = f"{OWN}/homeserver"

# Of all companions: two may speak for one homeserver.
_numbers = itertools.count(1)


def item(
    action: str, address: str, mxid: str = "@alice:hs.test", *, ts: int, seq: int = 0, medium: str = "email"
) -> dict[str, Any]:
    """A change."""
    return {"action": action, "medium": medium, "address": address, "mxid": mxid, "ts": ts, "seq": seq}


@dataclass
class Companion:
    """Speaks for ``homeserver`` to the server that ``api`` drives, and numbers what it asks."""

    api: Driver
    homeserver: str = "hs.test"

    def stamp(self, **body: Any) -> dict[str, Any]:
        """A body that is new, and of now, unless it says something else."""
        return {"ts": self.api.clock.now_ms(), "id": f"{next(_numbers):032x}", **body}

    def ask(self, path: str, body: dict[str, Any] | None = None, **options: Any) -> TestResponse:
        return self.api.signed_post(self.homeserver, f"{HOMESERVER}/{path}", self.stamp(**(body or {})), **options)

    def answer(self, path: str, **body: Any) -> dict[str, Any]:
        answer = self.ask(path, body)
        assert answer.status_code == 200, answer.text
        return dict(answer.get_json())

    def results(self, *changes: Any) -> list[dict[str, Any]]:
        return list(self.answer("bindings", changes=list(changes))["results"])

    def change(self, *changes: Any) -> list[str]:
        """What became of each of these changes."""
        return [result["status"] for result in self.results(*changes)]

    def now(self, action: str, address: str, mxid: str = "@alice:hs.test", medium: str = "email") -> str:
        """Make a change that is newer than all before."""
        ts, seq = self.api.clock.now_ms(), next(_numbers)
        return self.change(item(action, address, mxid, ts=ts, seq=seq, medium=medium))[0]

    def bind(self, address: str, mxid: str = "@alice:hs.test") -> str:
        return self.now("bind", address, mxid)

    def unbind(self, address: str, mxid: str = "@alice:hs.test") -> str:
        return self.now("unbind", address, mxid)

    def listed(self, *buckets: str) -> list[tuple[str, str]]:
        """Address and user of all that stands, or of some buckets, from as many pages as it takes."""
        wanted = list(buckets) or [f"{first:02x}" for first in range(256)]
        found, after = [], None
        while after != "":
            page = self.answer("bindings/list", buckets=wanted, after=after or "")
            found += [(each["address"], each["mxid"]) for each in page["bindings"]]
            after = page["next"]
        return sorted(found)
