"""Codes that expire, the account of text messages, and their circuit breakers."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("validation_sessions", sa.Column("token_expires_at_ms", sa.BigInteger(), nullable=True))
    op.create_table(
        "sms_sends",
        sa.Column("ref", sa.Text(), nullable=False),
        sa.Column("sid", sa.Text(), nullable=False),
        sa.Column("country", sa.Text(), nullable=False),
        sa.Column("prefix_index", sa.LargeBinary(), nullable=False),
        sa.Column("number_index", sa.LargeBinary(), nullable=False),
        sa.Column("sent_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("converted_at_ms", sa.BigInteger(), nullable=True),
        sa.Column("delivered_at_ms", sa.BigInteger(), nullable=True),
        sa.Column("failed_at_ms", sa.BigInteger(), nullable=True),
        sa.Column("failure_code", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("ref", name=op.f("pk_sms_sends")),
    )
    op.create_index(op.f("ix_sms_sends_sid"), "sms_sends", ["sid"])
    op.create_index(op.f("ix_sms_sends_sent_at_ms"), "sms_sends", ["sent_at_ms"])
    op.create_index("ix_sms_sends_country", "sms_sends", ["country", "sent_at_ms"])
    op.create_index("ix_sms_sends_prefix", "sms_sends", ["prefix_index", "sent_at_ms"])
    op.create_index("ix_sms_sends_number", "sms_sends", ["number_index", "sent_at_ms"])
    op.create_table(
        "sms_totals",
        sa.Column("country", sa.Text(), nullable=False),
        sa.Column("sent", sa.BigInteger(), nullable=False),
        sa.Column("converted", sa.BigInteger(), nullable=False),
        sa.Column("undelivered", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("country", name=op.f("pk_sms_totals")),
    )
    op.create_table(
        "sms_breakers",
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("country", sa.Text(), nullable=False),
        sa.Column("prefix", sa.LargeBinary(), nullable=True),
        sa.Column("is_open", sa.Boolean(), nullable=False),
        sa.Column("open_until_ms", sa.BigInteger(), nullable=False),
        sa.Column("trials_left", sa.BigInteger(), nullable=False),
        sa.Column("since_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("subject", name=op.f("pk_sms_breakers")),
    )


def downgrade() -> None:
    op.drop_table("sms_breakers")
    op.drop_table("sms_totals")
    op.drop_table("sms_sends")
    with op.batch_alter_table("validation_sessions") as batch:
        batch.drop_column("token_expires_at_ms")
