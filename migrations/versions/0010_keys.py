"""The keys that users publish."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("log_cosignatures", sa.Column("checkpoint", sa.Text(), nullable=True))
    op.add_column("peers", sa.Column("whole_at_ms", sa.BigInteger(), nullable=True))
    op.create_table(
        "key_statements",
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("origin", sa.Text(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("master", sa.LargeBinary(), nullable=False),
        sa.Column("is_reset", sa.Boolean(), nullable=False),
        sa.Column("ts", sa.BigInteger(), nullable=False),
        sa.Column("commitment", sa.LargeBinary(), nullable=False),
        sa.Column("nonce", sa.LargeBinary(), nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.Column("entry_index", sa.BigInteger(), nullable=True),
        sa.Column("proof", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("user_id", "origin", "seq", name=op.f("pk_key_statements")),
    )
    op.create_index(op.f("ix_key_statements_commitment"), "key_statements", ["commitment"])
    op.create_index(op.f("ix_key_statements_origin"), "key_statements", ["origin"])
    op.create_index(
        op.f("ix_key_statements_unproved"),
        "key_statements",
        ["origin", "entry_index"],
        sqlite_where=sa.text("proof IS NULL"),
        postgresql_where=sa.text("proof IS NULL"),
    )
    op.create_table(
        "key_endings",
        sa.Column("origin", sa.Text(), nullable=False),
        sa.Column("user_index", sa.LargeBinary(), nullable=False),
        sa.Column("ended_at_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("origin", "user_index", name=op.f("pk_key_endings")),
    )
    op.create_table(
        "key_challenges",
        sa.Column("challenge_hash", sa.LargeBinary(), nullable=False),
        sa.Column("user_index", sa.LargeBinary(), nullable=False),
        sa.Column("expires_at_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("challenge_hash", name=op.f("pk_key_challenges")),
    )
    op.create_index(op.f("ix_key_challenges_expires_at_ms"), "key_challenges", ["expires_at_ms"])


def downgrade() -> None:
    op.drop_table("key_challenges")
    op.drop_table("key_endings")
    op.drop_table("key_statements")
    with op.batch_alter_table("log_cosignatures") as batch:
        batch.drop_column("checkpoint")
    with op.batch_alter_table("peers") as batch:
        batch.drop_column("whole_at_ms")
