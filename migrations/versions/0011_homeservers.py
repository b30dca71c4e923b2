"""At whose word bindings stand, the newest change that each homeserver made of an address, and its requests that were seen."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("bindings", sa.Column("homeserver", sa.Text(), nullable=True))
    op.create_index(
        op.f("ix_bindings_homeserver"),
        "bindings",
        ["homeserver", "address_index"],
        sqlite_where=sa.text("homeserver IS NOT NULL"),
        postgresql_where=sa.text("homeserver IS NOT NULL"),
    )
    op.create_table(
        "homeserver_changes",
        sa.Column("homeserver", sa.Text(), nullable=False),
        sa.Column("address_index", sa.LargeBinary(), nullable=False),
        sa.Column("ts", sa.BigInteger(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("homeserver", "address_index", name=op.f("pk_homeserver_changes")),
    )
    op.create_table(
        "homeserver_requests",
        sa.Column("homeserver", sa.Text(), nullable=False),
        sa.Column("request_id", sa.Text(), nullable=False),
        sa.Column("expires_at_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("homeserver", "request_id", name=op.f("pk_homeserver_requests")),
    )
    op.create_index(op.f("ix_homeserver_requests_expires_at_ms"), "homeserver_requests", ["expires_at_ms"])


def downgrade() -> None:
    op.drop_table("homeserver_requests")
    op.drop_table("homeserver_changes")
    op.drop_index(op.f("ix_bindings_homeserver"), "bindings")
    with op.batch_alter_table("bindings") as batch:
        batch.drop_column("homeserver")
