"""What is measured, and what the right answers are."""

import hashlib
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass

from sydent_py.directory.peppers import lookup_hash
from sydent_py.identifiers import ThreePid

LOOKUP = "POST /lookup"
_TARGETS = {
    "GET /versions": "GET /_matrix/identity/versions",
    "GET /account": "GET /_matrix/identity/v2/account",
    LOOKUP: "POST /_matrix/identity/v2/lookup",
}


@dataclass(frozen=True)
class Work:
    """One kind of request, so many a round; ``hashes`` is how many addresses each one looks up."""

    target: str
    requests: int
    hashes: int = 0

    @property
    def name(self) -> str:
        return f"{self.target} ({self.hashes})" if self.hashes else self.target


@dataclass(frozen=True)
class Dataset:
    """A database full of bindings, and how to ask for them."""

    bindings: int
    pepper: str
    token: str
    sealing_key: bytes
    url: str


@dataclass(frozen=True)
class Plan:
    """The requests of one round: the server and the probe get the same."""

    work: Work
    dataset: Dataset
    seed: str

    def queries(self) -> Iterator[dict[str, str | None]]:
        """For every request its hashes, each with the user ID it is bound to; about half of them are bound.

        They are drawn from the whole table, other ones for each request.
        """
        draw = random.Random(self.seed)
        people = range(self.dataset.bindings)
        strangers = range(self.dataset.bindings, 2 * self.dataset.bindings)
        for _ in range(self.work.requests):
            bound = self.work.hashes // 2 + (draw.random() < 0.5 if self.work.hashes % 2 else 0)
            persons = draw.sample(people, bound) + draw.sample(strangers, self.work.hashes - bound)
            draw.shuffle(persons)
            yield {
                lookup_hash(str(address(person)), self.dataset.pepper): user_id(person) if person in people else None
                for person in persons
            }

    def requests(self) -> list[bytes]:
        """The bytes of every request."""
        return [_request(self.work.target, self.dataset.token, self._body(query)) for query in self.queries()]

    def answer_is_right(self, query: dict[str, str | None], answer: bytes) -> bool:
        """Whether ``answer`` is what the server has to say to ``query``."""
        value = json.loads(answer)
        if self.work.target == LOOKUP:
            return bool(value == {"mappings": {text: user for text, user in query.items() if user is not None}})
        return "versions" in value or value == {"user_id": CALLER}

    def _body(self, query: dict[str, str | None]) -> bytes:
        if self.work.target != LOOKUP:
            return b""
        return json.dumps({"algorithm": "sha256", "pepper": self.dataset.pepper, "addresses": list(query)}).encode()


CALLER = "@caller:example.org"


def address(person: int) -> ThreePid:
    """The address of a person."""
    return ThreePid("email", f"person.{person}@mail{person % 997}.example.org")


def user_id(person: int) -> str:
    """The user ID a person is bound to, of any length between 20 and 40 characters."""
    suffix = hashlib.sha256(str(person).encode()).hexdigest()[: person % 16]
    return f"@p{person}{suffix}:hs{person % 97}.example.org"


def _request(target: str, token: str, body: bytes) -> bytes:
    lines = [f"{_TARGETS[target]} HTTP/1.1", "Host: id.example.org", f"Authorization: Bearer {token}"]
    if body:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, "", ""]).encode() + body
