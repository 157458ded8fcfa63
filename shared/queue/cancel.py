"""Cancel: final at once, whether the run was pending or running."""

from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from psycopg import AsyncConnection

from shared.db import fetch_one, load_sql

CANCEL = load_sql(__file__, "cancel")
UNCOVER = load_sql(__file__, "uncover")


@dataclass(frozen=True)
class Cancelled:
    """The run that was cancelled, and the worker that was running it, if one was."""

    run_id: UUID
    worker_id: UUID | None


async def cancel(
    conn: AsyncConnection, run_id: UUID, user_id: UUID, *, retention: timedelta, max_attempts: int
) -> Cancelled | None:
    """Cancel the user's live run; None when it is not live or not the user's: read `run_status` to tell which.

    A slot that this run had covered becomes a run with `max_attempts` in the same transaction.
    """
    values = {"run_id": run_id, "user_id": user_id, "retention": retention}
    cancelled = await fetch_one(conn, CANCEL, values, Cancelled)
    if cancelled:
        await conn.execute(UNCOVER, {"run_id": run_id, "max_attempts": max_attempts})
    return cancelled
