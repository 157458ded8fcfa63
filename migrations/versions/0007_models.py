"""Which model the fingerprints of a kind's schedules were made with."""

from migrations import run_sql

revision = "0007_models"
down_revision = "0006_runs_fill"


def upgrade() -> None:
    run_sql(revision)


def downgrade() -> None:
    """Forward only: an older release works on a newer schema."""
    raise NotImplementedError
