"""Release: a worker gives back what it will not finish; and the list of what it holds, to compare with what it runs."""

from collections.abc import Sequence
from uuid import UUID

from psycopg import AsyncConnection

from shared.db import load_sql
from shared.queue.fence import Fence, fetch_fences

RELEASE = load_sql(__file__, "release")
HELD = load_sql(__file__, "held")


async def release(conn: AsyncConnection, worker_id: UUID, fences: Sequence[Fence]) -> set[Fence]:
    """Give runs back to the queue at once, in their old place; returns those the worker still held.

    Each gets one attempt more: an attempt that was cut short is not the run's fault. No lease is needed to give back.
    """
    values = {
        "worker_id": worker_id,
        "run_ids": [fence.run_id for fence in fences],
        "attempts": [fence.attempt for fence in fences],
    }
    return await fetch_fences(conn, RELEASE, values)


async def held_by(conn: AsyncConnection, worker_id: UUID) -> set[Fence]:
    """What the queue says this worker is running."""
    return await fetch_fences(conn, HELD, {"worker_id": worker_id})
