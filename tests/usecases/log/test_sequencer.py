"""Entries take their places once, and one tree of each size is signed, whoever races and whoever dies."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest
from sqlalchemy import event, text

from sydent_py.database import Database
from sydent_py.log import sequencer as sequencing
from sydent_py.log.sequencer import NotThisLog, Sequencer
from sydent_py.tlog.checkpoint import Checkpoint, open_checkpoint
from sydent_py.tlog.note import Note, SigningKey, VerifierKey
from tests.driver import Driver


@dataclass(frozen=True)
class WatchedKey:
    """The log's key, which remembers what it signed, and what was stored at that moment."""

    key: SigningKey
    database: Database
    name: str = "id.test/log"
    signed: list[tuple[Checkpoint, int]] = field(default_factory=list)

    @property
    def verifier_key(self) -> VerifierKey:
        return replace(self.key, name=self.name).verifier_key

    def sign(self, text_: str) -> Note:
        with self.database.autocommit() as db:
            stored = db.execute(text("SELECT size FROM log_head")).scalar_one()
        self.signed.append((Checkpoint.parse(text_), stored))
        return self.key.sign(text_)

    def roots(self) -> dict[int, set[bytes]]:
        roots: dict[int, set[bytes]] = {}
        for checkpoint, _ in self.signed:
            roots.setdefault(checkpoint.size, set()).add(checkpoint.root)
        return roots


@pytest.fixture
def key(api: Driver) -> WatchedKey:
    return WatchedKey(api.services.sequencer.key, api.services.database)


@pytest.fixture
def sequencer(api: Driver, key: WatchedKey) -> Sequencer:
    return replace(api.services.sequencer, key=key)


def append(api: Driver, *names: str) -> list[bytes]:
    """Entries that wait: their commitments."""
    log = api.services.bindings.bind.associations.log
    with api.services.database.begin() as db:
        receipts = [log.append(db, "bind", {"medium": "email", "address": name, "mxid": "@a:hs.test"}) for name in names]
    return [receipt.commitment for receipt in receipts]


def placed(api: Driver) -> list[bytes]:
    """The commitments of all entries, in order; that their places are 0, 1, 2, ... is checked."""
    with api.services.database.begin() as db:
        rows = db.execute(text("SELECT entry_index, commitment FROM log_entries ORDER BY entry_index")).all()
    assert [row.entry_index for row in rows] == list(range(len(rows)))
    return [bytes(row.commitment) for row in rows]


def published(api: Driver) -> Checkpoint:
    """The checkpoint that is served, and that proves every entry it covers."""
    served = api.services.published_log
    checkpoint = open_checkpoint(served.checkpoint().encode(), served.verifier_key)
    for index, commitment in enumerate(placed(api)[: checkpoint.size]):
        proof = served.proof(commitment)
        assert proof.index == index
        assert proof.extra
        assert proof.proves(proof.extra, served.verifier_key)
    return checkpoint


def test_entries_take_their_places_in_the_order_in_which_they_were_written(api: Driver, sequencer: Sequencer) -> None:
    commitments = append(api, "a", "b", "c")
    assert published(api).size == 0
    sequencer()
    commitments += append(api, "d")
    sequencer()
    assert placed(api) == commitments
    assert published(api).size == 4


def test_where_nothing_waits_nothing_is_written_or_signed(api: Driver, sequencer: Sequencer, key: WatchedKey) -> None:
    append(api, "a")
    sequencer()
    writes: list[str] = []
    event.listen(api.services.database._units, "before_cursor_execute", lambda *args: writes.append(args[2]))
    sequencer()
    assert (writes, len(key.signed)) == ([], 1)


def test_more_than_a_batch_is_taken_in_at_once(
    api: Driver, sequencer: Sequencer, key: WatchedKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sequencing, "BATCH_ENTRIES", 100)
    commitments = append(api, *map(str, range(301)))
    sequencer()
    assert placed(api) == commitments
    assert [checkpoint.size for checkpoint, _ in key.signed] == [100, 200, 300, 301]
    assert published(api).size == 301


def test_a_tree_is_stored_before_it_is_signed(api: Driver, sequencer: Sequencer, key: WatchedKey) -> None:
    for name in ("a", "b", "c"):
        append(api, name)
        sequencer()
    assert [(checkpoint.size, stored) for checkpoint, stored in key.signed] == [(1, 1), (2, 2), (3, 3)]


