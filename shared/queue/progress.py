"""Progress: what running attempts say of themselves, many at a time, the latest word only."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from psycopg import AsyncConnection

from shared.db import fetch_all, load_sql
from shared.kinds import Progress
from shared.queue.finish import Attempt, Fence

PROGRESS = load_sql(__file__, "progress")


@dataclass(frozen=True)
class Said:
    """The latest progress of one attempt."""

    run_id: UUID
    bucket: int
    attempt: int
    progress: Progress


async def progress(conn: AsyncConnection, worker_id: UUID, said: Sequence[Said]) -> set[Fence]:
    """Write progress in run_id order; returns the attempts the worker still holds.

    Give it a transaction of its own: it turns `synchronous_commit` off, since a lost progress is only an old one.
    """
    await conn.execute("set local synchronous_commit = off")
    ordered = sorted(said, key=lambda one: one.run_id)
    values = {
        "worker_id": worker_id,
        "run_ids": [one.run_id for one in ordered],
        "buckets": [one.bucket for one in ordered],
        "attempts": [one.attempt for one in ordered],
        "percents": [one.progress.percent for one in ordered],
        "steps": [one.progress.step for one in ordered],
        "details": [one.progress.detail for one in ordered],
        "dones": [one.progress.done for one in ordered],
        "totals": [one.progress.total for one in ordered],
    }
    return {row.fence for row in await fetch_all(conn, PROGRESS, values, Attempt)}
