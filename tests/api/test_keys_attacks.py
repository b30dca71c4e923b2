"""What people try against published keys: races, hostile JSON, and what is left behind."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from nacl.signing import SigningKey
from sqlalchemy import MetaData, select, text

from tests.conftest import Launch
from tests.driver import OWN, Driver, refusal
from tests.fakes.key_owner import master_key, public
from tests.key_owner import ALICE, Person, path

OLD, NEW, THIRD = master_key("old"), master_key("new"), master_key("third")
AT_ONCE = 8


@pytest.fixture
def alice(api: Driver) -> Person:
    return Person(api)


def at_once(*done: Callable[[], Any]) -> list[Any]:
    with ThreadPoolExecutor(len(done)) as pool:
        return [each.result() for each in [pool.submit(do) for do in done]]


def tables_with(api: Driver, *values: bytes) -> set[str]:
    """The tables in which any of these is found."""
    with api.services.database.begin() as db:
        metadata = MetaData()
        metadata.reflect(db)
        cells = [
            (name, cell) for name, table in metadata.tables.items() for row in db.execute(select(table)) for cell in row
        ]
    found = [
        (name, cell.encode() if isinstance(cell, str) else cell) for name, cell in cells if isinstance(cell, str | bytes)
    ]
    return {name for name, cell in found for value in values if value in cell}


def traces(*keys: SigningKey) -> list[bytes]:
    return [trace for key in keys for trace in (bytes(key.verify_key), public(key).encode())]


def kept(api: Driver) -> list[str]:
    """The kinds of those entries of the log that still say what they are about, and about whom."""
    with api.services.database.begin() as db:
        return [
            str(kind)
            for table in ("log_pending", "log_entries")
            for kind in db.execute(
                text(f"SELECT kind FROM {table} WHERE payload IS NOT NULL OR nonce IS NOT NULL")
            ).scalars()
        ]


def statements(api: Driver) -> list[tuple[int, bool]]:
    with api.services.database.begin() as db:
        return [tuple(row) for row in db.execute(text("SELECT seq, is_reset FROM key_statements ORDER BY seq"))]


# Races


@pytest.mark.parametrize("op", ["publish", "rotate", "reset"])
def test_of_statements_made_at_once_exactly_one_is_taken(launch: Launch, op: str) -> None:
    first, second = launch(), launch()  # two processes at one database
    alice = Person(first)
    if op != "publish":
        alice.done("publish", OLD)
    keys = [master_key(f"{number}") for number in range(AT_ONCE)]
    made = [
        alice.owner.state(op, key, *((OLD, key) if op == "rotate" else ()), ts=first.clock.now_ms(), nonce=alice.challenge())
        for key in keys
    ]
    elsewhere = Person(second, token=alice.token)
    answers = at_once(
        *[
            lambda person=person, statement=statement: person.deliver(statement)
            for person, statement in zip([alice, elsewhere] * (AT_ONCE // 2), made, strict=True)
        ]
    )
    refused = [refusal(each) for each in answers if each.status_code != 200]
    assert refused == [(409, "M_CONFLICT")] * (AT_ONCE - 1)
    assert statements(first)[-1][0] == (1 if op == "publish" else 2)


def test_a_challenge_is_spent_once_however_often_it_is_used_at_once(alice: Person) -> None:
    statement = alice.owner.state("publish", OLD, ts=alice.api.clock.now_ms(), nonce=alice.challenge())
    answers = at_once(*[lambda: alice.deliver(statement)] * AT_ONCE)
    assert sorted(each.status_code for each in answers) == [200] + [403] * (AT_ONCE - 1)


def test_of_cancelling_a_reset_many_times_at_once_one_is_taken(alice: Person) -> None:
    alice.done("publish", OLD)
    alice.done("reset", NEW)
    cancel = alice.owner.state("cancel", OLD, ts=alice.api.clock.now_ms())
    answers = at_once(*[lambda: alice.deliver(cancel)] * AT_ONCE)
    assert sorted(each.status_code for each in answers) == [200] + [409] * (AT_ONCE - 1)
    assert statements(alice.api) == [(1, False), (2, True), (3, False)]


def test_nothing_is_left_of_what_is_stated_while_an_account_is_erased(alice: Person) -> None:
    alice.done("publish", OLD)
    alice.done("reset", NEW)
    cancel = alice.owner.state("cancel", OLD, ts=alice.api.clock.now_ms())
    rotate = alice.owner.state("rotate", THIRD, OLD, THIRD, ts=alice.api.clock.now_ms(), nonce=alice.challenge())
    answers = at_once(
        lambda: alice.deliver(rotate),
        lambda: alice.api.request("POST", f"{OWN}/account/erase", alice.token, json={}),
        lambda: alice.deliver(cancel),
    )
    assert [answers[1].status_code, *(each.status_code for each in answers if each.status_code >= 500)] == [200]
    assert tables_with(alice.api, ALICE.encode(), *traces(OLD, NEW, THIRD)) == set()
    assert set(kept(alice.api)) == {"erase"}


# What is left behind


def test_nothing_of_a_revoked_chain_is_left(api: Driver) -> None:
    token, _ = api.bound("alice@example.org", ALICE)
    alice = Person(api, token=token)
    alice.done("publish", OLD)
    alice.done("reset", NEW)
    alice.done("cancel", OLD)
    alice.done("rotate", THIRD, OLD, THIRD)
    api.deliver()
    before = tables_with(api, *traces(OLD, NEW, THIRD))
    alice.done("revoke", THIRD)
    assert (before, tables_with(api, *traces(OLD, NEW, THIRD))) == ({"key_statements"}, set())
    assert kept(api) == ["bind", "erase"]


# Hostile input


@pytest.mark.parametrize("user_id", ["%00", "@a%00:b", "%FF", "%ED%A0%80", "..%2F..", "@a:b%2Fhistory", "@" + "a" * 3000])
@pytest.mark.parametrize("rest", ["", "/history", "/cancel"])
def test_no_path_breaks_the_server(api: Driver, user_id: str, rest: str) -> None:
    answer = api.request("POST" if rest == "/cancel" else "GET", f"{OWN}/keys/{user_id}{rest}", data=b"{}")
    assert answer.status_code in {400, 404}


REFUSALS = {(400, "M_INVALID_PARAM"), (400, "M_BAD_JSON"), (400, "M_NOT_JSON"), (413, "M_TOO_LARGE")}
# What is done to the bytes of a statement that would be taken.
HOSTILE: dict[str, Callable[[bytes], bytes]] = {
    "seq_true": lambda body: body.replace(b'"seq": 1', b'"seq": true'),
    "seq_float": lambda body: body.replace(b'"seq": 1', b'"seq": 1.0'),
    "seq_exponent": lambda body: body.replace(b'"seq": 1', b'"seq": 1e0'),
    "seq_huge": lambda body: body.replace(b'"seq": 1', b'"seq": ' + b"9" * 5000),
    "seq_negative": lambda body: body.replace(b'"seq": 1', b'"seq": -1'),
    "seq_zero": lambda body: body.replace(b'"seq": 1', b'"seq": -0'),
    "nan": lambda body: body.replace(b'"seq": 1', b'"seq": NaN'),
    "twice": lambda body: body.replace(b'"seq": 1', b'"seq": 1, "seq": 1'),
    "twice_escaped": lambda body: body.replace(b'"seq": 1', b'"seq": 1, "\\u0073eq": 1'),
    "surrogate": lambda body: body.replace(b'"op": "publish"', b'"op": "\\ud800"'),
    "utf16": lambda body: body.decode().encode("utf-16"),
    "nul": lambda body: body.replace(b'"op": "publish"', b'"op": "publish\\u0000"'),
    "padded": lambda body: body.replace(public(OLD).encode(), public(OLD).encode() + b"="),
    "nested": lambda body: body.replace(b'"seq": 1', b'"seq": ' + b"[" * 100_000),
    "list": lambda body: b"[" + body + b"]",
    "empty": lambda _: b"",
    "null_keys": lambda body: body.replace(b'"keys": {"master"', b'"keys": {"curve25519": null, "master"'),
    "huge": lambda body: body.replace(b'"seq": 1', b" " * 70_000 + b'"seq": 1'),
}


@pytest.mark.parametrize("spoil", HOSTILE.values(), ids=HOSTILE)
def test_json_that_means_two_things_is_refused(alice: Person, spoil: Callable[[bytes], bytes]) -> None:
    statement = alice.owner.state("publish", OLD, ts=alice.api.clock.now_ms(), nonce=alice.challenge())
    body = json.dumps(statement).encode()
    assert spoil(body) != body
    answer = alice.api.request("PUT", path(ALICE), alice.token, data=spoil(body))
    assert refusal(answer) in REFUSALS
    assert alice.api.request("PUT", path(ALICE), alice.token, data=body).status_code == 200