class _Worker:
    """A sequencer that is taken through its steps one by one."""

    def __init__(self, sequencer: Sequencer) -> None:
        self._sequencer = sequencer
        self._batch: sequencing.Batch | None = None
        self.steps: tuple[Callable[[], object], ...] = (self._plan, self._store, sequencer.publish)

    def _plan(self) -> None:
        self._batch = self._sequencer.next_batch()

    def _store(self) -> None:
        if self._batch:
            self._sequencer.store(self._batch)


@pytest.mark.parametrize("order", sorted(set(itertools.permutations((0, 0, 0, 1, 1, 1)))))
@pytest.mark.parametrize("arrives_before_step", [1, 3, 5])
def test_two_workers_that_race_place_each_entry_once_and_sign_one_tree_of_each_size(
    api: Driver, sequencer: Sequencer, key: WatchedKey, order: tuple[int, ...], arrives_before_step: int
) -> None:
    commitments = append(api, "a", "b")
    workers = [_Worker(sequencer), _Worker(replace(sequencer))]
    steps = [iter(worker.steps) for worker in workers]
    for number, worker in enumerate(order):
        if number == arrives_before_step:
            commitments += append(api, "late")
        next(steps[worker])()
        assert published(api).size <= len(placed(api))
    sequencer()
    assert placed(api) == commitments
    assert published(api).size == len(commitments)
    assert all(len(roots) == 1 for roots in key.roots().values())


class Killed(BaseException):
    """The process ends here."""


def test_killed_before_any_statement_nothing_is_lost_or_repeated(api: Driver, sequencer: Sequencer, key: WatchedKey) -> None:
    commitments, deaths = append(api, "first"), 0
    sequencer()
    countdown = itertools.repeat(None)

    def maybe_die(*_arguments: object) -> None:
        if next(countdown, "dead") == "dead":
            raise Killed

    for engine in (api.services.database._units, api.services.database._statements):
        event.listen(engine, "before_cursor_execute", maybe_die)
        event.listen(engine, "commit", maybe_die)
    for allowed in itertools.count():
        countdown = itertools.repeat(None)
        commitments += append(api, f"a{allowed}", f"b{allowed}")
        countdown = itertools.repeat(None, allowed)
        try:
            sequencer()
        except Killed:
            deaths += 1
        else:
            break
        countdown = itertools.repeat(None)
        assert open_checkpoint(api.services.published_log.checkpoint().encode(), key.verifier_key).size <= len(placed(api))
        replace(sequencer)()
        assert placed(api) == commitments
        assert published(api).size == len(commitments)
    assert deaths >= 10
    assert all(len(roots) == 1 for roots in key.roots().values())
    assert all(checkpoint.size <= stored for checkpoint, stored in key.signed)


def test_what_was_erased_while_a_batch_was_prepared_stays_erased(api: Driver, sequencer: Sequencer) -> None:
    token, _ = api.bound()
    batch = sequencer.next_batch()
    api.request("POST", "/_matrix/identity/unstable/sydent_py/account/erase", token)
    assert batch
    assert sequencer.store(batch)
    sequencer()
    with api.services.database.begin() as db:
        held = db.execute(text("SELECT kind, payload, nonce, address_index, user_index FROM log_entries")).all()
    assert [tuple(row) for row in held if row.kind != "erase"] == [("bind", *[None] * 4), ("unbind", *[None] * 4)]


def test_a_log_is_not_continued_under_another_key_or_name(api: Driver, sequencer: Sequencer) -> None:
    other = SigningKey(sequencer.key.name, bytes(32))
    renamed = SigningKey("id.elsewhere.test/log", api.services.sequencer.key.seed)
    with pytest.raises(NotThisLog, match="signed with another key"):
        replace(sequencer, key=other).prepare()
    replace(sequencer, key=renamed).prepare()  # an empty log follows its server to a new name
    assert open_checkpoint(api.services.published_log.checkpoint().encode(), renamed.verifier_key).size == 0
    sequencer.prepare()
    append(api, "a")
    with pytest.raises(NotThisLog):
        replace(sequencer, key=other)()
    with pytest.raises(NotThisLog):
        replace(sequencer, key=renamed).prepare()
    sequencer()
    with pytest.raises(NotThisLog, match="signed with another key"):
        replace(sequencer, key=other).prepare()
    with pytest.raises(NotThisLog, match=r"is id\.test/log and not id\.elsewhere\.test/log"):
        replace(sequencer, key=renamed).prepare()
    assert published(api).size == 1
