"""The room that a SQLite database has."""

import sqlite3

from sqlalchemy import event

from sydent_py.database import Database

PLENTY = 2**30


class Disk:
    """As much as the database wants, until a test fills it; what does not fit is SQLite's own "database or disk is full"."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._pages = PLENTY
        for engine in (database._units, database._statements):
            event.listen(engine, "checkout", self._limit)

    def fill(self, but_for: int = 0) -> None:
        """Leave no room for more pages, but for so many."""
        with self._database.autocommit() as db:
            self._pages = int(db.exec_driver_sql("PRAGMA page_count").scalar_one()) + but_for

    def clear(self) -> None:
        """Make room again."""
        self._pages = PLENTY

    def _limit(self, connection: sqlite3.Connection, *_: object) -> None:
        connection.execute(f"PRAGMA max_page_count = {self._pages}")
