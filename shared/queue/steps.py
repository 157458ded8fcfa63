"""Durable steps: done once for all attempts of a run, replayed on the next."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection
from psycopg.types.json import Jsonb

from shared.db import fetch_one, load_sql
from shared.queue.fence import Fence

STEP = load_sql(__file__, "step")
RECORDED = b"select value from foxtrot.run_steps where run_id = %(run_id)s and bucket = %(bucket)s and name = %(name)s"


@dataclass(frozen=True)
class StepValue:
    """A recorded step; `value` is JSON."""

    value: Any


async def find_step(conn: AsyncConnection, run_id: UUID, bucket: int, name: str) -> StepValue | None:
    """What an earlier attempt recorded under this name."""
    return await fetch_one(conn, RECORDED, {"run_id": run_id, "bucket": bucket, "name": name}, StepValue)


async def record_step(
    conn: AsyncConnection, worker_id: UUID, fence: Fence, bucket: int, name: str, value: Any
) -> StepValue | None:
    """Record a step's JSON value and return what stands; None when the worker no longer holds the attempt."""
    values = {
        "worker_id": worker_id,
        "run_id": fence.run_id,
        "attempt": fence.attempt,
        "bucket": bucket,
        "name": name,
        "value": Jsonb(value),
    }
    return await fetch_one(conn, STEP, values, StepValue)
