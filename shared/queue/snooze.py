"""Snooze: a handler asks to be called again later; that is nobody's failure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from psycopg import AsyncConnection

from shared.db import fetch_all, load_sql
from shared.queue.finish import Attempt, Fence

SNOOZE = load_sql(__file__, "snooze")


@dataclass(frozen=True)
class Snoozed:
    """An attempt to go on with at `until` (aware); `why` is shown to the user meanwhile."""

    run_id: UUID
    bucket: int
    attempt: int
    until: datetime
    why: str


async def snooze(conn: AsyncConnection, worker_id: UUID, asked: Sequence[Snoozed]) -> set[Fence]:
    """Put the runs off; returns those the worker still held. Each gets one attempt more: this one was not lost."""
    ordered = sorted(asked, key=lambda one: one.run_id)
    values = {
        "worker_id": worker_id,
        "run_ids": [one.run_id for one in ordered],
        "buckets": [one.bucket for one in ordered],
        "attempts": [one.attempt for one in ordered],
        "untils": [one.until for one in ordered],
        "whys": [one.why for one in ordered],
    }
    return {row.fence for row in await fetch_all(conn, SNOOZE, values, Attempt)}
