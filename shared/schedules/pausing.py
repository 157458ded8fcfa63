"""Pausing: a schedule whose runs fail time after time stops by itself, and says why."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import structlog
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from shared.db import fetch_all, in_transaction, load_sql

log = structlog.get_logger()

PAUSE_FAILING = load_sql(__file__, "pause_failing")


@dataclass(frozen=True)
class PausedSchedule:
    """A schedule that has been paused, with the note that says why."""

    id: UUID
    user_id: UUID
    note: str


async def pause_after_failures(pool: AsyncConnectionPool, run_ids: Sequence[UUID], *, failures: int) -> None:
    """`pause_failing` in a transaction of its own, for whoever has just let these runs fail; logs what was paused."""
    if not run_ids:
        return
    for paused in await in_transaction(pool, lambda conn: pause_failing(conn, run_ids, failures=failures)):
        log.warning("schedule_paused", schedule_id=str(paused.id), user_id=str(paused.user_id), note=paused.note)


async def pause_failing(conn: AsyncConnection, run_ids: Sequence[UUID], *, failures: int) -> list[PausedSchedule]:
    """Pause the schedules of these failed runs whose last `failures` cron runs have all failed.

    Counted are runs with the timetable and the parameters that a schedule has now, since it has been in effect: an edit
    or a resumption starts anew. Slots without a run are passed over, and those older than `RETENTION_DAYS` forgotten.
    """
    values = {"run_ids": list(run_ids), "failures": failures}
    return await fetch_all(conn, PAUSE_FAILING, values, PausedSchedule)
