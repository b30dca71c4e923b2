"""Workers that are killed again and again, two at a time, leave a log in which nothing is lost, repeated or forked."""

import multiprocessing
import random
import time
from pathlib import Path
from threading import Event, Thread

from sqlalchemy import text

from sydent_py import installation, wiring
from sydent_py.log.audit import Audit
from sydent_py.services import Services
from sydent_py.tlog.checkpoint import Checkpoint, open_checkpoint
from sydent_py.tlog.tiles import TileName
from tests.conftest import prepared_settings
from tests.integration.sequence_for_ever import sequence_for_ever

KILLS = 25


def read(built: Services, path: str) -> bytes:
    served = built.published_log
    return served.checkpoint().encode() if path == "checkpoint" else served.file(TileName.parse(path))


def watch(built: Services, seen: list[Checkpoint], over: Event) -> None:
    """What somebody sees who asks for the checkpoint all the time."""
    while not over.wait(0.002):
        seen.append(open_checkpoint(read(built, "checkpoint"), built.published_log.verifier_key))


def append(built: Services, number: int) -> list[bytes]:
    log = built.bindings.bind.associations.log
    with built.database.begin() as db:
        return [log.append(db, "bind", {"number": number, "part": part}).commitment for part in range(40)]


def test_killed_at_any_moment_no_entry_is_lost_or_repeated_and_no_tree_is_forked(
    empty_database_url: str, tmp_path: Path
) -> None:
    settings = prepared_settings(tmp_path, empty_database_url)
    installation.prepare(settings)
    built = wiring.build(settings)
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([sequence_for_ever.__module__])
    commitments: list[bytes] = []
    seen: list[Checkpoint] = []
    over = Event()
    watcher = Thread(target=watch, args=(built, seen, over))
    watcher.start()
    workers = [context.Process(target=sequence_for_ever, args=(settings,), daemon=True) for _ in range(2)]
    for worker in workers:
        worker.start()
    try:
        for number in range(KILLS):
            commitments += append(built, number)
            time.sleep(random.uniform(0, 0.25))
            workers[number % 2].kill()
            workers[number % 2].join()
            workers[number % 2] = context.Process(target=sequence_for_ever, args=(settings,), daemon=True)
            workers[number % 2].start()
    finally:
        for worker in workers:
            worker.kill()
            worker.join()
        over.set()
        watcher.join()
    built.sequencer()
    verified = Audit(lambda path: read(built, path), built.published_log.verifier_key, lambda _done, _all: None)(None)
    with built.database.begin() as db:
        placed = [bytes(row.commitment) for row in db.execute(text("SELECT * FROM log_entries ORDER BY entry_index"))]
    built.close()
    assert placed == commitments
    assert verified.checkpoint.size == len(commitments)
    sizes = [checkpoint.size for checkpoint in seen]
    assert sizes == sorted(sizes)
    assert len(set(sizes)) > 3
    assert len({(checkpoint.size, checkpoint.root) for checkpoint in seen}) == len(set(sizes))
