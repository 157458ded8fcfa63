"""Progress: what running attempts say of themselves, many at a time, the latest word only."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from psycopg import AsyncConnection

from shared.db import load_sql
from shared.kinds import Progress
from shared.queue.fence import Fence, Held, fence_columns, fetch_fences, in_order

PROGRESS = load_sql(__file__, "progress")


@dataclass
class Said(Held):
    """The latest progress of one attempt."""

    progress: Progress


async def progress(conn: AsyncConnection, worker_id: UUID, said: Sequence[Said]) -> set[Fence]:
    """Write progress in run_id order; returns the attempts the worker still holds.

    Give it a transaction of its own: it turns `synchronous_commit` off, since a lost progress is only an old one.
    """
    await conn.execute("set local synchronous_commit = off")
    ordered = in_order(said)
    values = {
        "worker_id": worker_id,
        **fence_columns(ordered),
        "percents": [one.progress.percent for one in ordered],
        "steps": [one.progress.step for one in ordered],
        "details": [one.progress.detail for one in ordered],
        "dones": [one.progress.done for one in ordered],
        "totals": [one.progress.total for one in ordered],
    }
    return await fetch_fences(conn, PROGRESS, values)
