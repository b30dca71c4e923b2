"""The log's entries, its tree, and its head."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

BIG_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    with op.batch_alter_table("log_pending") as batch:
        # None until the server starts: the database cannot read what it holds.
        batch.add_column(sa.Column("commitment", sa.LargeBinary(), nullable=True))
        batch.add_column(sa.Column("address_index", sa.LargeBinary(), nullable=True))
        batch.add_column(sa.Column("user_index", sa.LargeBinary(), nullable=True))
        batch.alter_column("nonce", existing_type=sa.LargeBinary(), nullable=True)
        batch.alter_column("payload", existing_type=sa.LargeBinary(), nullable=True)
    op.create_table(
        "log_entries",
        sa.Column("entry_index", BIG_ID, autoincrement=False, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("ts", sa.BigInteger(), nullable=False),
        sa.Column("commitment", sa.LargeBinary(), nullable=False),
        sa.Column("nonce", sa.LargeBinary(), nullable=True),
        sa.Column("payload", sa.LargeBinary(), nullable=True),
        sa.Column("address_index", sa.LargeBinary(), nullable=True),
        sa.Column("user_index", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("entry_index", name=op.f("pk_log_entries")),
    )
    op.create_table(
        "log_tiles",
        sa.Column("level", BIG_ID, autoincrement=False, nullable=False),
        sa.Column("tile_index", BIG_ID, autoincrement=False, nullable=False),
        sa.Column("hashes", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("level", "tile_index", name=op.f("pk_log_tiles")),
    )
    op.create_table(
        "log_head",
        sa.Column("id", BIG_ID, autoincrement=False, nullable=False),
        sa.Column("origin", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("root", sa.LargeBinary(), nullable=False),
        sa.Column("published_size", sa.BigInteger(), nullable=False),
        sa.Column("published_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("checkpoint", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_log_head")),
    )
    for table in ("log_pending", "log_entries"):
        op.create_index(op.f(f"ix_{table}_commitment"), table, ["commitment"], unique=True)
        for column in ("address_index", "user_index"):
            op.create_index(op.f(f"ix_{table}_{column}"), table, [column])


def downgrade() -> None:
    op.drop_table("log_head")
    op.drop_table("log_tiles")
    op.drop_table("log_entries")
    for column in ("commitment", "address_index", "user_index"):
        op.drop_index(op.f(f"ix_log_pending_{column}"), "log_pending")
    with op.batch_alter_table("log_pending") as batch:
        for column in ("commitment", "address_index", "user_index"):
            batch.drop_column(column)
