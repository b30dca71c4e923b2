"""Accounts, validation, bindings, the directory, and the queue in front of the log."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "accounts",
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("created_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("terms_accepted", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("user_id", name=op.f("pk_accounts")),
    )
    op.create_table(
        "bindings",
        sa.Column("origin", sa.Text(), nullable=False),
        sa.Column("address_index", sa.LargeBinary(), nullable=False),
        sa.Column("medium", sa.Text(), nullable=False),
        sa.Column("address", sa.LargeBinary(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("ts", sa.BigInteger(), nullable=False),
        sa.Column("not_before", sa.BigInteger(), nullable=False),
        sa.Column("not_after", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("origin", "address_index", name=op.f("pk_bindings")),
    )
    op.create_index(op.f("ix_bindings_user_id"), "bindings", ["user_id"])

    op.create_table(
        "directory",
        sa.Column("generation", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("key", sa.LargeBinary(length=16), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("generation", "key", name=op.f("pk_directory")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "log_pending",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("ts", sa.BigInteger(), nullable=False),
        sa.Column("nonce", sa.LargeBinary(), nullable=False),
        sa.Column("payload", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_log_pending")),
    )
    op.create_table(
        "lookup_budgets",
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("day", sa.BigInteger(), nullable=False),
        sa.Column("used", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("subject", name=op.f("pk_lookup_budgets")),
    )
    op.create_table(
        "peppers",
        sa.Column("generation", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("pepper", sa.Text(), nullable=False),
        sa.Column("key_check", sa.LargeBinary(), nullable=False),
        sa.Column("created_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("retired_at_ms", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("generation", name=op.f("pk_peppers")),
        sa.UniqueConstraint("pepper", name=op.f("uq_peppers_pepper")),
    )
    op.create_table(
        "rate_limits",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("used", sa.BigInteger(), nullable=False),
        sa.Column("expires_at_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_rate_limits")),
    )
    op.create_table(
        "validation_sessions",
        sa.Column("sid", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("client_secret_index", sa.LargeBinary(), nullable=False),
        sa.Column("address_index", sa.LargeBinary(), nullable=False),
        sa.Column("medium", sa.Text(), nullable=False),
        sa.Column("address", sa.LargeBinary(), nullable=False),
        sa.Column("next_link", sa.LargeBinary(), nullable=True),
        sa.Column("token_hash", sa.LargeBinary(), nullable=True),
        sa.Column("guesses", sa.BigInteger(), nullable=False),
        sa.Column("send_attempt", sa.BigInteger(), nullable=False),
        sa.Column("sending_attempt", sa.BigInteger(), nullable=False),
        sa.Column("sending_until_ms", sa.BigInteger(), nullable=False),
        sa.Column("modified_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("validated_at_ms", sa.BigInteger(), nullable=True),
        sa.Column("spent_at_ms", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("sid", name=op.f("pk_validation_sessions")),
        sa.UniqueConstraint("user_id", "address_index", "client_secret_index", name="uq_validation_sessions_attempt"),
    )
    op.create_index(op.f("ix_validation_sessions_modified_at_ms"), "validation_sessions", ["modified_at_ms"])

    op.create_table(
        "accepted_terms",
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["user_id"], ["accounts.user_id"], name=op.f("fk_accepted_terms_user_id_accounts"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("user_id", "url", name=op.f("pk_accepted_terms")),
    )
    op.create_table(
        "access_tokens",
        sa.Column("token_hash", sa.LargeBinary(), nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("created_at_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["user_id"], ["accounts.user_id"], name=op.f("fk_access_tokens_user_id_accounts"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("token_hash", name=op.f("pk_access_tokens")),
    )
    op.create_index(op.f("ix_access_tokens_user_id"), "access_tokens", ["user_id"])


def downgrade() -> None:
    op.drop_index(op.f("ix_access_tokens_user_id"), "access_tokens")

    op.drop_table("access_tokens")
    op.drop_table("accepted_terms")
    op.drop_index(op.f("ix_validation_sessions_modified_at_ms"), "validation_sessions")

    op.drop_table("validation_sessions")
    op.drop_table("rate_limits")
    op.drop_table("peppers")
    op.drop_table("lookup_budgets")
    op.drop_table("log_pending")
    op.drop_table("directory")
    op.drop_index(op.f("ix_bindings_user_id"), "bindings")

    op.drop_table("bindings")
    op.drop_table("accounts")
