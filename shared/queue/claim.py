"""Claim: a worker takes due runs, never more than it has free slots for."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection

from shared.db import fetch_all, load_sql
from shared.kinds import Lane

CLAIM = load_sql(__file__, "claim")

Watermark = tuple[datetime, UUID]
START: Watermark = (datetime.min.replace(tzinfo=UTC), UUID(int=0))


@dataclass(frozen=True)
class Claimed:
    """A run in a worker's hands: the queue's fence (run_id, attempt) and what the handler needs to know."""

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
) -> list[Claimed]:
    """Claim up to `free` due runs of `kinds` (name → how many of that kind at most).

    Manual runs come first; cron and backfill get at most `cron_cap` places together and, while any is due, at least
    `cron_floor`. `suspects` is how many runs that were rescued twice may be among them. A watermark lets the scan of
    its lane and kind start after that (available_at, run_id). Nothing is taken under an expired lease.
    """
    marks = watermarks or {}
    wanted = [(lane, kind, limit, *marks.get((lane, kind), START)) for lane in Lane for kind, limit in kinds.items()]
    values = {
        "worker_id": worker_id,
        "lanes": [int(lane) for lane, *_ in wanted],
        "kinds": [kind for _, kind, *_ in wanted],
        "kind_limits": [limit for _, _, limit, *_ in wanted],
        "after_at": [after_at for *_, after_at, _ in wanted],
        "after_ids": [after_id for *_, after_id in wanted],
        "free": free,
        "cron_cap": cron_cap,
        "cron_floor": min(cron_floor, cron_cap),
        "suspects": suspects,
    }
    return await fetch_all(conn, CLAIM, values, Claimed)
