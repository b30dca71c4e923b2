"""A chain of published keys, for whoever writes another verifier."""

from typing import Any

import pytest

from sydent_py.keys.canonical import encode_base64
from sydent_py.keys.statement import Statement
from sydent_py.keys.verify import NotVerified, Pins, verify, verify_history
from sydent_py.log.leaf import Leaf
from tests.vectors.made_keys import made
from tests.vectors.reading import read

VECTORS = read("keys")
USER = VECTORS["user_id"]
PINS = Pins.parse(VECTORS["log_key"], VECTORS["verify_keys"], VECTORS["witnesses"])


def test_they_are_what_makes_them() -> None:
    assert made() == VECTORS


@pytest.mark.parametrize("vector", VECTORS["statements"], ids=lambda vector: vector["statement"]["op"])
def test_statements_have_these_hashes(vector: dict[str, Any]) -> None:
    statement = Statement.parse(vector["statement"])
    assert vector["hash"] == encode_base64(statement.hash)
    assert Leaf.parse(vector["entry"].encode()).ts - statement.ts == 250


@pytest.mark.parametrize("vector", VECTORS["counts"], ids=lambda vector: str(vector["now_ms"]))
def test_these_keys_count(vector: dict[str, Any]) -> None:
    now_ms = vector["now_ms"]
    history = verify_history(VECTORS["history"], USER, PINS, now_ms)
    for current in (verify(VECTORS["answer"], USER, PINS, now_ms), history.current(now_ms)):
        history.check_shows(current)
        assert (current.master, current.counts_from_ms) == (vector["master"], vector["counts_from_ms"])
        assert current.entry.witnesses == ("id.partner.org/witness",)
        pending = current.pending and current.pending.statement.keys["master"]["keys"]
        assert pending == (vector["pending"] and {f"ed25519:{vector['pending']}": vector["pending"]})


@pytest.mark.parametrize(
    "vector", VECTORS["refused_answers"] + VECTORS["refused_histories"], ids=lambda vector: vector["reason"]
)
def test_these_do_not(vector: dict[str, Any]) -> None:
    check, value = (verify, vector["answer"]) if "answer" in vector else (verify_history, vector["history"])
    with pytest.raises(NotVerified) as caught:
        check(value, USER, PINS, vector["now_ms"])
    assert caught.value.reason == vector["reason"]
