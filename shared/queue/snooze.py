"""Snooze: a handler asks to be called again later; that is nobody's failure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from psycopg import AsyncConnection

from shared.db import load_sql
from shared.queue.fence import Fence, Held, fence_columns, fetch_fences, in_order

SNOOZE = load_sql(__file__, "snooze")
SNOOZED = load_sql(__file__, "snoozed")


@dataclass
class Snoozed(Held):
    """An attempt to go on with at `until` (aware); `why` is shown to the user meanwhile."""

    until: datetime
    why: str


async def snooze(conn: AsyncConnection, worker_id: UUID, asked: Sequence[Snoozed]) -> set[Fence]:
    """Put the runs off; returns those the worker still held. Each gets one attempt more: this one was not lost.

    Repeating a call whose answer was lost is safe: it finds the runs put off, and returns the same.
    """
    ordered = in_order(asked)
    values = {
        "worker_id": worker_id,
        **fence_columns(ordered),
        "untils": [one.until for one in ordered],
        "whys": [one.why for one in ordered],
    }
    put_off = await fetch_fences(conn, SNOOZE, values)
    if len(put_off) < len(asked):
        put_off |= await fetch_fences(conn, SNOOZED, values)
    return put_off
