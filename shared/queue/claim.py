"""Claim: a worker takes due runs, never more than it has free slots for."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple
from uuid import UUID

from psycopg import AsyncConnection
from psycopg.rows import args_row

from shared.db import fetch_all, load_sql
from shared.kinds import Lane

CLAIM = load_sql(__file__, "claim")
LOCK_KINDS = load_sql(__file__, "lock_kinds")
COUNT_RUNNING = load_sql(__file__, "count_running")

Watermark = tuple[datetime, UUID]
START: Watermark = (datetime.min.replace(tzinfo=UTC), UUID(int=0))


class Claimed(NamedTuple):
    """A run in a worker's hands, by the columns of claim.sql: its fence and what the handler needs to know."""

    run_id: UUID
    bucket: int
    lane: int
    available_at: datetime
    attempt: int
    max_attempts: int
    rescues: int
    started_at: datetime
    user_id: UUID
    org_id: str | None
    kind: str
    subject: str | None
    source: str
    parameters: dict[str, Any]
    fingerprint: bytes
    client_context: dict[str, Any] | None
    schedule_id: UUID | None
    scheduled_for: datetime | None


@dataclass(frozen=True)
class _Running:
    kind: str
    running: int


async def claim(
    conn: AsyncConnection,
    worker_id: UUID,
    kinds: Mapping[str, int],
    *,
    free: int,
    cron_cap: int,
    cron_floor: int = 0,
    suspects: int = 1,
    watermarks: Mapping[tuple[Lane, str], Watermark] | None = None,
    running_limits: Mapping[str, int] | None = None,
) -> list[Claimed]:
    """Claim up to `free` due runs of `kinds` (name → how many of that kind at most).

    Manual runs come first; cron and backfill get at most `cron_cap` places together and, while any is due, at least
    `cron_floor`. `suspects` is how many runs that were rescued twice may be among them. A watermark lets the scan of
    its lane and kind start after that (available_at, run_id). Of a kind in `running_limits`, all workers together hold
    at most that many; claims of such a kind wait for each other. Nothing is taken under an expired lease.
    """
    if running_limits:
        kinds = await _within(conn, kinds, running_limits)
    marks = watermarks or {}
    wanted = [(lane, kind) for lane in Lane for kind in kinds if lane is Lane.MANUAL or cron_cap > 0]
    starts = [marks.get(each, START) for each in wanted]
    values = {
        "worker_id": worker_id,
        "lanes": [int(lane) for lane, _ in wanted],
        "lane_limits": [free if lane is Lane.MANUAL else cron_cap for lane, _ in wanted],
        "kinds": [kind for _, kind in wanted],
        "kind_limits": [kinds[kind] for _, kind in wanted],
        "after_at": [available_at for available_at, _ in starts],
        "after_ids": [run_id for _, run_id in starts],
        "free": free,
        "cron_cap": cron_cap,
        "cron_floor": min(cron_floor, cron_cap),
        "suspects": suspects,
    }
    # By position: with `fetch_all`, making the rows of a herd from keywords would cost as much as claiming them.
    async with conn.cursor(row_factory=args_row(Claimed)) as cursor:
        await cursor.execute(CLAIM, values)
        return await cursor.fetchall()


async def _within(conn: AsyncConnection, kinds: Mapping[str, int], limits: Mapping[str, int]) -> dict[str, int]:
    """The kinds of which more may be claimed, each with how many."""
    limited = {"kinds": list(limits)}
    await conn.execute(LOCK_KINDS, limited)
    # In a statement of its own, which sees what others committed while we waited for the lock.
    running = {row.kind: row.running for row in await fetch_all(conn, COUNT_RUNNING, limited, _Running)}
    left = {kind: limits[kind] - running[kind] for kind in limits}
    return {kind: min(most, left.get(kind, most)) for kind, most in kinds.items() if left.get(kind, most) > 0}
