"""What peers say of addresses, how far their logs are followed, and what of them was not taken over."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("bindings", sa.Column("commitment", sa.LargeBinary(), nullable=True))
    op.create_index(op.f("ix_bindings_address_index"), "bindings", ["address_index"])
    op.create_index(op.f("ix_bindings_commitment"), "bindings", ["commitment"])
    op.create_index(op.f("ix_bindings_not_after"), "bindings", ["not_after"])
    op.create_table(
        "peers",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("log_key", sa.Text(), nullable=False),
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("edge", sa.LargeBinary(), nullable=False),
        sa.Column("checkpoint", sa.LargeBinary(), nullable=True),
        sa.Column("checked_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("shrunk_since_ms", sa.BigInteger(), nullable=True),
        sa.Column("contradictions", sa.BigInteger(), nullable=False),
        sa.Column("nudged_size", sa.BigInteger(), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("failed_at_ms", sa.BigInteger(), nullable=True),
        sa.Column("is_stopped", sa.Boolean(), nullable=False),
        sa.Column("evidence", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_peers")),
    )
    op.create_table(
        "quarantine",
        sa.Column("peer", sa.Text(), nullable=False),
        sa.Column("entry_index", sa.BigInteger(), nullable=False),
        sa.Column("commitment", sa.LargeBinary(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("ts", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("peer", "entry_index", name=op.f("pk_quarantine")),
    )
    op.create_index(op.f("ix_quarantine_commitment"), "quarantine", ["commitment"])
    op.create_table(
        "peer_nonces",
        sa.Column("peer", sa.Text(), nullable=False),
        sa.Column("nonce", sa.Text(), nullable=False),
        sa.Column("expires_at_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("peer", "nonce", name=op.f("pk_peer_nonces")),
    )
    op.create_index(op.f("ix_peer_nonces_expires_at_ms"), "peer_nonces", ["expires_at_ms"])


def downgrade() -> None:
    op.drop_table("peer_nonces")
    op.drop_table("quarantine")
    op.drop_table("peers")
    op.drop_index(op.f("ix_bindings_not_after"), "bindings")
    op.drop_index(op.f("ix_bindings_commitment"), "bindings")
    op.drop_index(op.f("ix_bindings_address_index"), "bindings")
    with op.batch_alter_table("bindings") as batch:
        batch.drop_column("commitment")
