"""Foxtrot's own tables."""

from migrations import run_sql

revision = "0001_initial"
down_revision = None


def upgrade() -> None:
    run_sql(revision)


def downgrade() -> None:
    """Forward only: going back would drop runs. An older release works on a newer schema."""
    raise NotImplementedError
