"""Schedules as their users' own."""

from migrations import run_sql

revision = "0004_schedules"
down_revision = "0003_sources"


def upgrade() -> None:
    run_sql(revision)


def downgrade() -> None:
    """Forward only: an older release works on a newer schema."""
    raise NotImplementedError
