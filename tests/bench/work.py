"""What is measured, and what the right answers are."""

import hashlib
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from sydent_py.directory.peppers import lookup_hash
from sydent_py.identifiers import ThreePid

LOOKUP = "POST /lookup"
_TARGETS = {
    "GET /versions": "GET /_matrix/identity/versions",
    "GET /account": "GET /_matrix/identity/v2/account",
    LOOKUP: "POST /_matrix/identity/v2/lookup",
}


Query = dict[str, str | None]
"""Hashes, each with the user ID it is bound to."""


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

    def requests(self) -> list[bytes]:
        """The bytes of every request."""
        return [_request(self.work.target, self.dataset.token, self._body(query)) for query in queries(self)]

    def answer_is_right(self, query: Query, answer: bytes) -> bool:
        """Whether ``answer`` is what the server has to say to ``query``."""
        value = json.loads(answer)
        if self.work.target == LOOKUP:
            return bool(value == {"mappings": {text: user for text, user in query.items() if user is not None}})
        return "versions" in value or value == {"user_id": CALLER}

    def _body(self, query: Query) -> bytes:
        if self.work.target != LOOKUP:
            return b""
        return json.dumps({"algorithm": "sha256", "pepper": self.dataset.pepper, "addresses": list(query)}).encode()


@lru_cache(maxsize=1)
def queries(plan: Plan) -> Sequence[Query]:
    """What every request of ``plan`` asks, drawn from the whole table; about half of the hashes are bound.

    The last plan is kept, because the server and the probe get the same.
    """
    draw = random.Random(plan.seed)
    hashes, bindings = plan.work.hashes, plan.dataset.bindings
    drawn = []
    for _ in range(plan.work.requests):
        bound = hashes // 2 + (hashes % 2 and draw.randrange(2))
        persons = draw.sample(range(bindings), bound) + draw.sample(range(bindings, 2 * bindings), hashes - bound)
        draw.shuffle(persons)
        drawn.append({_hash(person, plan): user_id(person) if person < bindings else None for person in persons})
    return drawn


def _hash(person: int, plan: Plan) -> str:
    return lookup_hash(str(address(person)), plan.dataset.pepper)


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
