"""Bindings are found by address first, so that one index does the work of two."""

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.drop_index(op.f("ix_bindings_address_index"), "bindings")
    _set_primary_key("address_index", "origin")
    op.create_index(op.f("ix_bindings_origin"), "bindings", ["origin"])


def downgrade() -> None:
    op.drop_index(op.f("ix_bindings_origin"), "bindings")
    _set_primary_key("origin", "address_index")
    op.create_index(op.f("ix_bindings_address_index"), "bindings", ["address_index"])


def _set_primary_key(*columns: str) -> None:
    with op.batch_alter_table("bindings") as batch:
        batch.drop_constraint(op.f("pk_bindings"), type_="primary")
        batch.create_primary_key(op.f("pk_bindings"), list(columns))
