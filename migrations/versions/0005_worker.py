"""The worker engine: rates of providers."""

from migrations import run_sql

revision = "0005_worker"
down_revision = "0004_schedules"


def upgrade() -> None:
    run_sql(revision)


def downgrade() -> None:
    """Forward only: an older release works on a newer schema."""
    raise NotImplementedError
