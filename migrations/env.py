"""Runs migrations on the connection that ``sydent_py.schema`` hands over, inside its transaction."""

from alembic import context
from sqlalchemy import text

import sydent_py.worker  # noqa: F401 - every feature registers its tables
from sydent_py.database import Base

# Any number that no other lock of ours uses: two servers that start at once migrate one after the other.
MIGRATION_LOCK = 0x73796465

connection = context.config.attributes["connection"]
if connection.dialect.name == "postgresql":
    # An index on a large table takes longer than a request may, and so does waiting for another server to make it.
    connection.execute(text("SET LOCAL statement_timeout = 0"))
    connection.execute(text("SET LOCAL lock_timeout = 0"))
    connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": MIGRATION_LOCK})
context.configure(connection=connection, target_metadata=Base.metadata, render_as_batch=connection.dialect.name == "sqlite")
context.run_migrations()
