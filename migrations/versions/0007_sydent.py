"""What peers that run Sydent push to us and we to them."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "sydent_rows",
        sa.Column("peer", sa.Text(), nullable=False),
        sa.Column("row_id", sa.BigInteger(), nullable=False),
        sa.Column("address_index", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("peer", "row_id", name=op.f("pk_sydent_rows")),
    )
    op.create_index(op.f("ix_sydent_rows_address_index"), "sydent_rows", ["address_index"])
    op.create_table(
        "sydent_quarantine",
        sa.Column("peer", sa.Text(), nullable=False),
        sa.Column("row_id", sa.BigInteger(), nullable=False),
        sa.Column("received_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("peer", "row_id", name=op.f("pk_sydent_quarantine")),
    )
    op.create_table(
        "sydent_peers",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("sent_size", sa.BigInteger(), nullable=False),
        sa.Column("told_size", sa.BigInteger(), nullable=False),
        sa.Column("failures", sa.BigInteger(), nullable=False),
        sa.Column("due_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("received_at_ms", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_sydent_peers")),
    )
    op.create_table(
        "sydent_tombstones",
        sa.Column("peer", sa.Text(), nullable=False),
        sa.Column("commitment", sa.LargeBinary(), nullable=False),
        sa.Column("created_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("peer", "commitment", name=op.f("pk_sydent_tombstones")),
    )
    op.create_index(op.f("ix_sydent_tombstones_created_at_ms"), "sydent_tombstones", ["created_at_ms"])


def downgrade() -> None:
    for table in ("sydent_tombstones", "sydent_peers", "sydent_quarantine", "sydent_rows"):
        op.drop_table(table)
